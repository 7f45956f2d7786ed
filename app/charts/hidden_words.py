"""How much is hidden with the sinks, in one sentence."""

from __future__ import annotations

from app.charts.words import percent

LEARNED = 0.005
"""Share of attention from which a sink of the softmax is told of; less is rounding."""


def hidden_words(
    share: float,
    n_columns: float,
    per: str,
    *,
    whose: str = "attention",
    which: str = "",
    rests_on: str = "",
    learned: float = 0.0,
) -> str:
    """``27 % of attention, on 1.2 tokens an input, is hidden; rows are scaled to sum to 1.``

    Args:
        share: Of attention that lay on sinks, 0..1.
        n_columns: How many tokens that is.
        per: Of what they are so many, as in ``an input``; empty for all.
        whose: As in ``its attention``.
        which: The tokens, in brackets behind their number.
        rests_on: What the figures are means over, as in ``mean of 32 heads``.
        learned: Share that a sink of the model's own softmax took, 0..1.
    """
    own = f" The softmax has a sink of its own, which took {percent(learned)}: it is left out of the rows too."
    end = own if learned > LEARNED else ""
    if n_columns == 0:
        return f"No token is a sink here, so none is hidden.{end}"
    tokens = f"{counted(n_columns, 'token', 'tokens')}{f' {per}' if per else ''}{which}"
    over = f" ({rests_on})" if rests_on else ""
    return f"{percent(share)} of {whose}, on {tokens}, is hidden{over}; rows are scaled to sum to 1.{end}"


def emptied_words(n_emptied: float, per: str = "") -> str:
    """How many queries have nothing left; empty for none.

    Args:
        n_emptied: Queries that looked at sinks only.
        per: Of what they are so many; empty for all.
    """
    if n_emptied == 0:
        return ""
    who = counted(n_emptied, "query", "queries")
    looks = "which looks" if who == "1 query" else "which look"
    return f" Nothing is left of {who}{f' {per}' if per else ''}, {looks} at sinks only."


def counted(number: float, one: str, many: str) -> str:
    """``1 token``, ``1.2 tokens``, ``less than 0.1 tokens``."""
    said = f"{number:,.1f}".removesuffix(".0") if number >= 0.05 else "less than 0.1"
    return f"{said} {one if said == '1' else many}"


def inputs_words(n_read: int, n_all: int) -> str:
    """``48 of 190 inputs``, ``all 60 inputs``."""
    return f"all {n_all:,} inputs" if n_read == n_all else f"{n_read:,} of {n_all:,} inputs"
