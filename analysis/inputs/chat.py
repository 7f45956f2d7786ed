"""What a language model is given of a row as a chat: its template filled in, and whose words are where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from analysis.errors import first_line
from analysis.inputs.records import Unreadable

SYSTEM, USER, IMAGE, ANSWER, TEMPLATE = "system", "user", "image", "answer", "template"
"""Spans of an input: what the data says as system, user and assistant, the picture, and all that the format adds."""

_MARKS = {SYSTEM: "\ue000\ue001", USER: "\ue002\ue003", ANSWER: "\ue004\ue005"}
"""Put round the words of each while the template is filled in a second time: letters that stand for nothing."""


class Span(NamedTuple):
    """Part of a text, by characters: ``text[start:end]``."""

    start: int
    end: int
    name: str


@dataclass(frozen=True)
class Said:
    """One row of the data: empty where it says nothing."""

    user: str
    system: str = ""
    answer: str = ""


@dataclass(frozen=True)
class Prompt:
    """The text of an input with one placeholder for the picture.

    Attributes:
        spans: Of system, user and answer, in order and apart; what lies between is template.
        has_specials: The template itself puts in what a tokenizer would put in front.
    """

    text: str
    spans: tuple[Span, ...]
    has_specials: bool = False


def has_template(processor: Any) -> bool:
    """Whether the processor, or its tokenizer, has a chat template."""
    parts = (processor, getattr(processor, "tokenizer", None))
    return any(getattr(part, "chat_template", None) for part in parts)


def plain_prompt(processor: Any, said: Said) -> Prompt:
    """Without a template: the picture and a line end, where the processor has a token for it, the words, and behind a
    space the answer."""
    parts = [(SYSTEM, said.system), (USER, said.user), (ANSWER, said.answer)]
    picture = getattr(processor, "image_token", None)
    text, spans = f"{picture}\n" if picture else "", []
    for name, words in parts:
        if words:
            text += " " if spans else ""
            spans.append(Span(len(text), len(text) + len(words), name))
            text += words
    return Prompt(text, tuple(spans))


def chat_prompt(processor: Any, said: Said, *, has_picture: bool = True) -> Prompt:
    """The chat template of the model, filled in with a turn of the user that has the picture and the words.

    Where there is an answer it is the assistant's turn; else the template ends where the assistant would begin. The
    words are found in it by filling it in again with a mark on either side of each.

    Args:
        processor: Of texts and images; a tokenizer where there is no picture.
        said: What the row says.
        has_picture: The turn of the user begins with a picture.

    Raises:
        Unreadable: The template refuses these turns, or changes the words so that they are not found in it.
    """
    text = _filled(processor, said, {}, has_picture)
    for words in (said, Said(*(each.strip() for each in (said.user, said.system, said.answer)))):
        marked = _filled(processor, words, _MARKS, has_picture)
        spans, plain = _without_marks(marked)
        if plain == text:
            bos = getattr(processor, "tokenizer", processor).bos_token
            return Prompt(text, spans, bool(bos) and text.startswith(bos))
    raise Unreadable("the chat template of the model changes its words, which are not found in it")


def _filled(processor: Any, said: Said, marks: dict[str, str], has_picture: bool) -> str:
    import jinja2

    words = {name: _between(marks.get(name, ""), text) for name, text in vars(said).items()}
    text = None
    # Some templates take the content of a turn as a list, some as a text.
    for in_parts in (True, False) if has_picture else (False, True):
        turns = [{"role": "user", "content": _content(processor, words["user"], in_parts, has_picture)}]
        if said.system:
            turns.insert(0, {"role": "system", "content": _content(processor, words["system"], in_parts)})
        if said.answer:
            turns.append({"role": "assistant", "content": _content(processor, words["answer"], in_parts)})
        try:
            text = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=not said.answer)
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            if in_parts != has_picture:
                reason = first_line(error, 120)
                raise Unreadable(f"the chat template of the model refuses its turns ({reason})") from error
            continue
        if not has_picture or processor.image_token in text:
            return text
    raise Unreadable("the chat template of the model leaves out the picture")


def _content(processor: Any, text: str, in_parts: bool, has_picture: bool = False) -> Any:
    if not in_parts:
        return f"{processor.image_token}\n{text}" if has_picture else text
    return [*([{"type": "image"}] if has_picture else []), *([{"type": "text", "text": text}] if text else [])]


def _between(marks: str, text: str) -> str:
    return f"{marks[0]}{text}{marks[1]}" if marks and text else text


def _without_marks(marked: str) -> tuple[tuple[Span, ...], str]:
    """The spans between marks, by their places in the text without marks; and that text."""
    begins = {marks[0]: name for name, marks in _MARKS.items()}
    ends = {marks[1] for marks in _MARKS.values()}
    spans, plain, begin = [], [], (0, "")
    for letter in marked:
        if letter in begins:
            begin = len(plain), begins[letter]
        elif letter in ends:
            spans.append(Span(begin[0], len(plain), begin[1]))
        else:
            plain.append(letter)
    return tuple(sorted(spans)), "".join(plain)
