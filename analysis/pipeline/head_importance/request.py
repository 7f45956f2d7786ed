"""What was asked for, settled from the run alone: heads, inputs, names. Nothing heavy is loaded for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from analysis import __version__
from analysis.errors import RunError, UserError
from analysis.pipeline.asking import editable, sample_inputs
from analysis.pipeline.request import parse_layers

if TYPE_CHECKING:
    from analysis.pipeline.head_importance.variant import Variant
    from analysis.store import Run
    from analysis.types import Site


@dataclass(frozen=True)
class Request:
    """A checked request.

    Attributes:
        sites: Whose heads are measured.
        input_ids: Measured on, rising.
        name: Of the add-on.
        spec: Everything that decides what comes out, as plain values.
        notes: What is left out.
    """

    variant: Variant
    sites: tuple[Site, ...]
    input_ids: tuple[int, ...]
    seed: int
    name: str
    spec: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def heads(self) -> list[tuple[Site, int]]:
        """Every head in order."""
        return [(site, head) for site in self.sites for head in range(site.n_heads)]


def checked(run: Run, variant: Variant, limit: int | None, layers: str | None, seed: int) -> Request:
    """The request, when everything about it that the run alone can tell is right.

    Raises:
        UserError: A variant that means nothing here, no such layers, no head that can be edited.
    """
    variant.check(run.modality)
    sites, notes = editable(run, _of_layers(run.sites, parse_layers(layers)), "The importance of heads")
    input_ids = sample_inputs(int(run.manifest["n_inputs"]), limit, seed)
    depths = sorted({site.depth for site in sites})
    name = variant.name + ("" if layers is None else "-layers-" + "-".join(map(str, depths)))
    if len(name) > 80:
        raise UserError(f"--layers {layers} names too many layers one by one: give ranges in several calls, or all.")
    spec = {
        **asdict(variant),
        "sites": [site.key for site in sites],
        "input_ids": list(input_ids),
        "seed": seed,
        "model_revision": run.manifest.get("model_revision"),
        "data_hash": run.manifest.get("data_hash"),
        "code_version": __version__,
    }
    return Request(variant, sites, input_ids, seed, name, spec, notes)


def refuse_measured(run: Run, request: Request) -> None:
    """Heads are measured once in each way: a table must not hold two values for one.

    Raises:
        RunError: Another add-on has some of them.
    """
    from analysis.metrics.importance_measures import MEASURES

    names = {name + request.variant.suffix for name in MEASURES if name.startswith("ablation_")}
    scores = run.head_scores()
    taken = set(scores.loc[scores["metric"].isin(names), "site"]) & {site.key for site in request.sites}
    if taken:
        labels = [site.label for site in request.sites if site.key in taken]
        raise RunError(
            f"Run {run.run_id} already has these measures of {', '.join(labels[:3])}"
            f"{' and others' if len(labels) > 3 else ''}, and results are never changed: choose other --layers, or "
            "extract the run again under another --run-id."
        )


def _of_layers(sites: Sequence[Site], depths: frozenset[int] | None) -> list[Site]:
    chosen = [site for site in sites if depths is None or site.depth in depths]
    if not chosen:
        known = sorted({site.depth for site in sites})
        raise UserError(f"No layer of the run is one of {sorted(depths or ())}; it has {known[0]} to {known[-1]}.")
    return chosen
