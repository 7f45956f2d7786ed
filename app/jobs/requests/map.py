"""A joint map of a run: how it is called, the command line that makes it, and about how long that takes. No streamlit
in here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from analysis.errors import UserError
from analysis.projection.naming import MapKind

WHOLE, WITHOUT_SINKS = "attention", "without_sinks"

_SPELLED = re.compile(r"[a-z][a-z0-9_]*-[23]d(-without-sinks)?(-aligned)?")
_RUN_ID = re.compile(r"[A-Za-z0-9][\w.-]*")

SECONDS_PER_HEAD = {"linear": 0.11, "pca": 0.14, "atlas": 0.22, "tsne": 8.0, "umap": 3.0}
"""Seconds of one processor for one head and 1,000 tokens, fidelity counted: measured on the bundled language run (32
heads, 4,121 tokens), but for tsne, which is a guess. One machine: what is told is a round number."""

OTHER_METHOD = 1.0
MOST_FITTED = 20_000
"""Beyond so many tokens a map is fitted on a sample, and time grows no further to speak of."""

STARTING_SECONDS = 6.0


def in_words(kind: MapKind) -> str:
    """For a sentence: ``umap in 3-D, attention without sinks``."""
    apart = [", attention without sinks"] if kind.target == WITHOUT_SINKS else []
    return "".join([f"{kind.method} in {kind.dims}-D", *apart, *([", aligned"] if kind.aligned else [])])


def read_kind(name: str) -> MapKind | None:
    """The inverse of `MapKind.name`, for words of a link; None for what is no such name."""
    if not _SPELLED.fullmatch(name):
        return None
    try:
        return MapKind.parse(name)
    except UserError:  # no such method here, or one that cannot be aligned
        return None


def kind_of(row: Mapping[str, Any]) -> MapKind:
    """What a row of `Run.projections` is a map of."""
    is_aligned = bool(json.loads(row["parameters"] or "{}").get("aligned"))
    return MapKind(str(row["method"]), int(row["dims"]), str(row["target"]), is_aligned)


def without_sinks(kinds: Mapping[str, MapKind]) -> dict[str, str]:
    """Of every map of the whole attention, the name of the same map of attention without sinks, where there is one.

    Args:
        kinds: Of the maps of a run, by name.
    """
    known = {kind: name for name, kind in reversed(kinds.items())}
    twins = {name: known.get(replace(kind, target=WITHOUT_SINKS)) for name, kind in kinds.items()}
    return {name: twin for name, twin in twins.items() if twin is not None and kinds[name].target == WHOLE}


@dataclass(frozen=True)
class MapRequest:
    """A map that is to be added to a finished run."""

    run_id: str
    method: str
    dims: int = 2
    target: str = WHOLE
    aligned: bool = False

    makes_run = False
    doing = "Making the maps"
    stopping = "Stopping: nothing will be added to the run."
    kept = "Nothing was added to the run."

    @property
    def busy(self) -> str:
        """What is busy while it runs."""
        return f"The map {self.kind.name} of run"

    @property
    def title(self) -> str:
        """Of its card."""
        return f"Map {self.kind.name} of {self.run_id}"

    @property
    def kind(self) -> MapKind:
        """The map without the run."""
        return MapKind(self.method, self.dims, self.target, self.aligned)

    def arguments(self) -> list[str]:
        """The command's arguments, each value bound to its option.

        Raises:
            UserError: A value no command could use.
        """
        if not _RUN_ID.fullmatch(self.run_id) or read_kind(self.kind.name) is None:
            raise UserError(f"“{self.kind.name}” of run “{self.run_id[:80]}” is no map that can be made.")
        said = ["project", self.run_id, f"--method={self.method}", f"--dims={self.dims}", f"--target={self.target}"]
        return [*said, "--aligned"] if self.aligned else said


def seconds_to_make(kind: MapKind, n_tokens: int, n_heads: int, n_cores: int, is_concurrent: bool) -> float:
    """About how long making a map takes on an idle machine.

    Args:
        n_tokens: Of the run.
        n_heads: Heads of self-attention.
        n_cores: Of this machine.
        is_concurrent: The method works on several heads at once.
    """
    each = SECONDS_PER_HEAD.get(kind.method, OTHER_METHOD) * min(n_tokens, MOST_FITTED) / 1000
    workers = n_cores if is_concurrent and not kind.aligned else 1
    return STARTING_SECONDS + n_heads * each / max(min(workers, n_heads), 1)


def about(seconds: float) -> str:
    """``20 s``, ``3 min``, ``2 h``: one digit, for that is all such an estimate is worth."""
    if seconds < 55:
        return f"{max(round(seconds / 10), 1) * 10} s"
    minutes = seconds / 60
    if minutes < 55:
        return f"{max(round(minutes), 1) if minutes < 10 else round(minutes / 10) * 10} min"
    return f"{max(round(minutes / 60), 1)} h"
