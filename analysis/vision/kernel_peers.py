"""Is a family's closed form as good a witness of a network that it was not fitted to as the other networks are?"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from .kernel_forms import fit_form

Image = Float[np.ndarray, "rows columns"]


def kernel_peers(centres: Mapping[str, Image], form: str) -> dict[str, tuple[float, float]]:
    """Leave each network out in turn: R² of the others' closed form on its centre, and the peer ratio.

    The form is fitted to the mean of the others' centres; its error on the centre that was left out is divided by
    that of the mean itself (root mean squares). Empty for one network, which has no peers.
    """
    found = {}
    for name, own in centres.items():
        others = [image for other, image in centres.items() if other != name]
        if not others:
            return {}
        mean = np.mean(others, axis=0)
        modelled = fit_form(mean[None], form).modelled[0]
        ours, theirs = (_error(image / np.linalg.norm(image), own) for image in (modelled, mean))
        found[name] = (1 - ours, math.sqrt(ours / max(theirs, 1e-12)))
    return found


def _error(model: Image, own: Image) -> float:
    """Give the share of a kernel's squares that a model of it, scaled at best, leaves."""
    gain = float(np.sum(model * own)) / float(np.sum(model**2))
    return float(np.sum((own - gain * model) ** 2)) / float(np.sum(own**2))
