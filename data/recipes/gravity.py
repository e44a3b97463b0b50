"""Twelve networks learn the force between two masses, F = m1·m2/r² (in units where G = 1).

Run as: python data/recipes/gravity.py
"""

from __future__ import annotations

from regression import Law, Rows, Values, main


def force(inputs: Rows) -> Values:
    m1, m2, r = inputs.T
    return m1 * m2 / r**2


GRAVITY = Law(
    name="gravity",
    formula=force,
    ranges=((1.0, 5.0), (1.0, 5.0), (1.0, 3.0)),
    # The centre of each range, and nearly its standard deviation.
    input_shift=(3.0, 3.0, 2.0),
    input_scale=(1.15, 1.15, 0.58),
    output_shift=3.0,
    output_scale=3.0,
    noise=(0.05, 0.12),
    rows=(1000, 3000),
    seed=100,
)

if __name__ == "__main__":
    main(GRAVITY)
