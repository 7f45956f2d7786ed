"""What an extraction will do and cost, before it is done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.pipeline.extraction import Prepared, new_plan, notes_on, prepare
from analysis.pipeline.request import checked
from analysis.progress import silent

if TYPE_CHECKING:
    from analysis.capture import CapturePlan
    from analysis.inputs import Inputs
    from analysis.types import Site


_RECEIVED_BYTES = 2 * 4
"""A head and key: the attention it receives, its own query counted and not."""


@dataclass(frozen=True)
class ExtractionPlan:
    """What an extraction would do and cost.

    Attributes:
        capture: Sites, routes and the parity certificate of the longest input.
        n_inputs: Inputs of the run.
        n_tokens: Tokens of the run.
        longest_tokens: Tokens of its longest input.
        seconds: Estimated time of the capture, from the longest input, maps apart.
        memory_bytes: Estimated peak above the model and the data: attention of one batch.
        disk_bytes: q, k, stored attention, attention received and figures of states.
        notes: What was skipped or cut.
        engine: ``local``, or ``ray`` with where its workers would be, in words.
        workers: Copies of the model at work; they share `seconds`, and each has `memory_bytes` above its model.
    """

    run_id: str
    capture: dict[str, Any]
    n_inputs: int
    n_tokens: int
    longest_tokens: int
    seconds: float
    memory_bytes: int
    disk_bytes: int
    notes: list[str] = field(default_factory=list)
    engine: str = "local"
    workers: int = 1

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the sites and figures, without the arrays of the capture plan."""
        values = asdict(self)
        values["capture"] = {name: self.capture[name] for name in ("sites", "certificate")}
        return values

    def as_text(self) -> str:
        """The plan for a person."""
        from analysis.store.room import in_units

        certificate = self.capture["certificate"]
        lines = [
            f"Run {self.run_id}: {self.n_inputs:,} inputs, {self.n_tokens:,} tokens, longest {self.longest_tokens:,}."
        ]
        stacks: dict[str, list[dict]] = {}
        for site in self.capture["sites"]:
            stacks.setdefault(f"{site['modality']}.{site['stack']}.{site['role']}", []).append(site)
        for stack, sites in stacks.items():
            routes = ", ".join(sorted({site["route"] for site in sites}))
            heads = sum(site["n_heads"] for site in sites)
            lines.append(f"  {stack}: {len(sites)} layers, {heads} heads, reached by {routes}")
        lines += [f"  left out: {key}: {reason}" for key, reason in certificate["left_out"].items()]
        lines.append(
            f"Largest difference to the model: outputs {_difference(certificate['outputs_max_abs_diff'])}, "
            f"attention {_difference(certificate['attention_max_abs_diff'])}, "
            f"attention from stored q and k {_difference(certificate['recomputed_max_abs_diff'])}."
        )
        lines.append(
            f"About {_duration(self.seconds)} to capture (maps apart), {in_units(self.memory_bytes)} of memory above "
            f"the model, {in_units(self.disk_bytes)} of disk."
        )
        if self.engine != "local":
            lines.append(f"Engine: {self.engine}; each loads the model and has that memory to itself.")
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def plan_extraction(*, out_dir: str | Path | None = None, **request: Any) -> ExtractionPlan:
    """What `extract` with the same arguments would do: sites, routes, tokens, time, memory and disk.

    Loads the model and runs its longest input, twice; writes nothing.
    """
    prepared = prepare(checked(**request), silent)
    plan = estimate(prepared, new_plan(prepared))
    return plan if prepared.request.engine == "local" else _shared_out(plan, prepared)


