"""How a layout is pulled: by the attention inside each input, and by the neighbours of each kind."""

from __future__ import annotations

import numpy as np

from analysis.projection.kernels.compiled import compiled


@compiled
def softmax_pull(x, y, first, length, offset, target, pull_x, pull_y):
    """Gradient of the cross-entropy between attention and softmax(-d^2) within each run of keys.

    Args:
        x, y: Places of queries and keys, ``[dims, point]``.
        first, length, offset, target: See `analysis.projection.problem.Pairs`.
        pull_x, pull_y: Overwritten with the gradient of the sum over queries.
    """
    dims, n_points = x.shape
    pull_x[:] = 0
    pull_y[:] = 0
    weight = np.empty(length.max() if n_points > 0 else 0, dtype=np.float32)
    for i in range(n_points):
        n_keys, begin, at = length[i], first[i], offset[i]
        if n_keys < 2:
            continue
        least = np.float32(3.4e38)
        for j in range(n_keys):
            distance = np.float32(0)
            for dim in range(dims):
                step = x[dim, i] - y[dim, begin + j]
                distance += step * step
            weight[j] = distance
            if target[at + j] >= 0 and distance < least:
                least = distance
        total = np.float32(0)
        for j in range(n_keys):
            if target[at + j] >= 0:
                weight[j] = np.exp(least - weight[j])
                total += weight[j]
            else:
                weight[j] = 0
        total = np.float32(1) / total
        for j in range(n_keys):
            force = np.float32(2) * (max(target[at + j], np.float32(0)) - weight[j] * total)
            for dim in range(dims):
                step = force * (x[dim, i] - y[dim, begin + j])
                pull_x[dim, i] += step
                pull_y[dim, begin + j] -= step


@compiled
def attention_pull(x, y, first, length, offset, target, power, sigma, eps, strength, pull_x, pull_y, work, measure):
    """Add the gradient of the attention term, and measure it when asked.

    The term is ``strength * sum_i [-sum_j A_ij log w_ij + log(eps + sum_j w_ij)]``, ``w = (1 + d^2/sigma^2)^-power``
    with a whole `power`; its gradient on d^2 is ``power / (sigma^2 + d^2) * (A_ij - w_ij / (eps + sum w))``.

    Args:
        work: Three rows of scratch space as long as the longest run.
        measure: Whether to compute the cross-entropy; costs a logarithm per pair.

    Returns:
        Sum over queries of ``-sum_j A_ij log(w_ij / sum_j w_ij)`` in nats, or 0 when not measured.
    """
    dims, n_points = x.shape
    narrow = np.float32(1.0 / (sigma * sigma))
    factor = np.float32(2.0 * power * narrow * strength)
    cross_entropy = 0.0
    for i in range(n_points):
        n_keys, begin, at = length[i], first[i], offset[i]
        if n_keys < 2:
            continue
        reach, weight = work[0, :n_keys], work[1, :n_keys]
        wanted = target[at : at + n_keys]
        reach[:] = 1
        for dim in range(dims):
            place, row = x[dim, i], y[dim, begin : begin + n_keys]
            for j in range(n_keys):
                step = place - row[j]
                reach[j] += step * step * narrow
        if measure:
            for j in range(n_keys):
                if wanted[j] > 0:
                    cross_entropy += wanted[j] * power * np.log(reach[j])
        for j in range(n_keys):
            reach[j] = np.float32(1) / reach[j]
            weight[j] = np.float32(1) if wanted[j] >= 0 else np.float32(0)
        raise_to(reach, power, weight, work[2, :n_keys])
        total = np.float32(0)
        for j in range(n_keys):
            total += weight[j]
        if measure:
            cross_entropy += np.log(total)
        share = np.float32(1) / (np.float32(eps) + total)
        for j in range(n_keys):
            reach[j] *= factor * (max(wanted[j], np.float32(0)) - weight[j] * share)
        for dim in range(dims):
            place, row, back = x[dim, i], y[dim, begin : begin + n_keys], pull_y[dim, begin : begin + n_keys]
            moved = np.float32(0)
            for j in range(n_keys):
                step = reach[j] * (place - row[j])
                moved += step
                back[j] -= step
            pull_x[dim, i] += moved
    return cross_entropy


@compiled
def raise_to(base, power, result, square):
    """Multiply `result` by ``base ** power`` by repeated squaring, each pass one vectorised loop."""
    for j in range(base.shape[0]):
        square[j] = base[j]
    while power > 0:
        if power & 1:
            for j in range(base.shape[0]):
                result[j] *= square[j]
        power >>= 1
        if power > 0:
            for j in range(base.shape[0]):
                square[j] *= square[j]


