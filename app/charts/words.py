"""Numbers and titles as the page says them."""

from analysis.types import STAGE

_STACK_WORDS = {
    "enc": "encoder",
    "dec": "decoder",
    "self": "self-attention",
    "cross": "cross-attention",
    "implicit": "implicit attention",
}


def percent(share: float) -> str:
    """``73 %``, with a space that does not break."""
    return f"{share * 100:.0f}\u00a0%"


def within(title: str) -> str:
    """A title within a sentence; names such as CLS stay as they are."""
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def stack_title(stack: str) -> str:
    """``text.dec.self`` as a reader says it: Text decoder, self-attention."""
    modality, *middle, role = stack.split(".")
    middle = " ".join(_STACK_WORDS.get(word, word.replace("stage", STAGE)) for word in middle)
    return f"{modality.capitalize()} {middle}, {_STACK_WORDS.get(role, role)}"
