"""Attention of a head on one input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import pandas as pd

from analysis.errors import RunError, UserError
from analysis.store.run import Run
from analysis.types import KEY, QUERY, Site
from app.charts.heat_map import MOST_CELLS, make_heat_map, make_long_heat_map
from app.charts.image_attention import make_overlay, patch_table
from app.charts.scales import SCALES, make_scale, weight_words
from app.charts.shown import block_in
from app.charts.text_attention import FAINTEST_LINE, LINE_TOKENS, attention_table, make_lines, visible_token
from app.plots.chosen import check, find_head, title_of
from app.plots.figure import figure

if TYPE_CHECKING:
    from app.plots.chosen import HeadSaid

MAP, LINES, PICTURE = PICTURES = ("map", "lines", "picture")


def attention(
    run: Run,
    head: HeadSaid,
    input_id: int,
    how: str | None = None,
    *,
    stack: str | None = None,
    token: int | None = None,
    kind: str = QUERY,
    queries: range | None = None,
    keys: range | None = None,
    scale: str = "linear",
) -> alt.LayerChart:
    """Attention of a head on one text or image: weights of 0 to 1 after the softmax, the exact one at the pointer.

    Args:
        run: An open run.
        head: As in ``"L3H5"``; see `app.plots`.
        input_id: Of `Run.inputs`.
        how: ``map``: queries down, keys across, a cell a pair, none where a query may not attend. ``lines``: queries
            left, keys right, no line under 0.01. ``picture``: an image with its patches shaded by the weight they get
            (from one query where `token` is given, else from all on average). By default ``picture`` for images and
            ``map`` for all else.
        stack: Where the run has several.
        token: Position of a token that is picked: its row is framed, its lines stand out, its weights shade the image.
        kind: Whether its ``query`` is picked or its ``key``.
        queries, keys: Positions to draw, as in ``range(100, 140)``; all where not given. A heat map of more than 5,000
            cells is one picture, each pixel the strongest weight of its block, without words at the pointer; a picture
            of lines takes 48 tokens a side.
        scale: Of the colours: ``linear``, ``log`` or ``rank``.

    Signed weights of a state-space layer are drawn signed in the heat map, and as shares of 0 to 1 elsewhere.

    Raises:
        UserError: Something that was asked for is not known or does not go together; the message says what does.
    """
    for said, known, what in ((how or MAP, PICTURES, "how"), (scale, SCALES, "scale"), (kind, (QUERY, KEY), "kind")):
        check(said, known, what)
    one = _read(run, *find_head(run, head, stack), input_id)
    how = how or (PICTURE if one.is_image else MAP)
    if how == PICTURE:
        return _picture(one, token, kind, scale)
    whole = (queries, keys) == (None, None)
    sides = tuple(
        _part(said, own, what) for said, own, what in zip((queries, keys), one.sides, ("queries", "keys"), strict=True)
    )
    _check_token(token, sides[(QUERY, KEY).index(kind)], kind)
    if how == LINES:
        return _lines(one, sides, token, kind, shortens=whole)
    return _map(one, sides, token, kind, scale)


@dataclass(frozen=True)
class _One:
    """An input as one head sees it; positions are those of the token table.

    Attributes:
        tokens: All of the input, by position.
        sides: Positions of the queries, and of the keys.
        allowed: [query, key] over all tokens of the input.
    """

    run: Run
    site: Site
    head: int
    input_id: int
    tokens: pd.DataFrame
    sides: tuple[range, range]
    allowed: np.ndarray

    @property
    def title(self) -> str:
        return f"{title_of(self.site, self.head)}: input {self.input_id}"

    @property
    def is_image(self) -> bool:
        """The tokens are patches of a picture or spectrogram."""
        return self.site.modality != "text" and len(self.places) > 0

    @property
    def places(self) -> np.ndarray:
        """Positions of what stands on a picture: of an image all tokens of the head, of a text parts of pictures."""
        own = np.union1d(*(np.array(side, dtype=int) for side in self.sides))
        if self.site.modality != "text":
            has_place = "row" in self.tokens and (self.tokens["row"].iloc[own].fillna(-1) >= 0).any()
            return own if has_place else own[:0]
        return own[self.tokens["left"].iloc[own].notna().to_numpy()] if "left" in self.tokens else own[:0]

    @property
    def labels(self) -> list[str]:
        """Visible text of every token; of patches their place."""
        labels = [visible_token(str(text)) for text in self.tokens["text"]]
        if self.is_image:
            names = patch_table(np.zeros(len(self.places)), self.tokens.iloc[self.places])["name"]
            for at, name in zip(self.places.tolist(), names):
                labels[at] = name
        return labels

    @property
    def positions(self) -> list[str]:
        return [str(at) for at in range(len(self.tokens))]

    def over_all(self, block: np.ndarray) -> np.ndarray:
        """A block of the head's queries and keys among all tokens of the input."""
        return block_in(len(self.tokens), *(np.array(side, dtype=int) for side in self.sides), block)

    def shares(self) -> np.ndarray:
        """Weights as measures take them, 0 to 1, [query, key] over all tokens."""
        return self.over_all(self.run.shares(self.site, self.head, self.input_id))


