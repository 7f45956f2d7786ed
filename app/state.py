"""What the page shows, as one value that is the same thing as its link.

A `Selection` is read from the address and written back to it: whoever opens a link sees what the sender saw.
Pure functions only. Session state holds nothing but what a link need not carry (a picked set of tokens).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from analysis.types import KEY, QUERY, Site

KIND_COLOUR = "kind"
"""Colour by query and key: the colouring that needs no token column."""

CYCLE = "position_mod_"
"""Colour by the position in its input modulo a number, which follows: ``position_mod_8``."""

LONGEST_CYCLE = 512

EXPLAINED = "kl_explained"
"""How much of a head's attention the map explains, as a head score beside the metrics."""

SINKS, HIDDEN, BEFORE = "sinks", "hidden", "was"
"""Words of the link: ``sinks=hidden`` hides sinks wherever attention is drawn; ``was=`` names the map shown before."""

OF_ONE_RUN = (
    *"site head input token map new with at spot also beside beside_map near near_words want heads".split(), BEFORE,
    *"lasso mark cut cut_sinks cut_heads step camera".split(),
)  # fmt: skip
"""Words of the link that mean nothing in another run."""

_NUMBERS = ("head", "input", "token")
_WORDS = ("run", "map", "site", "kind", "colour", "score")
_DEFAULTS = {"kind": QUERY, "colour": KIND_COLOUR}
_LISTED = 6


@dataclass(frozen=True)
class Selection:
    """What is looked at. None means that nobody has chosen: the view takes the first there is.

    Attributes:
        run: The run's id.
        map: Name of the projection, as in ``atlas-2d``.
        site: Label of the attention site, as in ``text.dec.self.3``.
        head: Index of the head in its site.
        input: Id of the text or image.
        token: Position of the picked token in its input.
        kind: Whether the picked point is the token's ``query`` or its ``key``.
        colour: Token column that colours the points, or ``kind``.
        score: Head score that tints and names heads.
        options: Every other word of the link; a view reads its own with `option`.
    """

    run: str | None = None
    map: str | None = None
    site: str | None = None
    head: int | None = None
    input: int | None = None
    token: int | None = None
    kind: str = QUERY
    colour: str = KIND_COLOUR
    score: str | None = None
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def hides_sinks(self) -> bool:
        """Whether sinks are hidden wherever attention is drawn."""
        return self.options.get(SINKS) == HIDDEN

    def having(self, **changes: Any) -> Selection:
        """A copy with some parts changed; words that are no field go to `options` (None takes one away)."""
        fields = {name: value for name, value in changes.items() if name in (*_WORDS, *_NUMBERS)}
        others = {name: value for name, value in changes.items() if name not in fields}
        kept = {**self.options, **others}
        options = {name: str(value) for name, value in kept.items() if value is not None}
        return replace(self, **fields, options=MappingProxyType(options))

    def option(self, name: str, known: Iterable[str], default: str | None = None) -> str:
        """The view's own word `name` if it is one of `known`; otherwise `default`, or else the first known."""
        known = list(known)
        value = self.options.get(name)
        return value if value in known else (known[0] if default is None else default)


@dataclass(frozen=True)
class RunFacts:
    """What a run has to offer, so that a selection can be checked without opening it.

    Attributes:
        without_sinks: Of maps of the whole attention, the same map of attention without sinks, where there is one.
        n_tokens: Of every input.
    """

    run: str
    sites: tuple[Site, ...] = ()
    maps: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    n_tokens: Mapping[int, int] = field(default_factory=dict)
    without_sinks: Mapping[str, str] = field(default_factory=dict)

    @property
    def stacks(self) -> tuple[str, ...]:
        """The towers of the model, in the order of the forward pass."""
        return tuple(dict.fromkeys(site.stack_label for site in self.sites))

    def site(self, label: str | None) -> Site:
        """The site of that label; where there is none the first one that is in the maps, else the first."""
        first = next((site for site in self.sites if site.has_vectors), self.sites[0])
        return next((site for site in self.sites if site.label == label), first)


def read_link(query: Mapping[str, str]) -> tuple[Selection, list[str]]:
    """The selection in an address, and one sentence for each word that could not be read."""
    changes: dict[str, Any] = {}
    notes = []
    for word, value in query.items():
        if word not in _NUMBERS:
            changes[word] = value
        elif value.isascii() and value.isdigit() and len(value) <= 12:
            changes[word] = int(value)
        else:
            article = "an" if word == "input" else "a"
            notes.append(
                f"The link says {word} {_short(value)}, but {article} {word} is a whole number from 0; it was left out."
            )
    if changes.get("kind", QUERY) not in (QUERY, KEY):
        notes.append(f"The link says kind {_short(changes['kind'])}, but a point is a query or a key; query was taken.")
        del changes["kind"]
    return Selection().having(**changes), notes


