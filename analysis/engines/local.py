"""Extraction in this process: batch by batch from the model to the store, memory bounded by the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from analysis.engines.work import Batch, BatchWork, Wanted
from analysis.progress import Progress, Report
from analysis.sinks.state_figures import MEASURES
from analysis.types import Site, SiteCapture

if TYPE_CHECKING:
    from analysis.capture import CapturePlan
    from analysis.inputs import Inputs
    from analysis.metrics.tokens import TokenFacts
    from analysis.models import LoadedModel
    from analysis.store import RunWriter

BATCH_TOKENS = 2048
"""Padded tokens in a batch: large enough to keep two cores busy, small enough to lose little when killed. A batch is
stored before the next one is captured: storing it in a second thread meanwhile gained nothing on two cores (1.16 and
without it 1.09 times the plain forward pass at the size of BERT-base), and a kill lost both."""

STATES_SHARE = 0.1
"""Residual states are measured by default where their figures take at most this share of the room of q and k."""

BATCH_ATTENTION_BYTES = 128 * 2**20
"""Attention of all sites held by a batch. An input over this alone is scored one head at a time, of a text some queries
at a time."""

MASKS_AT_ONCE = 6
"""Of a long input so many masks are held at once: torch's own, as numpy has it, the band's; measured."""


def capture_into(
    writer: RunWriter,
    loaded: LoadedModel,
    plan: CapturePlan,
    inputs: Inputs,
    *,
    attention: str,
    metrics: Sequence[str],
    facts: TokenFacts | None = None,
    watch: Callable[[list[list[SiteCapture]]], None] | None = None,
    states: bool = False,
    report: Report,
) -> None:
    """Capture every input the run does not hold yet, one transaction a batch.

    Args:
        writer: The partial run; inputs it already holds are not captured again.
        loaded: The model.
        plan: Its sites.
        inputs: The encoded data.
        attention: ``auto``, ``store`` or ``recompute``: see `stores_attention`.
        metrics: Head metrics to compute, in fp32, before anything is rounded.
        facts: What metrics are told of the tokens.
        watch: Given the captures of every batch once they are stored, for each input, its sites.
        states: Measure the residual states too.
        report: Told after every batch.
    """
    held = writer.done_inputs()
    waiting = [input_id for input_id in range(len(inputs)) if input_id not in held]
    done = len(held)
    report(Progress("capture", done, len(inputs), "inputs", run_id=writer.run_id))
    n_heads = sum(site.n_heads for site in plan.sites)
    work = BatchWork(loaded, plan, Wanted(attention, tuple(metrics), facts, states))

    def run(input_ids: list[int]) -> None:
        """From the model to the store; nothing of the batch outlives the call."""
        captured = work.capture(make_batch(inputs, plan.sites, input_ids, attention))
        scored = work.score(captured)
        writer.put_batch(
            captured.captures, scored.scores, stores_attention(attention), scored.profiles, scored.received,
            scored.figures,
        )  # fmt: skip
        work.release(captured)
        if watch is not None:
            watch(captured.captures)

    with work:
        for input_ids in batches(waiting, inputs.n_tokens, n_heads):
            run(input_ids)
            done += len(input_ids)
            report(Progress("capture", done, len(inputs), "inputs", run_id=writer.run_id))


def make_batch(inputs: Inputs, sites: Sequence[Site], input_ids: Sequence[int], attention: str) -> Batch:
    """Encode inputs, and say how much of their attention is held and kept.

    Args:
        inputs: The encoded data.
        sites: Of the plan.
        input_ids: One batch of `batches`.
        attention: ``auto``, ``store`` or ``recompute``.
    """
    size = attention_bytes(inputs.n_tokens(input_ids[0]), sum(site.n_heads for site in sites))
    is_small = len(input_ids) * size <= BATCH_ATTENTION_BYTES
    # Where an input is one sequence the first of a batch is the longest, and speaks for the others.
    members = list(input_ids) if inputs.is_in_parts else list(input_ids[:1])

    def keeps_all(site: Site) -> bool:
        sides = (inputs.lengths(name)[members].tolist() for name in (site.query_sequence, site.key_sequence))
        return all(keeps_attention(site, *shape, attention) for shape in set(zip(*sides, strict=True)))

    tensors = tuple(inputs.tensors(input_id) for input_id in input_ids)
    return Batch(tuple(input_ids), tensors, is_small, is_small and all(map(keeps_all, sites)))


def batches(waiting: Sequence[int], n_tokens: Callable[[int], int], n_heads: int) -> Iterator[list[int]]:
    """Inputs of similar length together, the longest first, so that padding and memory stay small.

    Args:
        waiting: Ids of the inputs to run.
        n_tokens: Length of an input.
        n_heads: Heads of all sites, whose attention is held for a batch.

    Yields:
        Ids whose padded length stays within `BATCH_TOKENS` and whose attention within `BATCH_ATTENTION_BYTES`; a
        longer input is a batch of its own.
    """
    batch: list[int] = []
    for input_id in sorted(waiting, key=lambda i: (-n_tokens(i), i)):
        longest = n_tokens(batch[0]) if batch else 0
        padded, size = longest * (len(batch) + 1), attention_bytes(longest, n_heads) * (len(batch) + 1)
        if batch and (padded > BATCH_TOKENS or size > BATCH_ATTENTION_BYTES):
            yield batch
            batch = []
        batch.append(input_id)
    if batch:
        yield batch


def attention_bytes(n_tokens: int, n_heads: int) -> int:
    """Size of one input's attention over `n_heads` heads in fp32, every token of it being query and key; less where it
    is two sequences."""
    return 4 * n_heads * n_tokens**2


def held_bytes(n_inputs: int, n_tokens: int, n_heads: int) -> int:
    """About what a batch holds above the model: the attention of all heads, or of an input that is scored window by
    window its masks, a byte a pair of tokens, some of them at a time."""
    size = n_inputs * attention_bytes(n_tokens, n_heads)
    return size if size <= BATCH_ATTENTION_BYTES else max(BATCH_ATTENTION_BYTES, MASKS_AT_ONCE * n_tokens**2)


def stores_attention(mode: str) -> Callable[[SiteCapture], bool]:
    """Which captures keep their attention on disk.

    Where the stored q and k would not give it back it is kept in every mode. Otherwise ``store`` keeps it all,
    ``recompute`` none, and ``auto`` keeps it where it takes no more room than the q and k of the same tokens.
    """

    def decide(capture: SiteCapture) -> bool:
        if capture.must_store:
            return True
        return capture.attention is not None and keeps_attention(capture.site, *capture.allowed.shape, mode)

    return decide


def keeps_attention(site: Site, n_queries: int, n_keys: int, mode: str) -> bool:
    """Whether the attention of an input with so many queries and keys is kept; see `stores_attention`."""
    if not site.recomputable or mode == "store":
        return True
    if mode == "recompute":
        return False
    vectors = site.d_head * (site.n_heads * n_queries + site.n_kv_heads * n_keys)
    return site.n_heads * n_pairs(site, n_queries, n_keys) <= vectors


def measures_states(sites: Sequence[Site], mode: str) -> bool:
    """Whether residual states are measured: ``on``, ``off``, or ``auto``, where their figures take at most
    `STATES_SHARE` of the room of q and k. The time they take was measured at 0.07 of the plain forward pass at the size
    of BERT-base, 0.13 on a MiniLM and 0.10 on the bundled language model; a fifth is the most that it may be."""
    if mode != "auto":
        return mode == "on"
    vectors = sum(2 * site.d_head * (site.n_heads + site.n_kv_heads) for site in sites)
    return bool(sites) and 4 * len(MEASURES) * (len(sites) + 1) <= STATES_SHARE * vectors


def n_pairs(site: Site, n_queries: int, n_keys: int) -> int:
    """Pairs of query and key that may attend at a site; all of them where no band describes the mask."""
    return n_queries * n_keys if site.band is None else site.band.n_pairs(n_queries, n_keys)
