"""Head metrics over pairs of inputs: the maps of a seeded sample of the data, kept while it is captured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from analysis.attention import recompute, shares_of
from analysis.types import DECODER, ENCODER

if TYPE_CHECKING:
    import pandas as pd

    from analysis.capture import CapturePlan
    from analysis.inputs import Inputs
    from analysis.metrics.pairs import SampledMaps
    from analysis.models import LoadedModel
    from analysis.types import Site, SiteCapture

MOST_INPUTS, FEWEST_INPUTS, SHARE = 32, 8, 0.06
"""Of a large data set so many inputs are drawn, of a smaller one this share of them but not fewer than these. Texts are
drawn from the longer half. Those that are captured by another call of the job than the one that scores the heads cost
one more forward pass each: all in all at most a tenth of the run's own."""

MOST_POSITIONS = 64
"""Of texts at most so many first positions are compared."""

MOST_BYTES = 96 * 2**20
"""Room for the maps of all heads on all sampled inputs. Of larger maps a seeded sample of the queries is compared."""


class Sample(NamedTuple):
    """Which inputs are compared, and where.

    Attributes:
        inputs: Ids of the inputs, ascending.
        n_positions: How many positions of each are compared: all of an image, the first ones of a text.
        queries: Positions of the queries that are compared, ascending; all where there is room.
    """

    inputs: Int[np.ndarray, " input"]
    n_positions: int
    queries: Int[np.ndarray, " query"]


