"""Whose attention a bundle has: the inputs that were chosen, or the first ones up to a size."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.errors import UnknownName, UserError
from analysis.store.run import Run

ATTENTION_BYTES = 64 * 2**20
"""Attention of so many inputs goes along, from the first, as stays under this before it is compressed."""

LONGEST_INPUT_BYTES = 2**30
"""A browser holds the attention of one input, of all heads, in memory at once; a larger one is refused."""


def chosen_inputs(run: Run, inputs: Sequence[int] | None = None) -> list[int]:
    """The inputs whose attention goes into a bundle.

    Args:
        inputs: As of `app.bundle.making.make_bundle`.

    Raises:
        UserError: One of them is unknown, or too long for a browser.
    """
    lengths = run.lengths_of("")
    if inputs is not None:
        if unknown := [each for each in inputs if each not in lengths]:
            raise UnknownName(f"Run {run.run_id} has no input {unknown[0]}; it has {min(lengths)} to {max(lengths)}.")
        for each in inputs:
            if (n_bytes := attention_bytes(run, lengths[each])) > LONGEST_INPUT_BYTES:
                raise UserError(
                    f"Input {each} has {lengths[each]:,} tokens: its attention in all heads takes {n_bytes / 1e9:,.1f} "
                    "GB, which no browser holds; leave it out of --inputs, the app shows it in windows."
                )
        return sorted(set(inputs))
    held, left = [], ATTENTION_BYTES
    for each, n_tokens in lengths.items():
        left -= attention_bytes(run, n_tokens)
        if left < 0:
            break
        held.append(each)
    return held


def attention_bytes(run: Run, n_tokens: int) -> int:
    """What the attention of all heads on an input takes, before it is compressed."""
    return sum(site.n_heads for site in run.sites) * n_tokens**2 * 4


def chosen_words(run: Run, held: Sequence[int]) -> str:
    """How many inputs those are, and what their attention takes before it is compressed."""
    lengths = run.lengths_of("")
    megabytes = sum(attention_bytes(run, lengths[each]) for each in held) / 1e6
    return f"Attention of {len(held):,} of {len(lengths):,} inputs, {megabytes:,.1f} MB before it is compressed."
