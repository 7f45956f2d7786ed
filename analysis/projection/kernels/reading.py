"""What can be read off a layout: the attention its distances say, and the keys nearest to each query."""

from __future__ import annotations

import numpy as np

from analysis.projection.kernels.compiled import compiled


@compiled
def read_cross_entropy(x, y, first, length, offset, target, power, sigma):
    """Sum over queries of ``-sum_j A_ij log p_ij`` in nats.

    ``p_ij`` is proportional to ``(1 + d^2/sigma^2)^-power``, to ``exp(-d^2/sigma^2)`` when `power` is 0.

    Args:
        x, y: ``[point, dims]``.
        first, length, offset, target: See `analysis.projection.problem.Pairs`.
    """
    n_points, dims = x.shape
    narrow = 1.0 / (sigma * sigma)
    cost = np.empty(max(length.max(), 1) if n_points > 0 else 1, dtype=np.float64)
    total = 0.0
    for i in range(n_points):
        begin, at = first[i], offset[i]
        least = 1e300
        for j in range(length[i]):
            if target[at + j] < 0:
                continue
            distance = 0.0
            for dim in range(dims):
                step = np.float64(x[i, dim]) - np.float64(y[begin + j, dim])
                distance += step * step
            cost[j] = distance * narrow if power == 0 else power * np.log(1.0 + distance * narrow)
            least = min(least, cost[j])
        sum_weights, mean_cost = 0.0, 0.0
        for j in range(length[i]):
            if target[at + j] >= 0:
                sum_weights += np.exp(least - cost[j])
                mean_cost += target[at + j] * (cost[j] - least)
        if length[i] > 0:
            total += mean_cost + np.log(sum_weights)
    return total


@compiled
def nearest_three(x, y, first, length, offset, target, counted, mass, chance, oracle, hits, n_counted):
    """The three nearest counted keys of each query, and how much attention they hold.

    Of keys at one distance, or with one weight, each counts by its share of the places left, so that no order is
    invented: with all attention on one key the other two places are shared by all.

    Args:
        counted: ``[key]``, which keys take part.
        mass: Overwritten: attention on the three nearest keys.
        chance: Overwritten: attention on three keys drawn blindly.
        oracle: Overwritten: attention on the three most attended keys.
        hits: Overwritten: how many of the three nearest are among the three most attended.
        n_counted: Overwritten: keys that take part and may be attended; with three or fewer nothing else is written.
    """
    n_points, dims = x.shape
    longest = max(length.max(), 1) if n_points > 0 else 1
    distance, weight = np.empty(longest, dtype=np.float64), np.empty(longest, dtype=np.float64)
    for i in range(n_points):
        n_keys, begin, at = 0, first[i], offset[i]
        for j in range(length[i]):
            if target[at + j] < 0 or not counted[begin + j]:
                continue
            square = 0.0
            for dim in range(dims):
                step = np.float64(x[i, dim]) - np.float64(y[begin + j, dim])
                square += step * step
            distance[n_keys], weight[n_keys] = square, target[at + j]
            n_keys += 1
        n_counted[i] = n_keys
        if n_keys <= 3:
            continue
        near = third_smallest(distance, n_keys, 1.0)
        most = -third_smallest(weight, n_keys, -1.0)
        n_inside, n_edge, inside, edge = 0, 0, 0.0, 0.0
        found_inside, found_edge, tied_inside, tied_edge, n_tied = 0.0, 0.0, 0.0, 0.0, 0
        total, top, n_above = 0.0, 0.0, 0
        for j in range(n_keys):
            total += weight[j]
            if weight[j] > most:
                top += weight[j]
                n_above += 1
            elif weight[j] == most:
                n_tied += 1
            if distance[j] < near:
                n_inside += 1
                inside += weight[j]
                found_inside += weight[j] > most
                tied_inside += weight[j] == most
            elif distance[j] == near:
                n_edge += 1
                edge += weight[j]
                found_edge += weight[j] > most
                tied_edge += weight[j] == most
        share = (3 - n_inside) / n_edge
        mass[i] = inside + share * edge
        # Of keys with one weight, too, each counts by its share of the places left among the three most attended.
        tied = (3 - n_above) / n_tied
        hits[i] = found_inside + tied * tied_inside + share * (found_edge + tied * tied_edge)
        oracle[i] = top + (3 - n_above) * most
        chance[i] = 3.0 * total / n_keys


@compiled
def third_smallest(values, count, sign):
    """The third smallest of ``sign * values[:count]``; `count` is 3 or more."""
    one, two, three = 1e300, 1e300, 1e300
    for j in range(count):
        value = sign * values[j]
        if value < one:
            one, two, three = value, one, two
        elif value < two:
            two, three = value, two
        elif value < three:
            three = value
    return three


@compiled
def popularity(first, length, offset, target, n_iterations):
    """How popular each key must be to explain the attention best with no map at all.

    Maximises ``sum A_ij log(b_j / sum_j' b_j')`` by the minorise-maximise steps of Hunter (2004), "MM algorithms for
    generalized Bradley-Terry models": each step sets b_j to the attention j received over the sum, for the queries
    that may see j, of ``1 / sum b``. With full masks one step is exact.

    Returns:
        The cross-entropy summed over queries in nats.
    """
    n_points, n_keys = length.shape[0], 0
    for i in range(n_points):
        n_keys = max(n_keys, first[i] + length[i])
    received, popular, exposure = np.zeros(n_keys), np.ones(n_keys), np.empty(n_keys)
    for i in range(n_points):
        for j in range(length[i]):
            received[first[i] + j] += max(target[offset[i] + j], np.float32(0))
    cross_entropy = 0.0
    for iteration in range(n_iterations + 1):
        exposure[:] = 0
        cross_entropy = 0.0
        for i in range(n_points):
            begin, at = first[i], offset[i]
            total = 0.0
            for j in range(length[i]):
                if target[at + j] >= 0:
                    total += popular[begin + j]
            if length[i] == 0:
                continue
            cross_entropy += np.log(total)
            for j in range(length[i]):
                if target[at + j] >= 0:
                    exposure[begin + j] += 1.0 / total
        for j in range(n_keys):
            if received[j] > 0:
                cross_entropy -= received[j] * np.log(popular[j])
        if iteration < n_iterations:
            for j in range(n_keys):
                popular[j] = max(received[j], 1e-12) / exposure[j] if exposure[j] > 0 else 0.0
    return cross_entropy


@compiled
def count_within_reach(vectors, near, farthest, slack):
    """How many of the points in `near` are no farther from their point than its farthest true neighbour.

    Args:
        vectors: ``[point, d]``.
        near: ``[point, neighbour]``, rows of `vectors`.
        farthest: ``[point]``, the row of the farthest true neighbour.
        slack: Distance by which one may be farther.
    """
    count = 0
    for i in range(near.shape[0]):
        reach = distance_between(vectors, i, farthest[i]) + slack
        for k in range(near.shape[1]):
            count += distance_between(vectors, i, near[i, k]) <= reach
    return count


@compiled
def distance_between(vectors, i, j):
    """Euclidean distance of two rows."""
    square = 0.0
    for dim in range(vectors.shape[1]):
        step = np.float64(vectors[i, dim]) - np.float64(vectors[j, dim])
        square += step * step
    return np.sqrt(square)
