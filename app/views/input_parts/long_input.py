"""A text too long for its matrix to be held, as it is shown: windows of its heads put through what the link says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from analysis.pipeline.long_sums import WINDOWED_TOKENS, widened
from analysis.sinks import HiddenFigures, hide_columns, joined
from analysis.store.windows import WINDOW_CELLS, Window
from analysis.types import Site
from app import cache
from app.cache import long_inputs
from app.charts.head_maps import OVERVIEW_PIXELS
from app.charts.long_shown import LongFacts, LongShown, Rows, look_through
from app.charts.shown import Units, hidden_tokens, show_rows, units_of
from app.charts.steps import not_yet, step_of
from app.state import Selection
from app.views.input_parts.hiding import HiddenHere
from app.views.input_parts.link_words import HIDE, STEP, WEIGH, groups, look_key, part_of, written_tokens
from app.views.input_parts.one_input import OneInput
from app.views.input_parts.read_one import told
from app.views.input_parts.sources import Source, StoredInput


class Shown(NamedTuple):
    """What is read of a long text, and what is done to every window of it.

    Attributes:
        source: The input.
        heads: Whose mean is shown.
        units: Tokens that are left, and which of them are one.
        sinks: Keys that are hidden of each head; None while sinks are shown.
        norms: Lengths of the value vectors of each head, by which weights are multiplied; None where they are not.
    """

    source: StoredInput
    heads: Sequence[tuple[Site, int]]
    units: Units
    sinks: list[np.ndarray] | None
    norms: list[np.ndarray] | None

    def windows(self) -> Iterator[Rows]:
        """All rows, window after window."""
        return (rows for rows, *_ in self.told_windows())

    def told_windows(self) -> Iterator[tuple[Rows, HiddenHere | None, np.ndarray, int]]:
        """All rows, with what was hidden of them: with the sinks, share of every query, queries emptied."""
        n = len(self.units.unit_of)
        step = max(1, WINDOW_CELLS // n)
        starts = [0, *self.units.first[step::step].tolist()]
        each = [
            long_inputs.windows(self.source.run_id, site.label, head, self.source.input_id, starts)
            for site, head in self.heads
        ]
        for number, of_heads in enumerate(zip(*each, strict=True)):
            yield self._put_through(number * step, of_heads)

    def rows(self, begin: int, end: int) -> Rows:
        """The rows of some units."""
        first, n = self.units.first, len(self.units.unit_of)
        stop = int(first[end]) if end < len(first) else n
        queries, run = np.arange(first[begin], stop), cache.run(self.source.run_id)
        of_heads = [
            Window(
                slice(int(first[begin]), stop), slice(0, n),
                *run.attention_among(site, head, self.source.input_id, queries),
            )
            for site, head in self.heads
        ]  # fmt: skip
        return self._put_through(begin, of_heads)[0]

    def column(self, unit: int) -> tuple[np.ndarray, np.ndarray]:
        """The weights of all queries on one unit, and which may attend to it."""
        parts = [(rows.weights[:, unit].copy(), rows.allowed[:, unit].copy()) for rows in self.windows()]
        return tuple(map(np.concatenate, zip(*parts)))

    def _put_through(self, first: int, windows: Sequence[Window]) -> tuple[Rows, HiddenHere | None, np.ndarray, int]:
        n = len(self.units.unit_of)
        weights, masks = zip(*(widened(window, n) for window in windows))
        allowed, sinks = masks[0] if len(masks) == 1 else np.any(masks, axis=0), None
        if self.sinks is not None:
            sinks = HiddenHere([hide_columns(each, columns) for each, columns in zip(weights, self.sinks, strict=True)])
            weights = [each.weights for each in sinks.heads]
            allowed = allowed & ~sinks.columns
        if self.norms is not None:
            weights = [each * norms for each, norms in zip(weights, self.norms, strict=True)]
        if sinks is not None:
            drawn = sinks.mean(weights)
        else:
            drawn = weights[0] if len(weights) == 1 else np.mean(weights, axis=0)
        shown = show_rows(drawn, allowed, windows[0].rows.start, self.units)
        return Rows(first, shown.weights, shown.allowed), sinks, shown.hidden_mass, shown.n_emptied


class _Looked(NamedTuple):
    facts: LongFacts
    sinks: list[HiddenFigures] | None
    hidden_mass: np.ndarray
    n_emptied: int


def is_long(source: Source, heads: Sequence[tuple[Site, int]]) -> bool:
    """Whether the source is read some queries at a time."""
    return isinstance(source, StoredInput) and all(
        long_inputs.is_long(source.run_id, source.input_id, site) for site, _ in heads
    )


def read_long(selection: Selection, source: StoredInput, heads: list[tuple[Site, int]]) -> OneInput:
    """As `app.views.input_parts.read_one.read_one`, with no matrix held.

    Raises:
        UserError: Nothing would be left to show.
    """
    notes, part = list(source.notes), part_of(selection, heads[0][0])
    if part is not None:
        notes.append(
            f"The whole score is shown: by content or by position alone it is told of texts of up to "
            f"{WINDOWED_TOKENS:,} tokens."
        )
    hidden = hidden_tokens(selection.options.get(HIDE, ""), source.tokens["is_special"].to_numpy(dtype=bool))
    written = written_tokens(selection, source)
    step = None if written is None else step_of(selection.options.get(STEP), written)
    ahead = not_yet(step, len(source.tokens))
    shown, is_weighed = through_look(selection, source, heads, hidden | ahead)
    if selection.options.get(WEIGH) == "norm" and not is_weighed:
        notes.append("This run holds no value vectors of this head, so weights are not multiplied by their norm.")
    names = ",".join(f"{site.label}:{head}" for site, head in heads)
    key = f"{source.key}|{names}|{look_key(selection)}|{selection.hides_sinks}"
    looked = long_inputs.kept(f"looked {key}", selection.run, lambda: _look(shown))
    of_sinks = np.zeros(len(hidden), bool) if shown.sinks is None else np.all(shown.sinks, axis=0)
    long = LongShown(
        shown.rows, lambda unit: long_inputs.kept(f"column {unit} {key}", selection.run, lambda: shown.column(unit)),
        looked.facts, shown.units.unit_of, shown.units.first, shown.units.last, looked.hidden_mass, looked.n_emptied,
        shown.units.of_sinks(of_sinks),
    )  # fmt: skip
    one = OneInput(
        selection, heads, source, None, long, is_weighed,
        None if looked.sinks is None else HiddenHere(looked.sinks), (), reader=shown,
    )  # fmt: skip
    return told(one, notes, hidden, ahead)


def through_look(
    selection: Selection, source: StoredInput, heads: Sequence[tuple[Site, int]], hidden: np.ndarray
) -> tuple[Shown, bool]:
    """How the windows of some heads are shown, and whether weights are multiplied by value norms."""
    sinks = norms = None
    if selection.hides_sinks:
        sums = (long_inputs.head_sums(source.run_id, site.label, head, source.input_id) for site, head in heads)
        sinks = [each.sinks for each in sums]
    if selection.options.get(WEIGH) == "norm" and all(site.has_vectors for site, _ in heads):
        norms = [source.value_norms(site.label, head).astype(np.float32) for site, head in heads]
    return Shown(source, heads, units_of(hidden, groups(selection, source)), sinks, norms), norms is not None


def _look(shown: Shown) -> _Looked:
    """One pass over all rows."""
    hidden: list[list[HiddenFigures]] = []
    masses, n_emptied = [], 0

    def windows() -> Iterator[Rows]:
        nonlocal n_emptied
        for rows, sinks, mass, emptied in shown.told_windows():
            hidden.extend([] if sinks is None else [[joined([each]) for each in sinks.heads]])
            masses.append(mass)
            n_emptied += emptied
            yield rows

    facts = look_through(windows(), len(shown.units.first), OVERVIEW_PIXELS)
    of_heads = [joined(each) for each in zip(*hidden)] if hidden else None
    return _Looked(facts, of_heads, np.concatenate(masses), n_emptied)
