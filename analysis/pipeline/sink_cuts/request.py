"""What was asked for, settled from the run alone: heads, inputs, names. Nothing heavy is loaded for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from analysis import __version__
from analysis.errors import UserError
from analysis.pipeline.asking import editable, sample_inputs
from analysis.pipeline.sink_cuts.variant import IMAGE_CENTRIC

if TYPE_CHECKING:
    from analysis.pipeline.sink_cuts.variant import CutVariant
    from analysis.store import Run
    from analysis.types import Site

LIMIT = 50
"""Inputs that are measured unless more or fewer are asked for."""


@dataclass(frozen=True)
class Request:
    """A checked request.

    Attributes:
        sites: Where something may be cut.
        heads: By site key, the heads that are meant.
        input_ids: Drawn, rising.
        name: Of the add-on.
        spec: Everything that decides what comes out, as plain values.
        notes: What is left out.
    """

    variant: CutVariant
    sites: tuple[Site, ...]
    heads: Mapping[str, list[int]]
    input_ids: tuple[int, ...]
    seed: int
    name: str
    spec: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def n_heads(self) -> int:
        """Heads that are meant."""
        return sum(map(len, self.heads.values()))


def checked(run: Run, variant: CutVariant, limit: int | None, seed: int) -> Request:
    """The request, when everything about it that the run's own description can tell is right.

    Raises:
        UserError: A variant that means nothing here, unknown heads, no head that can be edited.
    """
    variant.check(run.modality)
    input_ids = sample_inputs(int(run.manifest["n_inputs"]), limit, seed)
    sites, notes = editable(run, [site for site in run.sites if site.role == "self"], "What cutting sinks does")
    heads = variant.heads_of(sites)
    if not heads:
        raise UserError("The run has one layer only, and in image-centric heads the last layer is left as it is.")
    if variant.heads == IMAGE_CENTRIC:
        notes = (*notes, "The last layer is left as it is, as published.")
    name = variant.name
    if limit != LIMIT:
        name += "-all-inputs" if limit is None else f"-n{limit}"
    name += f"-seed{seed}" if seed else ""
    spec = {
        **asdict(variant),
        "keep": variant.kept,
        "heads": [[site, *of_site] for site, of_site in heads.items()],
        "input_ids": list(input_ids),
        "seed": seed,
        "model_revision": run.manifest.get("model_revision"),
        "data_hash": run.manifest.get("data_hash"),
        "code_version": __version__,
    }
    chosen = tuple(site for site in sites if site.key in heads)
    return Request(variant, chosen, heads, input_ids, seed, name, spec, notes)
