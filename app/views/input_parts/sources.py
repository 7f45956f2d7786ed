"""Where the tokens and the attention of the shown input come from: the run, or a new text through its model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import pandas as pd

from analysis.errors import InputError
from analysis.metrics import METRICS, ON_DATA, AttentionMap
from analysis.metrics.over_inputs import score_input
from analysis.sinks import Hidden, hide_sinks
from analysis.types import Site
from app import cache, marks
from app.cache import hidden, pictures, two_texts, whole
from app.cache.new_input import NEW, asked_for, new_input
from app.search import find_tokens
from app.state import Selection


class Source(Protocol):
    """One text or image. Attention is [query, key] of one head, masks are [query, key] of one site, both over all
    tokens of the input: 0 and False where a site has no such query or key."""

    key: str
    """Names the input in caches."""
    tokens: pd.DataFrame
    text: str | None
    notes: tuple[str, ...]

    def image(self) -> bytes: ...

    def sound(self) -> bytes:
        """The sound as WAV; empty where there is none to play."""
        ...

    def query_positions(self, site: Site) -> np.ndarray:
        """Positions of the tokens that a site's queries are of."""
        ...

    def key_positions(self, site: Site) -> np.ndarray:
        """Positions of the tokens that a site's keys are of."""
        ...

    def attention(self, site: str, head: int) -> np.ndarray: ...

    def signed(self, site: str, head: int) -> np.ndarray:
        """The implicit attention of a state-space layer as it is, where `attention` is that as measures take it."""
        ...

    def allowed(self, site: str) -> np.ndarray: ...

    def hidden(self, site: str, head: int) -> Hidden:
        """The attention of one head with its sinks hidden."""
        ...

    def score_part(self, site: Site, head: int, part: str) -> np.ndarray:
        """What one head would attend to by ``content`` or by ``position`` alone, [query, key].

        Raises:
            UserError: The two cannot be told apart here.
        """
        ...

    def value_norms(self, site: str, head: int) -> np.ndarray: ...

    def each_head(self, stack: list[Site]) -> Iterator[tuple[Site, int, np.ndarray]]: ...

    def scores(self, metric: str, stack: list[Site]) -> dict[tuple[str, int], float]:
        """Of every head that has one on this input, by site label and head."""
        ...

    def marked(self, selection: Selection) -> np.ndarray | None:
        """Tokens that stand out; None where nothing is looked for."""
        ...


@dataclass(frozen=True)
class StoredInput:
    """An input of the run."""

    run_id: str
    input_id: int
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"input {self.input_id}"

    @cached_property
    def _rows(self) -> np.ndarray:
        tokens = cache.tokens(self.run_id)
        rows = np.flatnonzero(tokens["input_id"].to_numpy() == self.input_id)
        return rows[np.argsort(tokens["position"].to_numpy()[rows], kind="stable")]

    @cached_property
    def tokens(self) -> pd.DataFrame:
        return cache.tokens(self.run_id).iloc[self._rows].reset_index(drop=True)

    @property
    def text(self) -> str | None:
        text = cache.input_texts(self.run_id).get(self.input_id)
        return text if isinstance(text, str) else None

    def image(self) -> bytes:
        return cache.image(self.run_id, self.input_id)

    def sound(self) -> bytes:
        return cache.run(self.run_id).sound(self.input_id)

    def query_positions(self, site: Site) -> np.ndarray:
        return cache.run(self.run_id).query_positions(site, self.input_id)

    def key_positions(self, site: Site) -> np.ndarray:
        return cache.run(self.run_id).key_positions(site, self.input_id)

    def attention(self, site: str, head: int) -> np.ndarray:
        return cache.attention(self.run_id, site, head, self.input_id)

    def signed(self, site: str, head: int) -> np.ndarray:
        return cache.signed_attention(self.run_id, site, head, self.input_id)

    def allowed(self, site: str) -> np.ndarray:
        return pictures.allowed(self.run_id, site, self.input_id)

    def hidden(self, site: str, head: int) -> Hidden:
        return hidden.attention(self.run_id, site, head, self.input_id)

    def score_part(self, site: Site, head: int, part: str) -> np.ndarray:
        return pictures.score_part(self.run_id, site.label, head, self.input_id, part)

    def value_norms(self, site: str, head: int) -> np.ndarray:
        return pictures.value_norms(self.run_id, site, head)[self._rows]

    def each_head(self, stack: list[Site]) -> Iterator[tuple[Site, int, np.ndarray]]:
        return pictures.each_head(self.run_id, stack, self.input_id)

    def scores(self, metric: str, stack: list[Site]) -> dict[tuple[str, int], float]:
        table = pictures.scores_by_input(self.run_id, metric)
        table = table[table["input_id"] == self.input_id]
        return {(site, int(head)): float(v) for site, head, v in zip(table["site"], table["head"], table["value"])}

    def marked(self, selection: Selection) -> np.ndarray | None:
        found = marks.marks(selection)
        return None if found is None else found.tokens[self._rows]