def _read(run: Run, site: Site, head: int, input_id: int) -> _One:
    ends = [run.query_positions(site, input_id), run.key_positions(site, input_id)]
    sides = tuple(range(int(at[0]), int(at[-1]) + 1) for at in ends)
    tokens = run.tokens()
    tokens = tokens[tokens["input_id"] == input_id].reset_index(drop=True)
    allowed = block_in(len(tokens), *ends, run.allowed(site, input_id))
    return _One(run, site, head, input_id, tokens, sides, allowed)


def _part(said: range | None, whole: range, what: str) -> range:
    if said is None:
        return whole
    if not (isinstance(said, range) and said.step == 1 and len(said) and said[0] in whole and said[-1] in whole):
        here = f"{what}=range({whole.start}, {whole.stop})"
        raise UserError(f"{what}={str(said)[:60]} is no part of what this head has here; all of it is {here}.")
    return said


def _check_token(token: int | None, own: range, kind: str) -> None:
    if token is not None and token not in own:
        raise UserError(f"token={token} is no {kind} that is drawn; these are at {own.start} to {own.stop - 1}.")


def _map(one: _One, sides: tuple[range, range], token: int | None, kind: str, scale: str) -> alt.LayerChart:
    weights = one.over_all(one.run.attention(one.site, one.head, one.input_id))
    name = "signed weight" if one.site.is_signed else "weight"
    seen = np.where(one.allowed, weights, np.nan)[sides[0].start : sides[0].stop, sides[1].start : sides[1].stop]
    if not np.isfinite(seen).any():
        raise UserError("None of these queries may attend to any of these keys: there is nothing to draw.")
    colours = make_scale(seen, scale)
    if np.isfinite(seen).sum() > MOST_CELLS:
        said = "Each pixel is the strongest weight of its block; queries= and keys= draw a part cell by cell."
        chart = make_long_heat_map(seen, (sides[0].start, sides[1].start), colours, name)
        return figure(chart, one.title, said)
    table = attention_table(weights, one.labels, one.positions, one.allowed, sides)
    return figure(make_heat_map(table, one.labels, sides, colours, name, token, kind), one.title)


def _lines(one: _One, sides: tuple[range, range], token: int | None, kind: str, *, shortens: bool) -> alt.LayerChart:
    longest = max(map(len, sides))
    drawn = sides
    if longest > LINE_TOKENS:
        if not shortens:
            raise UserError(f"A picture of lines takes {LINE_TOKENS} tokens a side; {longest} were asked for.")
        drawn = tuple(range(side.start, min(side.stop, side.start + LINE_TOKENS)) for side in sides)
        _check_token(token, drawn[(QUERY, KEY).index(kind)], kind)
    table = attention_table(one.shares(), one.labels, one.positions, one.allowed, drawn)
    if table.empty:
        raise UserError("None of these queries may attend to any of these keys: there is nothing to draw.")
    special = one.tokens["is_special"].fillna(False).astype(bool).tolist()
    chart = make_lines(table, one.labels, special, token, kind, places=one.positions, sides=drawn)
    said = f"Left the queries, right the keys; weights under {weight_words(FAINTEST_LINE)} have no line."
    if drawn != sides:
        said += f" Drawn: the first {LINE_TOKENS} of {longest:,} tokens; queries= and keys= choose others."
    return figure(chart, one.title, said, pixels=640)


def _picture(one: _One, token: int | None, kind: str, scale: str) -> alt.LayerChart:
    places = one.places
    if not len(places):
        raise RunError(
            f"Input {one.input_id} has no picture that tokens of {one.site.label} stand on: draw a map or lines."
        )
    own = one.sides[(QUERY, KEY).index(kind)]
    _check_token(token, own, kind)
    shares = one.shares()
    if token is None:
        mean = shares[one.sides[0].start : one.sides[0].stop].mean(axis=0)
        weights = np.where(np.isin(np.arange(len(mean)), one.sides[1]), mean, np.nan)
        said = "Mean weight of every token over all queries."
    else:
        along = (shares[token], one.allowed[token]) if kind == QUERY else (shares[:, token], one.allowed[:, token])
        weights = np.where(along[1], along[0], np.nan)
        said = (
            f"Where {one.labels[token]} looks."
            if kind == QUERY
            else f"How much each token looks at {one.labels[token]}."
        )
    table = patch_table(weights[places], one.tokens.iloc[places]).assign(position=places)
    chart = make_overlay(table, one.run.image(one.input_id), make_scale(weights[places], scale), token, kind)
    return figure(chart, one.title, said, pixels=640)
