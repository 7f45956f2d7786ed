"""Heads of a run arranged by what they attend to, as an add-on of it; and how alike their attention is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from analysis import __version__
from analysis.errors import RunError, UnknownName
from analysis.progress import Progress, Report, silent

if TYPE_CHECKING:
    import pandas as pd

    from analysis.patterns import Arrangement
    from analysis.store.reading import Reader
    from analysis.types import Site

ARRANGEMENTS = ("umap", "pca", "autoencoder")

MOST_MAPS = 4000
"""Maps the autoencoder learns from."""

MOST_CELLS = 200_000_000
"""Weights that `head_similarity` and the autoencoder read at most, over all heads and inputs: bounds their time."""


def add_patterns(
    run: str | Path,
    *,
    method: str = "umap",
    seed: int = 0,
    runs_dir: str | Path | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Arrange the heads of a run by likeness, each stack on its own, and keep their places as an add-on of the run.

    Args:
        run: Id of the run or its folder.
        method: ``umap`` or ``pca`` of pattern features (`analysis.patterns.head_features`), or ``autoencoder`` over
            attention maps, for images.
        seed: Of UMAP, of the autoencoder, and of the inputs it sees.
        runs_dir: Folder of the runs, when `run` is an id.
        report: Told how far the work has come.

    Returns:
        The add-on's manifest: name, arrangement, seed, and ``stacks``, for each what made its places and how many
        clusters there are; for the autoencoder also its error and that of the mean map. Places are then in
        `run.head_places`.

    Raises:
        UserError: Unknown method, unknown run, an arrangement of this name is already there, no scores, or the
            autoencoder was asked for and no stack is of images.
    """
    from analysis.store import add_to_run, open_run

    if method not in ARRANGEMENTS:
        raise UnknownName(f"There is no arrangement {str(method)[:100]!r}; known: {', '.join(ARRANGEMENTS)}.")
    name = f"patterns-{method}"
    with open_run(run, runs_dir) as opened:
        if not opened.head_places(method).empty:
            raise RunError(f"{opened.run_id} already has its heads arranged by {method}; choose another method.")
        with add_to_run(opened.path, name) as addition:
            made = _arrangements(opened, method, seed, report)
            addition.put_head_places(_all_places(made, method))
            made_from = {part: opened.manifest.get(part) for part in ("model", "model_revision", "data", "data_hash")}
            stacks = {
                stack: {
                    "n_heads": len(arrangement.places), "n_clusters": arrangement.n_clusters,
                    "method": arrangement.method, **arrangement.parameters,
                }
                for stack, arrangement in made.items()
            }  # fmt: skip
            manifest = {"arrangement": method, "seed": seed, "code_version": __version__, "stacks": stacks}
            addition.publish({**made_from, **manifest})
    report(Progress("done"))
    return {"name": name, **manifest}


def head_similarity(
    run: Reader, stack: str, n_inputs: int = 24, seed: int = 0
) -> tuple[pd.DataFrame, Float[np.ndarray, "head head"]]:
    """How alike the attention of a stack's heads is, on a sample of the inputs.

    Args:
        run: The run.
        stack: The label of a stack (`Site.stack_label`).
        n_inputs: At most so many inputs are read, fewer where they are long (`MOST_CELLS`).
        seed: Of the sample.

    Returns:
        site, head in the order of the matrix, and the matrix (`analysis.patterns.attention_similarity`): the mean
        over inputs of the cosine of two heads' maps.

    Raises:
        UnknownName: The run has no such stack.
    """
    from analysis.patterns import attention_similarity

    sites = _sites_of(run, stack)
    chosen = _sample(run, sites, n_inputs, seed)
    similarity = attention_similarity(maps for _, maps in _maps_by_input(run, sites, chosen))
    return _heads_of(sites), similarity