class TypedInput:
    """A text or image that the run does not hold, through the run's model."""

    def __init__(self, run_id: str, new: str) -> None:
        self._made = new_input(run_id, new)
        self.key = f"new {new}"
        self.tokens = self._made.tokens.sort_values("position").reset_index(drop=True)
        self.text = self._made.text
        if self._made.target is not None:
            self.tokens, self.text = two_texts.of_one(self.tokens, self.text, self._made.target)
        self.notes = self._made.notes

    def image(self) -> bytes:
        return self._made.image

    def sound(self) -> bytes:
        return b""

    def query_positions(self, site: Site) -> np.ndarray:
        return self._made.query_positions(site)

    def key_positions(self, site: Site) -> np.ndarray:
        return self._made.key_positions(site)

    def attention(self, site: str, head: int) -> np.ndarray:
        return self._whole(site, self._made.shares(site, head))

    def signed(self, site: str, head: int) -> np.ndarray:
        return self._whole(site, self._made.attention(site, head))

    def allowed(self, site: str) -> np.ndarray:
        return self._whole(site, self._made.allowed(site))

    def _whole(self, site: str, block: np.ndarray) -> np.ndarray:
        return whole.block_in(len(self.tokens), self._made.query_positions(site), self._made.key_positions(site), block)

    def hidden(self, site: str, head: int) -> Hidden:
        return hide_sinks(self.attention(site, head), self.allowed(site))

    def score_part(self, site: Site, head: int, part: str) -> np.ndarray:
        raise InputError("Content and position are told apart for the inputs of the run, not for a new one.")

    def value_norms(self, site: str, head: int) -> np.ndarray:
        norms = np.zeros(len(self.tokens), dtype=np.float32)
        norms[self._made.key_positions(site)] = self._made.value_norms(site, head)
        return norms

    def each_head(self, stack: list[Site]) -> Iterator[tuple[Site, int, np.ndarray]]:
        for site in stack:
            yield from ((site, head, self.attention(site.label, head)) for head in range(site.n_heads))

    def scores(self, metric: str, stack: list[Site]) -> dict[tuple[str, int], float]:
        found = {}
        if metric not in METRICS or METRICS[metric].measured != ON_DATA:
            return found  # rests on probes, or on several inputs
        for site in stack:
            if site.is_cross and not METRICS[metric].on_cross:
                continue
            attention = np.stack([self._made.shares(site.label, head) for head in range(site.n_heads)])
            attended = AttentionMap.of_one(attention, self._made.allowed(site.label), is_cross=site.is_cross)
            values = score_input(attended, [metric])[metric][0]
            found |= {(site.label, head): float(value) for head, value in enumerate(values) if np.isfinite(value)}
        return found

    def marked(self, selection: Selection) -> np.ndarray | None:
        words = selection.options.get(marks.FIND, "").strip()
        if not words:
            return None
        return find_tokens(words, self.tokens, {int(self.tokens["input_id"].iloc[0]): self.text or ""})


def source_of(selection: Selection) -> Source:
    """The input that the link names: a new one before one of the run.

    Raises:
        UserError: The new one cannot be made; one sentence.
    """
    new = asked_for(selection)
    return StoredInput(selection.run, selection.input) if new is None else TypedInput(selection.run, new)


def leaves_new() -> dict[str, None]:
    """Changes of the selection that return to the inputs of the run."""
    return {NEW: None, "spot": None}
