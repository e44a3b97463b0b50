"""The published case of graph networks: how far messages are forces, and the laws read off them.

Run as: python data/recipes/message_cases.py [B3] [--seeds 1]
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from distil_cases import Group, Question, each_law, main
from formulas import written_in_inputs
from jaxtyping import Float
from message_targets import message_targets
from messages import DIMENSIONS, LAWS, REGULARISERS, ZOOS, Law, told
from oracle import draw, exact_up_to_link
from recovered import Outcome, recover

from consilience.analysis.formulas.expression import Expression, evaluate
from consilience.analysis.formulas.parsing import parse

PAPER = {
    "spring": (0.03, 1.0, 1.0, 0.88),
    "r2": (0.00, 0.99, 0.99, 0.77),
    "r1": (0.00, 1.0, 1.0, 0.80),
    "charge": (0.02, 0.95, 0.00, 0.19),
}
"""R² of messages on the force: none, bottleneck, L1, KL (Cranmer et al. 2020, table 1)."""
DERIVED = {"r": "sqrt(dx**2 + dy**2)"}
STEPS = ("dx", "dy")
NEGLIGIBLE = 1e-4
"""A part of a mixture that has no more of its variance is left out."""
LEFT_OVER = 1e-3
"""Share of its variance that a mixture of the force may leave, until its numbers are set right."""


def messages(regularisers: Sequence[str], cache: Path) -> list[Question]:
    """Ask for both directions of the messages of zoos."""
    return [
        Question(
            f"{law.name}, {one}, direction {place + 1}",
            f"(a*dx + b*dy)*{law.formula}",
            partial(ask_direction, law, ZOOS / f"{law.name}_{one}", place),
        )
        for one in regularisers
        for law in LAWS.values()
        for place in range(DIMENSIONS)
    ]


def ask_direction(law: Law, folder: Path, place: int, seed: int) -> Outcome:
    """Distil a direction that the messages of a zoo share."""
    targets = message_targets(folder, seed=seed)
    if place >= len(targets):
        return Outcome(False, "no_equation", "not shared", 0, None, 0.0)
    return recover(targets[place], partial(is_force, law), seed=seed)


def is_force(law: Law, found: Expression) -> bool:
    """Tell whether an equation is (a·Δx)·g plus a constant, for some a: a mixture of the force.

    It has to be parallel to that mixture to which it is nearest, and explained by it.
    """
    found = written_in_inputs(found, DERIVED)
    columns = draw(law.box)
    distance = evaluate(parse(DERIVED["r"]), columns)
    parts = [evaluate(parse(f"{name}*{law.formula}"), columns | {"r": distance}) for name in STEPS]
    along, unexplained = mixture(np.stack(parts, axis=1), np.broadcast_to(evaluate(found, columns), len(distance)))
    if not any(along) or unexplained > LEFT_OVER:
        return False
    steps = " + ".join(f"({number!r})*{name}" for number, name in zip(along, STEPS, strict=True) if number)
    truth = written_in_inputs(parse(f"({steps})*{law.formula}"), DERIVED)
    return exact_up_to_link(found, truth, law.box)


def mixture(
    force: Float[np.ndarray, "samples directions"], said: Float[np.ndarray, " samples"]
) -> tuple[list[float], float]:
    """Fit a and a constant by least squares; parts that vary next to nothing are 0. Tells what is left unexplained."""
    varied, variance = force - force.mean(axis=0), max(float(said.var()), np.finfo(float).tiny)
    along = np.linalg.lstsq(varied, said - said.mean(), rcond=None)[0]
    unexplained = float((said - varied @ along).var()) / variance
    along[np.square(along) * force.var(axis=0) < NEGLIGIBLE * variance] = 0.0
    return along.tolist(), unexplained


def tabled(questions: Sequence[Question], found: Sequence[Sequence[Outcome]]) -> list[str]:
    """Lay out R² of messages on the force, beside the paper's, and what came out."""
    rows = [f"| R² (paper) | {' | '.join(REGULARISERS)} |", "|---" * (1 + len(REGULARISERS)) + "|"]
    for law in LAWS.values():
        ours = [np.mean(told(ZOOS / f"{law.name}_{one}")) for one in REGULARISERS]
        cells = [f"{own:.3f} ({paper:.2f})" for own, paper in zip(ours, PAPER[law.name], strict=True)]
        rows.append(f"| {law.name} | {' | '.join(cells)} |")
    return [*rows, "", *each_law(questions, found)]


GROUPS = (
    Group(
        "B3",
        "Forces in the messages of graph networks",
        "Four bodies in a plane; three networks each (SiLU, tanh, GELU; hidden 64), trained apart on accelerations. "
        "R²: the two message components that vary most, regressed on the force, mean of networks (Cranmer et al. 2020, "
        "table 1). Distilled are the two directions that bottlenecks of all three networks share.",
        partial(messages, ("bottleneck",)),
        wanted=8,
        table=tabled,
        comment="Here edge models are given Δx and Δy, and the node model reads the messages alone (see "
        "`data/recipes/messages.py`), which helps messages to be forces.",
    ),
    Group(
        "B3-others",
        "Forces in messages under other regularisers",
        "The same for messages of 100 numbers: the two principal directions of each network, brought together. The "
        "paper recovers none of 8 laws without a regulariser, 6 with L1 and 4 with KL.",
        partial(messages, tuple(one for one in REGULARISERS if one != "bottleneck")),
        wanted=None,
    ),
)

if __name__ == "__main__":
    main(GROUPS, about=__doc__)