def _shared_out(plan: ExtractionPlan, prepared: Prepared) -> ExtractionPlan:
    """The same on workers of Ray: asks the cluster how many there would be."""
    from analysis.engines.local import batches
    from analysis.engines.ray_cluster import connected, find_crew

    inputs, n_heads = prepared.inputs, sum(site["n_heads"] for site in plan.capture["sites"])
    n_batches = sum(1 for _ in batches(range(len(inputs)), inputs.n_tokens, n_heads))
    with connected(prepared.request.workers):
        crew = find_crew(prepared.request.workers, prepared.loaded, n_batches)
    seconds = plan.seconds / crew.n_workers
    return replace(plan, engine=f"ray, {crew.in_words()}", workers=crew.n_workers, seconds=seconds)


def estimate(prepared: Prepared, plan: CapturePlan) -> ExtractionPlan:
    """Time from running and scoring the longest input, memory from the batches it would make, disk from counting."""
    from analysis.capture import run_batch
    from analysis.engines.local import BATCH_ATTENTION_BYTES, attention_bytes, batches, held_bytes
    from analysis.engines.scoring import score_captures
    from analysis.metrics import metric_names
    from analysis.pipeline.token_facts import token_facts

    inputs, sites = prepared.inputs, plan.sites
    n_heads = sum(site.n_heads for site in sites)
    held = [
        held_bytes(len(batch), inputs.n_tokens(batch[0]), n_heads)
        for batch in batches(range(len(inputs)), inputs.n_tokens, n_heads)
    ]
    lengths = inputs.inputs["n_tokens"].to_numpy()
    longest = int(np.argmax(lengths))
    facts = token_facts(inputs, prepared.loaded.processor)
    is_small = attention_bytes(int(lengths[longest]), n_heads) <= BATCH_ATTENTION_BYTES
    for _ in range(2):  # the first pass also warms up
        began = time.perf_counter()
        captures = run_batch(prepared.loaded, plan, [(longest, inputs.tensors(longest))], want_attention=is_small)
        score_captures(captures, metric_names(), plan.sink_logits, facts)
    seconds = (time.perf_counter() - began) * lengths.sum() / lengths[longest]
    return ExtractionPlan(
        run_id=prepared.run_id,
        capture=plan.as_dict(),
        n_inputs=len(inputs),
        n_tokens=int(lengths.sum()),
        longest_tokens=int(lengths[longest]),
        seconds=float(seconds),
        memory_bytes=max(held),
        disk_bytes=disk_bytes(prepared, sites),
        notes=notes_on(inputs),
    )


def disk_bytes(prepared: Prepared, sites: Sequence[Site]) -> int:
    """q, k, stored attention, attention received and figures of states, by counting; maps apart."""
    from analysis.engines.local import measures_states

    inputs = prepared.inputs
    vectors = sum(
        2 * site.d_head * site.n_heads * int(inputs.lengths(site.query_sequence).sum())
        + (2 * (site.d_head + 1) * site.n_kv_heads + _RECEIVED_BYTES * site.n_heads)
        * int(inputs.lengths(site.key_sequence).sum())
        for site in sites
    )
    per_token = _state_bytes(sites) if measures_states(sites, prepared.request.states) else 0
    stored = sum(_stored_cells(site, inputs, prepared.request.attention) for site in sites)
    return int(vectors + inputs.inputs["n_tokens"].sum() * per_token + 2 * stored)


def _state_bytes(sites: Sequence[Site]) -> int:
    """Bytes a token for the figures of its states."""
    from analysis.sinks.state_figures import MEASURES

    return 4 * len(MEASURES) * (len(sites) + 1)


def _stored_cells(site: Site, inputs: Inputs, mode: str) -> int:
    """Cells of attention kept on disk."""
    from analysis.engines.local import keeps_attention, n_pairs

    sides = (inputs.lengths(name).tolist() for name in (site.query_sequence, site.key_sequence))
    counted = Counter(zip(*sides, strict=True))
    pairs = (n * n_pairs(site, *shape) for shape, n in counted.items() if keeps_attention(site, *shape, mode))
    return site.n_heads * sum(pairs)


def _difference(value: float | None) -> str:
    return "not compared" if value is None else f"{value:.1e}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 0.1):.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
