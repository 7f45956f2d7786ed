"""What the colour of a point says: its kind, or a column of the token table on a ramp or in named classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from app.palette import KEY, OKABE_ITO, QUERY, QUIET, TWILIGHT, VIRIDIS
from app.state import KIND_COLOUR, cycle_of

if TYPE_CHECKING:
    from analysis.store.tables import ColumnInfo


@dataclass(frozen=True)
class Colouring:
    """Values of all points and how to show them.

    Attributes:
        kind: "kind", "sequential", "categorical" or "cyclic".
        title: Of the column, as a reader says it.
        unit: Beside the numbers.
        meaning: One sentence.
        low, high: Ends of the ramp.
        stops: Colours from low to high, or of the classes in order.
        queries, keys: A number, or a class number, per token; NaN without a value.
        name: The word of the link that asks for it.
        classes: Name, colour and number of points of each class, the commonest first; None on a ramp.
    """

    kind: str
    title: str
    unit: str
    meaning: str
    low: float
    high: float
    stops: tuple[str, ...]
    queries: Float[np.ndarray, " token"]
    keys: Float[np.ndarray, " token"]
    classes: tuple[dict[str, Any], ...] | None = None
    name: str = "kind"

    def as_dict(self) -> dict[str, Any]:
        """Everything but the values, as the browser reads it."""
        return {
            "name": self.name, "kind": self.kind, "title": self.title, "unit": self.unit, "meaning": self.meaning,
            "low": self.low, "high": self.high, "stops": list(self.stops),
            "categories": self.classes and list(self.classes),
        }  # fmt: skip


def kept_points(
    colouring: Colouring, hide: str | None, span: str | None, kinds: str | None
) -> tuple[Bool[np.ndarray, " token"], Bool[np.ndarray, " token"]]:
    """Which queries and keys the filters of the legend leave, as their words in the link say.

    Args:
        colouring: What the colours say now; filters of another colouring hide nothing.
        hide: Hidden classes, as in ``genre:0,3``; -1 for points without a value.
        span: The range that is kept, as in ``hue:10~50``; points without a value go.
        kinds: ``query`` or ``key`` or both, hidden.
    """
    gone = set((kinds or "").split(","))
    values = (colouring.queries, colouring.keys)
    kept = [np.full(len(each), kind not in gone) for kind, each in zip(("query", "key"), values)]
    codes, ends = (_filter(word, colouring.name) for word in (hide, span))
    if codes and colouring.classes is not None and colouring.kind != "kind":
        hidden = [float(code) for code in codes.split(",") if code.lstrip("-").isdigit()]
        kept = [keep & ~np.isin(np.nan_to_num(each, nan=-1), hidden) for keep, each in zip(kept, values)]
    if ends and colouring.classes is None:
        low, high = _span(ends)
        kept = [keep & (each >= low) & (each <= high) for keep, each in zip(kept, values)]
    return kept[0], kept[1]


def _span(words: str) -> tuple[float, float]:
    """``10~50`` as two numbers; everything where it is no such thing."""
    low, _, high = words.partition("~")
    try:
        return float(low), float(high)
    except ValueError:
        return -np.inf, np.inf


def _filter(word: str | None, name: str) -> str:
    return word.removeprefix(f"{name}:") if word and word.startswith(f"{name}:") else ""


def colouring_of(tokens: pd.DataFrame, columns: Mapping[str, ColumnInfo], colour: str) -> Colouring:
    """The colours of all tokens that a word of the link asks for.

    Args:
        tokens: The token table.
        columns: What its columns mean.
        colour: `KIND_COLOUR`, ``position_mod_8``, or a name of `columns`.
    """
    if colour == KIND_COLOUR:
        return by_kind(len(tokens))
    if (cycle := cycle_of(colour)) is not None:
        return by_cycle(tokens["position"], cycle, colour)
    info = columns[colour]
    return by_column(tokens[colour], info.kind, colour.replace("_", " "), info.unit, info.description, name=colour)


def by_kind(n_tokens: int) -> Colouring:
    """Queries and keys in their two colours."""
    classes = tuple(
        {"name": name, "colour": tone, "count": n_tokens} for name, tone in (("query", QUERY), ("key", KEY))
    )
    return Colouring(
        "kind", "Kind", "", "A token's query and its key are two points.", 0, 1, (QUERY, KEY),
        np.zeros(n_tokens), np.ones(n_tokens), classes,
    )  # fmt: skip


def by_column(values: pd.Series, kind: str, title: str, unit: str = "", meaning: str = "", name: str = "") -> Colouring:
    """A token column as colours, the same for a token's query and key.

    Args:
        values: One a token.
        name: The word of the link that asks for it.
        kind: "sequential" (viridis), "cyclic" (twilight) or "categorical" (Okabe-Ito; beyond seven classes the
            rarest share one grey). A column that is not numbers is shown in classes whatever it says.

    Returns:
        The colouring. A ramp runs between the 0.5 and 99.5 percentiles of a sequential column, so that one odd
        token does not swallow it, and over the whole range of a cyclic one.
    """
    if kind == "categorical" or not pd.api.types.is_numeric_dtype(values) or values.dtype == bool:
        return _in_classes(values, title, unit, meaning, name)
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    finite = numbers[np.isfinite(numbers)]
    if kind == "cyclic":
        low, high = _cycle(finite, unit)
        numbers = low + np.mod(numbers - low, high - low)
    else:
        low, high = np.quantile(finite, [0.005, 0.995]) if len(finite) else (0.0, 1.0)
    stops = TWILIGHT if kind == "cyclic" else VIRIDIS
    return Colouring(kind, title, unit, meaning, float(low), float(high), stops, numbers, numbers, name=name)


def by_cycle(positions: pd.Series, length: int, name: str = "") -> Colouring:
    """The position in its input modulo `length`, on the cyclic ramp: what repeats every `length` has one colour."""
    steps = np.mod(positions.to_numpy(dtype=float), length)
    meaning = f"Position in its input, modulo {length}: 0 to {length - 1}, then 0 again."
    return Colouring(
        "cyclic", f"position mod {length}", "tokens", meaning, 0.0, float(length), TWILIGHT, steps, steps, name=name
    )


def _cycle(finite: np.ndarray, unit: str) -> tuple[float, float]:
    """Ends of one turn: 360 for degrees, 1 for shares of a turn, otherwise whole steps up to the largest value."""
    if "degree" in unit:
        return 0.0, 360.0
    most = float(finite.max()) if len(finite) else 1.0
    if most <= 1 and not np.all(finite == np.round(finite)):
        return 0.0, 1.0
    return 0.0, float(np.floor(most)) + 1.0


def _in_classes(values: pd.Series, title: str, unit: str, meaning: str, name: str) -> Colouring:
    known = values.where(values.notna()).astype(object)
    counts = known.dropna().map(str).value_counts()
    named = list(counts.index[: len(OKABE_ITO)])
    classes = [
        {"name": name, "colour": OKABE_ITO[place], "count": 2 * int(counts[name])} for place, name in enumerate(named)
    ]
    rest = int(counts.iloc[len(named) :].sum())
    if rest:
        classes.append({"name": f"{len(counts) - len(named)} others", "colour": QUIET, "count": 2 * rest})
    code = {name: place for place, name in enumerate(named)}
    codes = np.array([np.nan if pd.isna(v) else code.get(str(v), len(named)) for v in known], dtype=float)
    stops = tuple(each["colour"] for each in classes) or (QUIET,)
    return Colouring("categorical", title, unit, meaning, 0, len(stops), stops, codes, codes, tuple(classes), name)
