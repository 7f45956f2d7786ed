"""The words of the page: one definition each, found in sentences without harming them."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from app.glossary import TERMS, find_terms, meaning
from app.sentences import with_terms


class Reader(HTMLParser):
    """The text a reader sees, the terms in it, and every tag there is."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.terms, self.tags = "", [], []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.append(tag)
        said = dict(attributes)
        assert said["tabindex"] == "0"
        self.terms.append(said["data-term"])

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_word_stands_for_one_term():
    forms = [form.casefold() for term in TERMS for form in (term.name, *term.forms)]
    assert len(forms) == len(set(forms))


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_definition_is_one_sentence(term):
    assert term.means.endswith(".")
    assert not re.search(r"[.!?] [A-Z]", term.means)
    assert 20 <= len(term.means) <= 240


def test_the_words_the_page_needs_are_there():
    names = {term.name for term in TERMS}
    assert names >= {
        "query", "key", "attention", "head", "attention site", "stack", "sink", "fidelity", "map explains", "recall",
        "neighbours kept", "mix", "entropy", "first token", "previous token", "own token", "run", "certificate",
        "special token",
    }  # fmt: skip


def test_terms_are_found_whole_longest_and_once():
    sentence = "32 heads; keys alone explain a key, the induction head more than a head"
    found = list(find_terms(sentence))
    assert [(piece, term.name) for piece, term in found if term] == [
        ("heads", "head"), ("keys alone", "keys alone"), ("key", "key"), ("induction head", "induction"),
    ]  # fmt: skip
    assert "".join(piece for piece, _ in found) == sentence


def test_parts_of_words_are_no_terms():
    assert [term for _, term in find_terms("ahead, keyboard, monkeys, mapping, L2H4") if term] == []


def test_data_in_a_sentence_stays_text():
    hostile = 'the key <script>alert(1)</script> & <img src=x onerror=alert(1)> "head" \'map\' data-term="x"'
    read = Reader(with_terms(hostile))
    assert read.text == hostile
    assert set(read.tags) == {"span"}
    assert read.terms == ["key", "head", "map"]


def test_a_help_text_is_the_definition_with_its_source():
    assert meaning("query").startswith("The vector by which a token looks")
    assert "Vaswani" in meaning("query")
    assert meaning("map", "More.").endswith("More.")
    with pytest.raises(KeyError):
        meaning("no such word")