@compiled
def neighbour_pull(places, neighbours, shifts, mean_kernel, strength, attraction, pull, push, work):
    """Add the gradient of the neighbour term of one kind: t-SNE's, halved, with sampled repulsion.

    Attraction: ``1/(2k) log(1 + d^2)`` for every edge from a point to its k neighbours, force on both ends.
    Repulsion: ``2 mean(q^2 step) / mean(q)``, ``q = 1/(1 + d^2)``, over the pairs ``(i, i + shift mod n)``.

    Args:
        places: ``[dims, point]``.
        neighbours: ``[point, k]``.
        shifts: Distances in the table between the pairs sampled in this iteration, each in 1..n-1.
        mean_kernel: Running mean of q, 0 before the first iteration.
        strength: Factor on the whole term.
        attraction: Factor on the attraction alone.
        pull: Added to.
        push, work: Scratch, ``[dims, point]`` and ``[dims + 1, point]``.

    Returns:
        The new running mean of q.
    """
    dims, n_points = places.shape
    n_neighbours = neighbours.shape[1]
    if n_neighbours == 0:
        return mean_kernel
    factor = np.float32(strength * attraction / n_neighbours)
    if dims == 2:
        draw_together_2d(places, neighbours, factor, pull)
    else:
        draw_together_3d(places, neighbours, factor, pull)
    push[:] = 0
    total = 0.0
    for shift in shifts:
        total += push_apart(places, 0, shift, n_points - shift, push, work)
        total += push_apart(places, n_points - shift, shift - n_points, shift, push, work)
    mean = total / (len(shifts) * n_points)
    mean_kernel = mean if mean_kernel == 0 else 0.9 * mean_kernel + 0.1 * mean
    scale = np.float32(strength * 2.0 / (2 * len(shifts)) / max(mean_kernel, 1e-12))
    for dim in range(dims):
        for i in range(n_points):
            pull[dim, i] -= scale * push[dim, i]
    return mean_kernel


@compiled
def draw_together_2d(places, neighbours, factor, pull):
    """Add ``factor * step / (1 + d^2)`` to both ends of every edge; written out: loops over axes cost 3 times more."""
    for i in range(places.shape[1]):
        x, y = places[0, i], places[1, i]
        moved_x = moved_y = np.float32(0)
        for k in range(neighbours.shape[1]):
            j = neighbours[i, k]
            step_x, step_y = x - places[0, j], y - places[1, j]
            force = factor / (np.float32(1) + step_x * step_x + step_y * step_y)
            step_x, step_y = force * step_x, force * step_y
            moved_x += step_x
            moved_y += step_y
            pull[0, j] -= step_x
            pull[1, j] -= step_y
        pull[0, i] += moved_x
        pull[1, i] += moved_y


@compiled
def draw_together_3d(places, neighbours, factor, pull):
    """The same in three dimensions."""
    for i in range(places.shape[1]):
        x, y, z = places[0, i], places[1, i], places[2, i]
        moved_x = moved_y = moved_z = np.float32(0)
        for k in range(neighbours.shape[1]):
            j = neighbours[i, k]
            step_x, step_y, step_z = x - places[0, j], y - places[1, j], z - places[2, j]
            force = factor / (np.float32(1) + step_x * step_x + step_y * step_y + step_z * step_z)
            step_x, step_y, step_z = force * step_x, force * step_y, force * step_z
            moved_x += step_x
            moved_y += step_y
            moved_z += step_z
            pull[0, j] -= step_x
            pull[1, j] -= step_y
            pull[2, j] -= step_z
        pull[0, i] += moved_x
        pull[1, i] += moved_y
        pull[2, i] += moved_z


@compiled
def push_apart(places, begin, shift, count, push, work):
    """Add ``q^2 step`` to both ends of the pairs ``(begin + i, begin + i + shift)``; returns the sum of q."""
    dims = places.shape[0]
    kernel = work[dims, :count]
    kernel[:] = 1
    for dim in range(dims):
        near, far = places[dim, begin : begin + count], places[dim, begin + shift : begin + shift + count]
        step = work[dim, :count]
        for i in range(count):
            step[i] = near[i] - far[i]
            kernel[i] += step[i] * step[i]
    total = np.float32(0)
    for i in range(count):
        kernel[i] = np.float32(1) / kernel[i]
        total += kernel[i]
        kernel[i] *= kernel[i]
    for dim in range(dims):
        near, far = push[dim, begin : begin + count], push[dim, begin + shift : begin + shift + count]
        step = work[dim, :count]
        for i in range(count):
            near[i] += kernel[i] * step[i]
        for i in range(count):
            far[i] -= kernel[i] * step[i]
    return total