def draw_sample(inputs: Inputs, n_heads: int, seed: int) -> Sample:
    """Draw inputs that can be compared position by position: images of the commonest size, texts that are long enough.

    Args:
        inputs: The encoded data.
        n_heads: Heads of all sites.
        seed: Of the drawing.

    Returns:
        No inputs where no two can be compared.
    """
    lengths = inputs.lengths()
    if inputs.is_in_parts and not inputs.target:  # places are not alike: pictures begin elsewhere in every text
        return Sample(np.empty(0, dtype=np.int64), 0, np.empty(0, dtype=np.int64))
    if inputs.target:
        lengths = np.minimum(inputs.lengths(ENCODER), inputs.lengths(DECODER))
    if "width" not in inputs.inputs:
        n_positions = int(min(MOST_POSITIONS, np.median(lengths)))
        able = np.flatnonzero(lengths >= n_positions)
    else:
        sizes = inputs.inputs[["width", "height", "n_tokens"]].to_numpy()
        kinds, kind, counts = np.unique(sizes, axis=0, return_inverse=True, return_counts=True)
        able = np.flatnonzero(kind.ravel() == np.argmax(counts))
        n_positions = int(kinds[np.argmax(counts), 2])
    if len(able) < 2 or n_positions < 2:
        return Sample(np.empty(0, dtype=np.int64), n_positions, np.empty(0, dtype=np.int64))
    rng = np.random.default_rng(seed)
    n_inputs = min(len(able), int(np.clip(round(SHARE * len(lengths)), FEWEST_INPUTS, MOST_INPUTS)))
    chosen = np.sort(rng.choice(able, n_inputs, replace=False))
    n_queries = int(np.clip(MOST_BYTES // (4 * n_inputs * n_heads * n_positions), 1, n_positions))
    return Sample(chosen, n_positions, np.sort(rng.choice(n_positions, n_queries, replace=False)))


class SampledMap(NamedTuple):
    """What a site does on one sampled input, where it is compared.

    Attributes:
        site: Its key.
        input_id: The input.
        rows: Attention of the sampled queries on the compared positions.
        allowed: Which of these a query may attend to.
    """

    site: str
    input_id: int
    rows: Float[np.ndarray, "head query kept"]
    allowed: Bool[np.ndarray, "query kept"]


def sampled_maps(
    captures: Iterable[Sequence[SiteCapture]],
    sample: Sample,
    sink_logits: Mapping[str, Float[np.ndarray, " head"]],
) -> list[SampledMap]:
    """The maps of the sampled inputs among these captures; none of cross-attention.

    Args:
        captures: For each input, its sites.
        sample: Which inputs are compared.
        sink_logits: Learned sinks by site key.
    """
    wanted = set(sample.inputs.tolist())
    of_sample = (capture for of_input in captures for capture in of_input if capture.input_id in wanted)
    return [
        SampledMap(
            capture.site.key, capture.input_id, _rows(capture, sample, sink_logits),
            capture.allowed[sample.queries, : sample.n_positions],
        )
        for capture in of_sample
        if not capture.site.is_cross
    ]  # fmt: skip


class MapsOfSample:
    """The maps of the sampled inputs, taken from what is captured of them.

    Args:
        plan: The sites.
        inputs: The data of the run.
        seed: Of the sample.
    """

    def __init__(self, plan: CapturePlan, inputs: Inputs, seed: int) -> None:
        self.sample = draw_sample(inputs, sum(site.n_heads for site in plan.sites), seed)
        self._sink_logits = plan.sink_logits
        self._maps: dict[tuple[str, int], Float[np.ndarray, "head query key"]] = {}
        self._masks: dict[str, Bool[np.ndarray, "query key"]] = {}
        self._differing: set[str] = set()

    def take(self, captures: Iterable[Sequence[SiteCapture]]) -> None:
        """Keep the maps of the sampled inputs among these; for each input, its sites."""
        self.put(sampled_maps(captures, self.sample, self._sink_logits))

    def put(self, found: Iterable[SampledMap]) -> None:
        """Keep maps that were taken elsewhere."""
        for one in found:
            if not np.array_equal(self._masks.setdefault(one.site, one.allowed), one.allowed):
                self._differing.add(one.site)
            self._maps[one.site, one.input_id] = one.rows

    def missing(self) -> list[int]:
        """Sampled inputs of which nothing was taken."""
        return sorted(set(self.sample.inputs.tolist()) - {input_id for _, input_id in self._maps})

    def of_site(self, site: Site) -> SampledMaps | None:
        """The maps of a site, which are let go; None for fewer than two inputs, or where their masks differ."""
        from analysis.metrics.pairs import SampledMaps

        if site.is_cross:  # both metrics compare places, and those of two sequences are not to be compared
            return None
        maps = [self._maps.pop((site.key, input_id)) for input_id in self.sample.inputs.tolist()]
        if len(maps) < 2 or site.key in self._differing:
            return None
        return SampledMaps(np.stack(maps), self._masks[site.key])


def score_samples(
    loaded: LoadedModel, plan: CapturePlan, inputs: Inputs, seed: int, maps: MapsOfSample | None = None
) -> pd.DataFrame:
    """The metrics that are measured over pairs of inputs: ``map_similarity`` and ``position_share``.

    Args:
        loaded: The model; it runs once on each sampled input that `maps` lacks, in fp32 where it is loaded so.
        plan: Its sites.
        inputs: The data of the run.
        seed: Of the sample and of the bootstrap.
        maps: What was taken of the sample while the run was captured, with the same seed; it is used up.

    Returns:
        ``metric, site, head, value, ci_low, ci_high, null, n``, with the site's key; n is the number of inputs. Sites
        whose mask differs between inputs have no rows; nor has anything where fewer than two inputs can be compared.
    """
    import pandas as pd

    from analysis.metrics import METRICS, ON_SAMPLE, metric_names
    from analysis.metrics.over_inputs import COLUMNS

    maps = maps or MapsOfSample(plan, inputs, seed)
    for batch in _captures(loaded, plan, inputs, maps.missing(), maps.sample.n_positions):
        maps.take(batch)
    tables = []
    for site in plan.sites:
        sampled = maps.of_site(site)
        for name in metric_names(ON_SAMPLE) if sampled else ():
            found = METRICS[name].compute(sampled)
            low, high = found.interval(seed=seed)
            columns = {"value": found.value(), "ci_low": low, "ci_high": high, "null": found.null}
            table = pd.DataFrame({"head": np.arange(site.n_heads), **columns})
            tables.append(table.assign(metric=name, site=site.key, n=len(maps.sample.inputs)))
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.concat(tables, ignore_index=True)[COLUMNS]
    return table[table["value"].notna()].reset_index(drop=True)


def _captures(
    loaded: LoadedModel, plan: CapturePlan, inputs: Inputs, chosen: Sequence[int], n_positions: int
) -> Iterator[list[list[SiteCapture]]]:
    """What every site does on some inputs, batch by batch as in the extraction."""
    from analysis.capture import run_batch
    from analysis.engines.local import BATCH_ATTENTION_BYTES, attention_bytes, batches

    # Where no token sees a later one, what comes after the compared positions does not change them.
    looks_back = (
        inputs.modality == "text"
        and not inputs.target
        and all(site.band is not None and site.band.is_causal for site in plan.sites)
    )
    longest = n_positions if looks_back else None
    n_heads = sum(site.n_heads for site in plan.sites)

    def n_tokens(input_id: int) -> int:
        return min(inputs.n_tokens(input_id), longest or inputs.n_tokens(input_id))

    for batch in batches(chosen, n_tokens, n_heads):
        encoded = []
        for input_id in batch:
            tensors = inputs.tensors(input_id)
            encoded.append((input_id, {k: v[:longest] for k, v in tensors.items()} if looks_back else tensors))
        small = len(batch) * attention_bytes(n_tokens(batch[0]), n_heads) <= BATCH_ATTENTION_BYTES
        yield run_batch(loaded, plan, encoded, want_attention=small, stores_attention=small)


def _rows(
    capture: SiteCapture, sample: Sample, sink_logits: Mapping[str, Float[np.ndarray, " head"]]
) -> Float[np.ndarray, "head query key"]:
    """The rows of the sampled queries on the compared positions, scaled to their old sum where keys were left out."""
    n, queries = sample.n_positions, sample.queries
    if capture.attention is not None:
        rows = shares_of(capture.site, capture.attention[:, queries])
    else:
        site = capture.site
        rows = recompute(
            capture.queries[:, queries], capture.keys, capture.allowed[queries], site.scale, site.softcap,
            sink_logits.get(site.key),
        )  # fmt: skip
    return _within(rows, capture.allowed[queries], n)


def _within(
    rows: Float[np.ndarray, "head query key"], allowed: Bool[np.ndarray, "query key"], n: int
) -> Float[np.ndarray, "head query kept"]:
    """The first n keys of some rows; rows that could look farther are scaled to the sum they had over all keys."""
    kept = rows[:, :, :n].astype(np.float32, copy=True)
    beyond = allowed[:, n:].any(axis=1)
    if beyond.any():
        before, left = rows[:, beyond].sum(axis=-1), kept[:, beyond].sum(axis=-1)
        kept[:, beyond] *= (before / np.maximum(left, np.float32(1e-30)))[..., None]
    return kept
