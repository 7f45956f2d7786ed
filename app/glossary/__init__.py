"""The words of the page, each with one definition, the same wherever the word or its question mark is pointed at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from app.glossary.measures import MEASURES
from app.glossary.of_sinks import OF_SINKS
from app.glossary.term import Term
from app.glossary.words import WORDS

TERMS = (*WORDS, *MEASURES, *OF_SINKS)

BY_NAME = {term.name: term for term in TERMS}


def meaning(name: str, *more: str) -> str:
    """The help text of a term: its definition and source, with anything particular to the place after it.

    Raises:
        KeyError: The glossary has no such term.
    """
    return " ".join([BY_NAME[name].sentence, *more])


def find_terms(text: str) -> Iterator[tuple[str, Term | None]]:
    """Cut a sentence into pieces, each with the term it is; a term counts where it stands first, later it is text.

    The pieces put together are the sentence again, so nothing is lost and nothing added.
    """
    seen, done = set(), 0
    for match in _pattern().finditer(text):
        term = _by_form()[match.group().casefold()]
        if term.name in seen:
            continue
        seen.add(term.name)
        if match.start() > done:
            yield text[done : match.start()], None
        yield match.group(), term
        done = match.end()
    if done < len(text):
        yield text[done:], None


@cache
def _by_form() -> dict[str, Term]:
    return {form.casefold(): term for term in TERMS for form in (term.name, *term.forms)}


@cache
def _pattern() -> re.Pattern[str]:
    longest_first = sorted(_by_form(), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b", re.IGNORECASE)
