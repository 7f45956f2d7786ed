"""The input as it is shown: the mean of the chosen heads, weighed, with tokens hidden and words merged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import pandas as pd

from analysis.errors import UserError
from analysis.types import DECODER, QUERY, Site, head_name
from app import cache, widgets
from app.cache import long_inputs
from app.cache.new_input import SPOT, asked_for
from app.cache.two_texts import BETWEEN
from app.charts.long_shown import LongShown, Rows, long_scale
from app.charts.scales import SCALES, ColourScale, make_scale
from app.charts.shown import (
    Shown,
    Strongest,
    strongest_both_ways,
)
from app.charts.steps import Step, not_yet, step_of
from app.charts.text_attention import token_gaps, visible_token
from app.components.sentence import Piece
from app.state import Selection
from app.views.input_parts.hiding import HiddenHere
from app.views.input_parts.link_words import PARTS, SCALE, STEP, groups, look_key, part_of, written_tokens
from app.views.input_parts.part_of_input import PartOfInput
from app.views.input_parts.sources import Source


class Windowed(Protocol):
    """What gives what is shown some rows at a time."""

    def windows(self) -> Iterator[Rows]:
        """All rows, window after window."""
        ...


@dataclass(frozen=True)
class OneInput:
    """What the view draws.

    Attributes:
        heads: The shown head first, then those averaged with it.
        attention: Mean over `heads` of attention, [query, key], as the model has it; None where no matrix is held.
        shown: The same as it is shown: without sinks, weighed, without what is hidden, words merged.
        is_weighed: Weights are multiplied by the length of the key's value vector.
        sinks: What is hidden with the sinks of each head; None while sinks are shown.
        notes: Sentences for the reader.
        signed: Of a state-space layer, whose implicit attention has both signs: what heat map and tables draw, while
            `shown` has its absolute weights with rows of sum 1.
        reader: Of an input that is read some queries at a time, what gives its windows.
    """

    selection: Selection
    heads: list[tuple[Site, int]]
    source: Source
    attention: np.ndarray | None
    shown: Shown | LongShown
    is_weighed: bool
    sinks: HiddenHere | None
    notes: tuple[str, ...]
    signed: Shown | None = None
    reader: Windowed | None = None

    @property
    def is_long(self) -> bool:
        """No matrix of the input is held: it is read some queries at a time."""
        return self.reader is not None

    @property
    def drawn(self) -> Shown | LongShown:
        """What heat map and tables draw."""
        return self.shown if self.signed is None else self.signed

    @property
    def run_id(self) -> str:
        return self.selection.run

    @property
    def tokens(self) -> pd.DataFrame:
        return self.source.tokens

    @property
    def first(self) -> int:
        """Position in the whole input of the first token that is shown; see `app.views.input_parts.part_of_input`."""
        return getattr(self.source, "first", 0)

    @property
    def is_part(self) -> bool:
        """One sequence of the input stands for itself: a picture, or a text with pictures in it."""
        return isinstance(self.source, PartOfInput)

    @property
    def is_image(self) -> bool:
        """True when the tokens are patches."""
        return self.source.text is None

    @property
    def is_sound(self) -> bool:
        """True when some tokens are frames of a sound."""
        return not self.is_image and self._has_times

    @property
    def _has_times(self) -> bool:
        return "seconds" in self.tokens and bool(self.tokens["seconds"].notna().any())

    @property
    def what(self) -> str:
        """``image``, ``spectrogram``, ``sound`` or ``text``."""
        if self.is_image:
            return "spectrogram" if self._has_times else "image"
        return "sound" if self.is_sound else "text"

    @property
    def names(self) -> str:
        """``L3H5``, or the mean of several."""
        names = [head_name(site.depth, head) for site, head in self.heads]
        return names[0] if len(names) == 1 else f"the mean of {', '.join(names)}"

    @property
    def title(self) -> str:
        """What the weights are."""
        if self.signed is not None:
            return "signed weight"
        if self.part is not None:
            return f"weight by {PARTS[self.part]}"
        return "weight × value norm" if self.is_weighed else "weight"

    @property
    def part(self) -> str | None:
        """``content`` or ``position`` where that alone is shown of a score that adds both."""
        return part_of(self.selection, self.site)

    @property
    def site(self) -> Site:
        """The site of the shown head."""
        return self.heads[0][0]

    @property
    def is_cross(self) -> bool:
        """True when keys are tokens of another sequence than queries."""
        return self.site.is_cross

    @property
    def sequences(self) -> tuple[str, str]:
        """Whose tokens queries and keys are, as in ``the decoder’s tokens``; empty where the input is one sequence."""
        names = (self.site.query_sequence, self.site.key_sequence)
        return tuple(f"the {name}’s tokens" if name else "" for name in names)

    @cached_property
    def spans(self) -> tuple[range, range]:
        """Units that are queries, and units that are keys."""
        of = self.source.query_positions(self.site), self.source.key_positions(self.site)
        return tuple(self._units_of(positions) for positions in of)

    def _units_of(self, positions: np.ndarray) -> range:
        units = self.shown.unit_of[positions]
        units = units[units >= 0]
        if not len(units):
            raise UserError("Every token that this head reads is hidden: take some out of the list under Show.")
        return range(int(units.min()), int(units.max()) + 1)

    def cut(self, matrix: np.ndarray) -> np.ndarray:
        """The part of a matrix over units that this head has: its queries, its keys."""
        queries, keys = self.spans
        return matrix[queries.start : queries.stop, keys.start : keys.stop]

    @cached_property
    def block(self) -> np.ndarray:
        """`attention` of the head's own queries on its own keys, as `Run.attention` gives it."""
        return self.attention[np.ix_(self.source.query_positions(self.site), self.source.key_positions(self.site))]

    @cached_property
    def means(self) -> tuple[float, float, float]:
        """Mean weight of a query on the first token, on its own and on the one before, as the model has it."""
        if self.is_long:
            id_, sums = self.source.input_id, long_inputs.head_sums
            found = [sums(self.run_id, site.label, head, id_) for site, head in self.heads]
            return tuple(np.mean([(each.on_first, each.on_own, each.on_previous) for each in found], axis=0).tolist())
        attention, n = self.block, len(self.block)
        before = np.trace(attention, offset=-1) / max(n - 1, 1)
        return attention[:, 0].mean(), np.trace(attention) / n, before

    @property
    def token(self) -> int | None:
        """Position of the picked token, whether it is shown or hidden."""
        if asked_for(self.selection) is None:
            token, first = self.selection.token, self.first
            return None if token is None or not 0 <= token - first < len(self.tokens) else token - first
        said = self.selection.options.get(SPOT, "" if self.selection.token is None else str(self.selection.token))
        is_place = said.isascii() and said.isdigit() and len(said) < 9 and int(said) < len(self.tokens)
        return int(said) if is_place else None

    @cached_property
    def written(self) -> np.ndarray | None:
        """Tokens that the model wrote; None where it wrote none of this input."""
        return written_tokens(self.selection, self.source)

    @property
    def step(self) -> Step | None:
        """The step of the writing that is shown; None for the whole text."""
        return None if self.written is None else step_of(self.selection.options.get(STEP), self.written)

    @property
    def picked(self) -> int | None:
        """The unit of the picked token."""
        return self.shown.unit(self.token)

    def pick(self, token: int | None, **more: str) -> None:
        """Pick a token of this input: the link changes."""
        if asked_for(self.selection) is None:
            widgets.select(token=None if token is None else token + self.first, **more)
        else:
            widgets.select(**{SPOT: token}, **more)

    @cached_property
    def labels(self) -> list[str]:
        """Visible text of every unit."""
        return [visible_token(self.text_of(a, b)) for a, b in zip(self.shown.first, self.shown.last)]

    @cached_property
    def places(self) -> list[str]:
        """Positions of every unit, as in ``5`` or ``5–7``."""
        ends = zip(self.shown.first.tolist(), self.shown.last.tolist())
        return [str(a) if a == b else f"{a}–{b}" for a, b in ends]

    def text_of(self, first: int, last: int) -> str:
        """The text of a token, or of several in a row as the input has them."""
        if first == last:
            return str(self.tokens["text"].iloc[first])
        start, end = self.tokens["char_start"].iloc[first], self.tokens["char_end"].iloc[last]
        return str(self.source.text)[int(start) : int(end)]

    def special(self) -> list[bool]:
        """Whether each unit was added by the tokenizer."""
        return self.tokens["is_special"].to_numpy(dtype=bool)[self.shown.first].tolist()

    @cached_property
    def marked_tokens(self) -> np.ndarray | None:
        """Tokens that stand out; None where nothing is looked for, or the search cannot be understood."""
        try:
            return self.source.marked(self.selection)
        except UserError:
            return None

    def marked(self) -> list[bool] | None:
        """Units any of whose tokens stand out."""
        if self.marked_tokens is None:
            return None
        units = self.shown.unit_of[self.marked_tokens]
        return np.isin(np.arange(len(self.shown)), units).tolist()

    def weights(self) -> np.ndarray:
        """Of every unit for the picked one, NaN where they may not attend; the mean over queries with none picked, NaN
        at hidden sinks."""
        return self._weights_in(self.shown)

    def drawn_weights(self) -> np.ndarray:
        """`weights` of what heat map and tables draw."""
        return self._weights_in(self.drawn)

    def _weights_in(self, shown: Shown | LongShown) -> np.ndarray:
        unit = self.picked
        if unit is None:
            queries, keys = self.spans
            is_key = np.isin(np.arange(len(shown)), keys)
            return np.where(shown.sinks | ~is_key, np.nan, shown.mean(queries))
        return shown.row(unit) if self.selection.kind == QUERY else shown.column(unit)

    def by_token(self, weights: np.ndarray) -> np.ndarray:
        """Weights of units as weights of tokens, NaN where hidden; along every axis."""
        shown = self.shown.unit_of >= 0
        full = np.full((len(shown),) * weights.ndim, np.nan)
        full[np.ix_(*[shown] * weights.ndim)] = weights[np.ix_(*[self.shown.unit_of[shown]] * weights.ndim)]
        return full

    @property
    def view_key(self) -> str:
        """Names all that `shown` depends on, for caches."""
        heads = ",".join(f"{site.label}:{head}" for site, head in self.heads)
        return f"{self.source.key}|{heads}|{look_key(self.selection)}"

    @cached_property
    def scale(self) -> ColourScale:
        """Of the whole matrix; kept, since millions of weights take a while to rank."""
        name = self.selection.option(SCALE, SCALES)

        def make() -> bytes:
            made = (
                long_scale(self.reader.windows, self.shown.facts, name)
                if self.is_long
                else make_scale(self.drawn.seen(), name)
            )
            return np.stack([made.weights, made.shares]).astype(np.float64).tobytes()

        knots = np.frombuffer(cache.message(f"scale {name} {self.view_key}", self.run_id, make)).reshape(2, -1)
        return ColourScale(name, knots[0], knots[1], is_signed=bool(knots[0, 0] < 0))

    @cached_property
    def strongest(self) -> Strongest:
        """Of every row and column; kept like `scale`."""
        if self.is_long:
            return self.shown.facts.strongest

        def make() -> bytes:
            return b"".join(part.tobytes() for part in strongest_both_ways(self.shown))

        kept = np.frombuffer(cache.message(f"strongest {self.view_key}", self.run_id, make), dtype=np.int32)
        keys, key_weights, queries, query_weights = kept.reshape(4, len(self.shown), -1)
        return Strongest(keys, key_weights.view(np.float32), queries, query_weights.view(np.float32))

    def pieces(self) -> list[Piece]:
        """The whole text, hidden tokens too."""
        group = groups(self.selection, self.source)
        firsts = np.flatnonzero(np.diff(group, prepend=-1))
        lasts = np.append(firsts[1:], len(group)) - 1
        gaps, special = token_gaps(self.source.text, self.tokens), self.tokens["is_special"].astype(bool).tolist()
        if self.site.query_sequence and (self.tokens["sequence"] == DECODER).any():
            begin = int((self.tokens["sequence"] == DECODER).to_numpy().argmax())
            # The decoder's text begins a line, with its first token, which stands for none of the text.
            first = next((at for at in range(begin, len(gaps)) if gaps[at]), begin)
            gaps[first] = gaps[first].removeprefix(BETWEEN)
            gaps[begin] = "\n" + gaps[begin]
        marked = self.marked_tokens
        ahead = not_yet(self.step, len(self.tokens))
        return [
            Piece(
                self.text_of(a, b), gaps[a], a, int(self.shown.unit_of[a : b + 1].max()), special[a],
                None if marked is None else bool(marked[a : b + 1].any()),
                "" if not ahead[a] else "next" if self.step.written in range(a, b + 1) else "later",
            )
            for a, b in zip(firsts.tolist(), lasts.tolist())
        ]  # fmt: skip


def seconds_words(one: OneInput) -> str:
    """How long it takes to read every head of a long text."""
    return "some seconds a head" if one.is_long else "some seconds"
