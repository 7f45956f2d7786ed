"""The maps beside stock umap-learn, one head at a time, on the MiniLM with about 5,000 tokens, and their growth.

Every method lays out a head before the next head begins, so a noisy neighbour hits them all; times are CPU seconds of
this process with one thread, compiling left out, neighbours and packing included. The constants of `atlas` were found
on 16 heads (`N_TUNED`), its margin under the start and the steps of `linear` on the others: the first are reported
apart. t-SNE, which takes several times as long as all the others together, lays out every twelfth head.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

import analysis
from analysis.projection import PROJECTIONS
from analysis.projection.fidelity import kl_explained, measure
from analysis.projection.problem import HeadProblem, Layout
from analysis.types import head_name
from tests.benchmarks.real_heads import minilm_heads

N_TOKENS = 5000
ROWS = (
    ("umap", "attention"),
    ("tsne", "attention"),
    ("pca", "attention"),
    ("linear", "attention"),
    ("atlas", "attention"),
    ("atlas", "without_sinks"),
)
COLUMNS = ("cpu_s", "kl_explained", "key_only_kl", "mass3_skill", "recall3_content", "kept_queries", "kept_keys", "mix")
N_TUNED = 16
SLOW, EVERY = "tsne", 12
GROWTH_TOKENS = (2500, 5000, 10_000, 20_000)
GROWTH_HEADS = ((0, 3), (2, 5), (3, 11), (5, 7))


def run(quick: bool = False) -> str:
    """Measure and return markdown tables: all heads, the heads nobody tuned on, special tokens apart, images."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        heads = minilm_heads(N_TOKENS)
        order = [list(heads)[i] for i in np.random.default_rng(0).permutation(len(heads))]
        held_out = set(order[N_TUNED:])
        chosen = order[N_TUNED : N_TUNED + 4] if quick else order
        _compile(heads[chosen[0]])
        figures = {head: _figures(heads[head], slow=i % EVERY == 0) for i, head in enumerate(chosen)}
        n_points = heads[chosen[0]].n_points
        parts = [_table(f"MiniLM, {n_points:,} tokens, 2-D, mean over {len(chosen)} heads", list(figures.values()))]
        if not quick:
            rows = [figures[head] for head in chosen if head in held_out]
            parts.append(_table(f"The {len(rows)} of them nobody tuned on", rows))
        parts += [
            _verdict(list(figures.values())),
            _special_tokens([heads[head] for head in chosen[:: 1 if quick else 6]]),
        ]
        parts.append(_images(quick))
        parts.append(growth(GROWTH_TOKENS[:2], 1) if quick else growth())
        parts.append(_every_head(figures))
    return "\n\n".join(parts)


