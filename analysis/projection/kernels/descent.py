"""The whole descent of the `atlas` map in one compiled call, so that threads never wait for each other."""

from __future__ import annotations

import numpy as np

from analysis.projection.kernels.compiled import compiled
from analysis.projection.kernels.forces import attention_pull, neighbour_pull

BETA_1, BETA_2 = np.float32(0.9), np.float32(0.98)


@compiled
def adam_step(places, pull, mean, square, rate, iteration):
    """Move `places` against `pull`; `mean` and `square` carry the moments, `iteration` counts from 1."""
    correct_1 = np.float32(1.0 / (1.0 - BETA_1**iteration))
    correct_2 = np.float32(1.0 / (1.0 - BETA_2**iteration))
    rate = np.float32(rate)
    for dim in range(places.shape[0]):
        for i in range(places.shape[1]):
            force = pull[dim, i]
            mean[dim, i] = BETA_1 * mean[dim, i] + (np.float32(1) - BETA_1) * force
            square[dim, i] = BETA_2 * square[dim, i] + (np.float32(1) - BETA_2) * force * force
            places[dim, i] -= rate * mean[dim, i] * correct_1 / (np.sqrt(square[dim, i] * correct_2) + np.float32(1e-8))


@compiled
def descend(
    x, y, query_neighbours, key_neighbours, first, length, offset, target, shifts,
    power, sigma, eps, strength, key_strength, rate, warm_up, exaggeration, exaggerated,
    goal, least_pressure, most_pressure, entropy, ceiling,
):  # fmt: skip
    """Run the descent on `x` and `y` (``[dims, point]``, changed in place; they may be of different numbers).

    Args:
        shifts: ``[iteration, sample, 2]``, the last axis for queries and keys.
        strength: Factor on the attention term; `key_strength` on the neighbour term of the keys.
        rate, warm_up: Highest step and the iterations it takes to get there; it then falls to zero.
        exaggeration, exaggerated: Factor on attraction, and the share of iterations it lasts.
        goal: KL explained the pressure is steered to after that; 0 for constant pressure.
        least_pressure, most_pressure: Bounds of the pressure, which starts at 1.
        entropy: ``sum A log A`` over all pairs, in nats.
        ceiling: KL(attention || uniform) summed over queries, in nats.

    Returns:
        The pressure on the attention term at the end.
    """
    dims, n_points = x.shape
    n_iterations = shifts.shape[0]
    mean_x, mean_y, square_x, square_y = np.zeros_like(x), np.zeros_like(y), np.zeros_like(x), np.zeros_like(y)
    pull_x, pull_y, push_x, push_y = np.empty_like(x), np.empty_like(y), np.empty_like(x), np.empty_like(y)
    work = np.empty((dims + 1, max(n_points, y.shape[1])), dtype=np.float32)
    row_work = np.empty((3, max(length.max(), 1)), dtype=np.float32)
    mean_q, mean_k, pressure = 0.0, 0.0, 1.0
    last_exaggerated = int(exaggerated * n_iterations)
    for iteration in range(n_iterations):
        attraction = exaggeration if iteration < last_exaggerated else 1.0
        steer = goal > 0 and ceiling > 0 and iteration >= last_exaggerated and iteration % 10 == 0
        pull_x[:] = 0
        pull_y[:] = 0
        cross_entropy = attention_pull(
            x, y, first, length, offset, target, power, sigma, eps, strength * pressure, pull_x, pull_y, row_work, steer
        )
        if steer:
            explained = 1.0 - (cross_entropy + entropy) / ceiling
            pressure = pressure * np.exp(4.0 * (goal - explained))
            pressure = min(max(pressure, least_pressure), most_pressure)
        mean_q = neighbour_pull(
            x, query_neighbours, shifts[iteration, :, 0], mean_q, 1.0, attraction, pull_x, push_x, work
        )
        mean_k = neighbour_pull(
            y, key_neighbours, shifts[iteration, :, 1], mean_k, key_strength, attraction, pull_y, push_y, work
        )
        step = rate * min((iteration + 1.0) / warm_up, (n_iterations - iteration) / max(n_iterations - warm_up, 1.0))
        adam_step(x, pull_x, mean_x, square_x, step, iteration + 1)
        adam_step(y, pull_y, mean_y, square_y, step, iteration + 1)
    return pressure