def write_link(selection: Selection) -> dict[str, str]:
    """The words of the address for a selection: only what differs from an untouched page."""
    words = {name: getattr(selection, name) for name in (*_WORDS, *_NUMBERS)}
    said = {name: str(value) for name, value in words.items() if value is not None and value != _DEFAULTS.get(name)}
    return {**said, **selection.options}


def resolve(selection: Selection, facts: RunFacts) -> tuple[Selection, list[str]]:
    """The selection with what nobody chose filled in, and a sentence for each thing this run does not have."""
    notes: list[str] = []
    site = facts.site(selection.site) if facts.sites else None
    labels = [each.label for each in facts.sites]
    _check(selection.site, labels, "attention site", facts.run, site.label if site else "none", notes)
    chosen = {"run": facts.run, "site": site.label if site else None, "head": selection.head or 0}
    if site and chosen["head"] >= site.n_heads:
        has = f"{site.label} has heads 0 to {site.n_heads - 1}"
        notes.append(f"The link asks for head {chosen['head']}, but {has}; head 0 is shown.")
        chosen["head"] = 0
    first_map = facts.maps[0] if facts.maps else None
    if selection.hides_sinks:
        first_map = facts.without_sinks.get(first_map, first_map)
    chosen["map"] = _check(selection.map, facts.maps, "map", facts.run, first_map, notes)
    colours = (KIND_COLOUR, *facts.columns, *([selection.colour] if cycle_of(selection.colour) else []))
    chosen["colour"] = _check(selection.colour, colours, "token column", facts.run, KIND_COLOUR, notes)
    chosen["score"] = _check(selection.score, (EXPLAINED, *facts.scores), "head score", facts.run, None, notes)
    chosen |= _check_token(selection, facts, notes)
    return selection.having(**chosen), notes


def switch_sinks(selection: Selection, facts: RunFacts) -> dict[str, str | None]:
    """Changes of a selection that hide sinks, or show them again where they are hidden.

    The map that somebody chose is exchanged for the same map without sinks, where the run has it, and comes back unless
    another one was chosen meanwhile. Where nobody chose a map, `resolve` takes the one that fits.
    """
    if selection.hides_sinks:
        before = selection.options.get(BEFORE)
        is_twin = before in facts.maps and facts.without_sinks.get(before) == selection.map
        return {SINKS: None, BEFORE: None} | ({"map": before} if is_twin else {})
    twin = facts.without_sinks.get(selection.map)
    return {SINKS: HIDDEN, BEFORE: selection.map if twin else None} | ({"map": twin} if twin else {})


def cycle_of(colour: str) -> int | None:
    """The k of a colouring by position modulo k, 2 to `LONGEST_CYCLE`; None for every other colouring."""
    number = colour.removeprefix(CYCLE)
    if number == colour or not (number.isascii() and number.isdigit() and len(number) <= 4):
        return None
    return int(number) if 2 <= int(number) <= LONGEST_CYCLE else None


def _check(
    value: str | None, known: Iterable[str], what: str, run: str, instead: str | None, notes: list[str]
) -> str | None:
    known = list(known)
    if value is None or value in known:
        return instead if value is None else value
    listed = ", ".join(known[:_LISTED]) + (f" and {len(known) - _LISTED} more" if len(known) > _LISTED else "")
    shown = f"; {instead} is shown" if instead else ""
    notes.append(f"Run {run} has no {what} {_short(value)} (it has: {listed or 'none'}){shown}.")
    return instead


def _check_token(selection: Selection, facts: RunFacts, notes: list[str]) -> dict[str, int | None]:
    if selection.input is None:
        if selection.token is None or not facts.n_tokens:
            return {"input": None, "token": None}
        return _check_token(selection.having(input=next(iter(facts.n_tokens))), facts, notes)
    if selection.input not in facts.n_tokens:
        ids = sorted(facts.n_tokens)
        known = f"inputs {ids[0]} to {ids[-1]}" if ids else "no inputs"
        notes.append(f"The link asks for input {selection.input}, but run {facts.run} has {known}; none is picked.")
        return {"input": None, "token": None}
    n_tokens = facts.n_tokens[selection.input]
    if selection.token is not None and selection.token >= n_tokens:
        asked = f"token {selection.token} of input {selection.input}"
        notes.append(f"The link asks for {asked}, which has tokens 0 to {n_tokens - 1}; none is picked.")
        return {"input": selection.input, "token": None}
    return {"input": selection.input, "token": selection.token}


def _short(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:39] + "…")