def _arrangements(run: Reader, method: str, seed: int, report: Report) -> dict[str, Arrangement]:
    stacks = list(dict.fromkeys(site.stack_label for site in run.sites))
    if method == "autoencoder":
        stacks = [stack for stack in stacks if _sites_of(run, stack)[0].modality == "vision"]
        if not stacks:
            raise RunError("The autoencoder arranges attention maps of images, and this run is of texts: choose umap.")
        return {stack: _by_autoencoder(run, stack, seed, report) for stack in stacks}
    scored = set(run.head_scores()["site"])
    stacks = [stack for stack in stacks if any(site.key in scored for site in _sites_of(run, stack))]
    if not stacks:
        raise RunError(f"The run has no scores of heads, which {method} needs: extract it again.")
    return {stack: _by_features(run, stack, method, seed, report) for stack in stacks}


def _by_features(run: Reader, stack: str, method: str, seed: int, report: Report) -> Arrangement:
    from analysis.patterns import arrange, head_features

    keys = [site.key for site in _sites_of(run, stack)]
    scores, profiles = run.head_scores(), run.head_profiles()
    features = head_features(scores[scores["site"].isin(keys)], profiles[profiles["site"].isin(keys)])
    report(Progress("project", 0, len(features), "heads", message=f"Arranging the heads of {stack}"))
    made = arrange(features, method, seed)
    report(Progress("project", len(features), len(features), "heads"))
    return made


def _by_autoencoder(run: Reader, stack: str, seed: int, report: Report) -> Arrangement:
    from analysis.patterns.arrangement import arranged
    from analysis.patterns.autoencoder import N_STEPS, encode_maps, small_maps

    sites = _sites_of(run, stack)
    heads = _heads_of(sites)
    chosen = _sample(run, sites, max(1, MOST_MAPS // len(heads)), seed)
    is_special = {input_id: found.to_numpy(bool) for input_id, found in run.tokens().groupby("input_id")["is_special"]}
    report(Progress("project", 0, len(chosen), "inputs", message=f"Reading attention of {stack}"))
    small = []
    for input_id, maps in _maps_by_input(run, sites, chosen):
        small.append(small_maps(maps, ~is_special[input_id]))
        report(Progress("project", len(small), len(chosen), "inputs"))
    report(Progress("project", 0, N_STEPS, "steps", message="Learning the autoencoder"))
    made = encode_maps(
        np.concatenate(small), np.repeat(chosen, len(heads)), seed, N_STEPS,
        told=lambda done, total: report(Progress("project", done, total, "steps")),
    )  # fmt: skip
    codes = made.codes.reshape(len(chosen), len(heads), -1).mean(axis=0).astype(float)
    judged = {
        "n_inputs": len(chosen), "error": made.error, "error_of_mean_map": made.baseline, "explained": made.explained,
        "n_maps_learned": made.n_learned, "n_maps_held_out": made.n_held_out,
    }  # fmt: skip
    return arranged(heads, codes, "umap", seed, judged)


def _maps_by_input(
    run: Reader, sites: list[Site], chosen: np.ndarray
) -> Iterator[tuple[int, Float[np.ndarray, "head query key"]]]:
    for input_id in chosen.tolist():
        attention = run.shares_all(input_id)
        yield input_id, np.concatenate([attention[site.key] for site in sites])


def _sample(run: Reader, sites: list[Site], n_inputs: int, seed: int) -> np.ndarray:
    """Ids of inputs, rising: at most so many, and at most `MOST_CELLS` weights in all."""
    from analysis.metrics.averages import sample_inputs

    inputs = run.inputs()
    n_heads = sum(site.n_heads for site in sites)
    chosen = sample_inputs(inputs["n_tokens"].to_numpy(), n_inputs, max(1, MOST_CELLS // n_heads), seed)
    return inputs["input_id"].to_numpy()[chosen]


def _sites_of(run: Reader, stack: str) -> list[Site]:
    sites = [site for site in run.sites if site.stack_label == stack]
    if not sites:
        known = ", ".join(dict.fromkeys(site.stack_label for site in run.sites))
        raise UnknownName(f"There is no stack {str(stack)[:100]!r}; known: {known}.")
    return sites


def _heads_of(sites: list[Site]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([(site.key, head) for site in sites for head in range(site.n_heads)], columns=["site", "head"])


def _all_places(made: dict[str, Arrangement], method: str) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([arrangement.places for arrangement in made.values()], ignore_index=True).assign(
        arrangement=method
    )
