"""What the address asks of the page Sinks, checked against the run: thresholds, the mark in hand, the second run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from analysis.sinks import PUBLISHED, USUAL, SinkRule
from analysis.sinks.levels import LevelRule
from analysis.sinks.massive import VisualSinkRule
from analysis.types import IMAGE_PART, Site
from app import cache, widgets
from app.cache import sinks as kept
from app.charts.sink_rows import GROUPS
from app.state import Selection

THRESHOLD, QUERIES, OWN = "threshold", "queries", "own"
COSINE, SHORT, LONG = "cosine", "short", "long"
RATIO, NORM = "ratio", "norm"
GROUP, MARK, BESIDE, LAYER = "group", "mark", "beside_run", "layer"
"""Words of the link."""

SETTINGS = (THRESHOLD, QUERIES, OWN, COSINE, SHORT, LONG, RATIO, NORM)
OWN_WORDS = {"": "in tables only", "yes": "everywhere", "no": "nowhere"}
"""Where a token's own query counts."""

OF_LAYER, OF_LEVEL, OF_HEAD = "layer", "level", "head"
"""Kinds of marks beside those of `GROUPS`."""


class Mark(NamedTuple):
    """What was clicked: a row of the table (a kind of `GROUPS`), a layer, a level, or the head of the link."""

    kind: str
    value: str = ""

    @property
    def word(self) -> str:
        """As the link has it."""
        return f"{self.kind}:{self.value}"


class Limit(NamedTuple):
    """A number of the link: the smallest and largest it may be, and whether it is whole."""

    low: float
    high: float
    is_whole: bool = False


LIMITS: Mapping[str, Limit] = {
    THRESHOLD: Limit(0.001, 1), QUERIES: Limit(1, 100_000, True), COSINE: Limit(0.01, 0.999),
    SHORT: Limit(0, 1000, True), LONG: Limit(1, 1000, True), RATIO: Limit(0.1, 1000), NORM: Limit(1.01, 1000),
    LAYER: Limit(0, 10_000, True),
}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """What is shown, all of it valid for the run.

    Attributes:
        selection: Resolved.
        stack: The tower that is shown.
        sites: Its sites, in forward order.
        rule: What finds sinks; `table_rule` is that of the tables, which may count a token's own query.
        of_levels, of_states: Thresholds of levels and of massive states.
        group: How the table groups tokens: one of `GROUPS`.
        mark: What is in hand; None before anybody clicked.
        layer: The layer that pictures of one layer show; None before anybody chose.
        notes: What of the link could not be followed.
    """

    selection: Selection
    stack: str
    sites: tuple[Site, ...]
    rule: SinkRule
    table_rule: SinkRule
    of_levels: LevelRule
    of_states: VisualSinkRule
    group: str
    mark: Mark | None
    layer: int | None
    notes: tuple[str, ...]

    @property
    def run(self) -> str:
        """The run's id."""
        return str(self.selection.run)

    @property
    def is_text(self) -> bool:
        """The tokens of the stack are those of texts."""
        return bool(self.texts)

    @property
    def texts(self) -> dict[int, str]:
        """The texts that the tokens of the stack are of; empty for those of pictures."""
        return {} if self.sites[0].key_sequence == IMAGE_PART else cache.input_texts(self.run)


def read_choice(selection: Selection) -> Choice:
    """What the address asks for, with what nobody chose filled in."""
    notes: list[str] = []
    facts = cache.facts(selection.run)
    stack = facts.site(selection.site).stack_label
    sites = tuple(site for site in facts.sites if site.stack_label == stack)
    numbers = {name: read_number(selection.options.get(name), name, notes) for name in LIMITS}
    rule, table_rule = rules_of(numbers, selection.option(OWN, OWN_WORDS))
    return Choice(
        selection=selection, stack=stack, sites=sites, rule=rule, table_rule=table_rule,
        of_levels=_levels(numbers, notes), of_states=_states(numbers),
        group=selection.option(GROUP, groups(selection.run, table_rule, stack)), mark=_mark(selection, sites, notes),
        layer=_layer(numbers[LAYER], len(sites)), notes=tuple(notes),
    )  # fmt: skip


def groups(run_id: str, rule: SinkRule, stack: str) -> dict[str, str]:
    """The ways to group the tokens of a run that its table has; images have no strings."""
    known = set(kept.findings(run_id, rule, stack).overall["kind"])
    return {name: title for name, title in GROUPS.items() if name in known}


def rules_of(numbers: Mapping[str, float | None], own: str) -> tuple[SinkRule, SinkRule]:
    """The rule that finds sinks and the rule of the tables.

    Args:
        own: A word of `OWN_WORDS`.
    """
    threshold = USUAL.threshold if numbers[THRESHOLD] is None else numbers[THRESHOLD]
    least = USUAL.min_queries if numbers[QUERIES] is None else int(numbers[QUERIES])
    counts = {"": (USUAL.counts_own, PUBLISHED.counts_own), "yes": (True, True), "no": (False, False)}[own]
    return SinkRule(threshold, least, counts[0]), SinkRule(threshold, least, counts[1])


def read_number(said: str | None, name: str, notes: list[str]) -> float | None:
    """A number of the link; None where it says nothing, or nothing that can be used, which is told."""
    if said is None or said == "":
        return None
    limit = LIMITS[name]
    try:
        number = float(said)
    except ValueError:
        number = float("nan")
    if not limit.low <= number <= limit.high or (limit.is_whole and number != int(number)):
        kind = "a whole number" if limit.is_whole else "a number"
        shown = said if len(said) <= 40 else said[:39] + "…"
        notes.append(f"The link says {name} {shown!r}, but it is {kind} from {limit.low:g} to {limit.high:g}; "
                     "the usual one was taken.")  # fmt: skip
        return None
    return number


def _levels(numbers: Mapping[str, float | None], notes: list[str]) -> LevelRule:
    short, long = (None if numbers[name] is None else int(numbers[name]) for name in (SHORT, LONG))
    if short is not None and long is not None and long <= short:
        notes.append(
            f"The link says noise up to {short} layers and like the primary from {long}; the second was left out."
        )
        long = None
    return LevelRule(
        similar=LevelRule().similar if numbers[COSINE] is None else numbers[COSINE], long=long, short=short
    )


def _states(numbers: Mapping[str, float | None]) -> VisualSinkRule:
    usual = VisualSinkRule()
    return VisualSinkRule(ratio=numbers[RATIO], norm=usual.norm if numbers[NORM] is None else numbers[NORM])


def _mark(selection: Selection, sites: tuple[Site, ...], notes: list[str]) -> Mark | None:
    """The mark of the link; without one the head of the link, if it has one."""
    said = selection.options.get(MARK)
    if said is None:
        is_picked = widgets.current().head is not None and selection.site in {site.label for site in sites}
        return Mark(OF_HEAD) if is_picked else None
    kind, _, value = said.partition(":")
    is_layer = kind == OF_LAYER and value.isascii() and value.isdigit() and int(value[:6]) < len(sites)
    if kind in GROUPS or is_layer or (kind == OF_LEVEL and read_level(value) is not None):
        return Mark(kind, value)
    shown = said if len(said) <= 40 else said[:39] + "…"
    notes.append(f"The link says mark {shown!r}, which is nothing on this page; nothing is picked.")
    return None


def read_level(value: str) -> tuple[int, int] | None:
    """First layer and lifetime of ``2.5``; None where it is no such thing."""
    parts = value.split(".")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        return None
    return int(parts[0]), int(parts[1])


def _layer(number: float | None, n_layers: int) -> int | None:
    return None if number is None else min(int(number), n_layers - 1)