def _every_head(figures: dict[tuple[int, int], dict]) -> str:
    """Each head on its own, for those whom a mean does not tell enough."""
    columns = ("kl_explained", "key_only_kl", "recall3_content", "kept_queries", "kept_keys")
    lines = [
        "Every head, atlas / umap, whole attention",
        "",
        f"| head | {' | '.join(columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for layer, head in sorted(figures):
        atlas, umap = figures[layer, head]["atlas", "attention"], figures[layer, head]["umap", "attention"]
        cells = [f"{atlas[column]:.2f} / {umap[column]:.2f}" for column in columns]
        lines.append(f"| {head_name(layer, head)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _compile(problem: HeadProblem) -> None:
    for method, target in ROWS:
        if method != SLOW:
            PROJECTIONS[method](replace(problem).with_target(target), 2, 0)


def _figures(problem: HeadProblem, slow: bool = True) -> dict[tuple[str, str], dict[str, float]]:
    found = {}
    for method, target in ROWS:
        if method == SLOW and not slow:
            found[method, target] = dict.fromkeys(COLUMNS, float("nan"))
            continue
        aimed = problem.with_target(target)
        aimed = replace(aimed)  # nothing computed yet: packing and neighbours are part of the cost
        seconds, layout = _timed(lambda method=method, aimed=aimed: PROJECTIONS[method](aimed, 2, 0))
        found[method, target] = {"cpu_s": seconds, **measure(aimed, layout)}
    return found


def growth(sizes: tuple[int, ...] = GROWTH_TOKENS, repeats: int = 3) -> str:
    """CPU seconds of `atlas` and of its figures by the number of tokens, inputs of one length distribution.

    Mean over `GROWTH_HEADS` of the least of some repeats, sizes interleaved.
    """
    problems = {size: minilm_heads(size) for size in sizes}
    atlas = PROJECTIONS["atlas"]
    measure(problems[sizes[0]][GROWTH_HEADS[0]], atlas(problems[sizes[0]][GROWTH_HEADS[0]], 2, 0))
    least: dict[tuple[int, tuple[int, int]], list[float]] = {}
    for _ in range(repeats):
        for head in GROWTH_HEADS:
            for size in sizes:
                problem = replace(problems[size][head])
                fitting, layout = _timed(lambda problem=problem: atlas(problem, 2, 0))
                measuring, _ = _timed(lambda problem=problem, layout=layout: measure(problem, layout))
                before = least.get((size, head), [np.inf, np.inf])
                least[size, head] = [min(*pair) for pair in zip(before, (fitting, measuring))]
    conditions = f"mean of {len(GROWTH_HEADS)} heads, least of {repeats}"
    lines = [f"| tokens ({conditions}) | atlas, CPU s | its figures, CPU s | growth |", "|---|---|---|---|"]
    total = None
    for size in sizes:
        fitting, measuring = np.mean([least[size, head] for head in GROWTH_HEADS], axis=0)
        ratio = "" if total is None else f"{(fitting + measuring) / total:.2f}x"
        total = fitting + measuring
        n_points = problems[size][GROWTH_HEADS[0]].n_points
        lines.append(f"| {n_points:,} | {fitting:.2f} | {measuring:.2f} | {ratio} |")
    return "\n".join(lines)


def _timed(fit: Callable[[], Layout]) -> tuple[float, Layout]:
    begin = time.process_time()
    layout = fit()
    return time.process_time() - begin, layout


def _table(title: str, figures: list[dict]) -> str:
    lines = [f"| {title} | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for row in ROWS:
        values = np.array([[head[row][column] for column in COLUMNS] for head in figures])
        means = [column[~np.isnan(column)].mean() for column in values.T]
        n_heads = (~np.isnan(values[:, 0])).sum()
        name = row[0] if row[1] == "attention" else f"{row[0]}, {row[1]}"
        name += "" if n_heads == len(figures) else f" ({n_heads} heads)"
        lines.append(f"| {name} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
    return "\n".join(lines)


def _verdict(figures: list[dict]) -> str:
    def mean(method: str, column: str) -> float:
        return float(np.nanmean([head[method, "attention"][column] for head in figures]))

    kept = [mean(method, "kept_queries") + mean(method, "kept_keys") for method in ("atlas", "umap")]
    fewer = np.mean([_kept(head, "atlas") < 0.9 * _kept(head, "umap") for head in figures])
    rows = [
        ("CPU of umap over atlas", f"{mean('umap', 'cpu_s') / mean('atlas', 'cpu_s'):.1f}x", "6x or more"),
        ("KL explained", f"{mean('atlas', 'kl_explained'):.2f}", "0.78 or more"),
        ("recall@3 on content tokens", f"{mean('atlas', 'recall3_content'):.2f}", "0.48 or more"),
        ("neighbours kept, of UMAP's", f"{kept[0] / kept[1]:.0%}", "90 % or more"),
        ("heads that keep under 90 % of UMAP's", f"{fewer:.0%}", ""),
    ]
    return "\n".join(["| atlas | measured | budget |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)])


def _kept(head: dict, method: str) -> float:
    return head[method, "attention"]["kept_queries"] + head[method, "attention"]["kept_keys"]


def _special_tokens(problems: list[HeadProblem]) -> str:
    """KL explained of `atlas` by the kind of query, and with special tokens left out as keys too."""
    found = []
    for problem in problems:
        layout = PROJECTIONS["atlas"](problem, 2, 0)
        content = ~problem.is_special
        found.append(
            [
                kl_explained(_only(problem, content, None), layout),
                kl_explained(_only(problem, ~content, None), layout),
                kl_explained(_only(problem, content, content), layout),
            ]
        )
    means = np.mean(found, axis=0)
    lines = [
        f"| KL explained by atlas, mean over {len(problems)} heads | |",
        "|---|---|",
        f"| content queries, all keys | {means[0]:.2f} |",
        f"| special queries (CLS, SEP), all keys | {means[1]:.2f} |",
        f"| content queries, content keys only | {means[2]:.2f} |",
    ]
    return "\n".join(lines)


def _only(problem: HeadProblem, queries: np.ndarray, keys: np.ndarray | None) -> HeadProblem:
    attention, allowed = [], []
    for weights, mask, begin, end in zip(problem.attention, problem.allowed, problem.starts[:-1], problem.starts[1:]):
        mask = mask & queries[begin:end, None]
        if keys is not None:
            mask = mask & keys[None, begin:end]
        attention.append(np.where(mask, weights, 0))
        allowed.append(mask)
    return replace(problem, attention=attention, allowed=allowed)


def _images(quick: bool) -> str:
    """The bundled vision model on the bundled scenes, through the whole pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        run = analysis.extract(model="demo-vision", data="demo-scenes", out_dir=folder, projection=["linear"])
        starts = np.concatenate([[0], np.cumsum(run.inputs()["n_tokens"].to_numpy())])
        special = run.tokens()["is_special"].to_numpy(dtype=bool)
        heads = [(site, head) for site in run.sites for head in range(site.n_heads)][:: 12 if quick else 3]
        problems = [
            HeadProblem(
                queries=run.queries(site, head),
                keys=run.keys(site, head),
                scale=site.scale,
                starts=starts,
                attention=run.attention_by_input(site, head),
                allowed=run.allowed_by_input(site),
                is_special=special,
            )
            for site, head in heads
        ]
        run.close()
    title = f"demo-vision, {len(special):,} tokens, mean over {len(problems)} heads"
    return _table(title, [_figures(problem, slow=i % EVERY == 0) for i, problem in enumerate(problems)])
