"""Twelve networks learn how far a stone flies that is thrown from a height.

R = vx·(vy + √(vy² + 2·g·height))/g with g = 9.81 m/s². The networks are given speed and angle,
never vx and vy.

Run as: python data/recipes/ballistics.py
"""

from __future__ import annotations

import torch
from regression import Law, Rows, Values, main

G = 9.81  # m/s²


def distance(inputs: Rows) -> Values:
    speed, angle, height = inputs.T  # m/s, rad, m
    vx, vy = speed * torch.cos(angle), speed * torch.sin(angle)
    return vx * (vy + torch.sqrt(vy**2 + 2 * G * height)) / G


BALLISTICS = Law(
    name="ballistics",
    formula=distance,
    ranges=((5.0, 20.0), (0.2, 1.3), (1.0, 10.0)),
    # The centre of each range, and nearly its standard deviation.
    input_shift=(12.5, 0.75, 5.5),
    input_scale=(4.3, 0.32, 2.6),
    output_shift=18.0,
    output_scale=10.0,
    noise=(0.06, 0.12),
    rows=(1000, 3000),
    seed=200,
)

if __name__ == "__main__":
    main(BALLISTICS)
