"""What the decoder of an encoder-decoder reads: a given text as in training, or what the model itself writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from analysis.errors import ModelError
from analysis.models.placing import input_device

MOST_WRITTEN = 64
"""Tokens that a model writes at most where the data has no text for its decoder."""

MOST_PROMPTED = 8
"""Tokens at most that a decoder reads before it writes: language, task and the like."""

WRITTEN_TOGETHER = 2048
"""Padded tokens of the inputs for which a model writes at once."""


def first_decoder_token(module: Any, name: str) -> int:
    """The token that a decoder reads before any other, as the model's own configuration names it.

    Raises:
        ModelError: It names none.
    """
    for config in (module.config, getattr(module, "generation_config", None)):
        for key in ("decoder_start_token_id", "bos_token_id"):
            number = getattr(config, key, None)
            if isinstance(number, int):
                return number
    raise ModelError(
        f"{name} does not say which token its decoder begins with: add decoder_start_token_id to its config.json, or "
        "look at its encoder alone with --part encoder."
    )


def read_in_training(module: Any, name: str, labels: Sequence[int]) -> list[int]:
    """What the decoder reads while it is taught a text (teacher forcing): the text moved on by one token.

    Args:
        module: The model, with its head where there is one: that knows how its family begins.
        name: Of the model.
        labels: The text as the tokenizer gives it, with what closes it.

    Returns:
        As many tokens as labels: the first one is the family's own, and the last label is predicted, never read.
    """
    import torch

    if hasattr(module, "prepare_decoder_input_ids_from_labels"):
        moved = module.prepare_decoder_input_ids_from_labels(torch.tensor([list(labels)], device=input_device(module)))
        return moved[0].tolist()
    return [first_decoder_token(module, name), *list(labels)[:-1]]


def write_greedily(
    writer: Any,
    inputs: Sequence[Int[np.ndarray, " token"]],
    pad_id: int,
    wrote: Callable[[int], None] = lambda done: None,
) -> list[list[int]]:
    """What the decoder reads while the model writes: always the likeliest token, `MOST_WRITTEN` of them at most.

    Args:
        writer: The model with its language-model head.
        inputs: Token ids of every text, without padding.
        pad_id: Fills shorter texts up.
        wrote: Told how many texts are done.

    Returns:
        For each text the first token of the decoder and what the model wrote, but for the last token, which closes the
        text and is never read.
    """
    import torch

    written: dict[int, list[int]] = {}
    order = sorted(range(len(inputs)), key=lambda i: -len(inputs[i]))
    while order:
        size = max(1, WRITTEN_TOGETHER // (len(inputs[order[0]]) + MOST_WRITTEN))
        some, order = order[:size], order[size:]
        longest = len(inputs[some[0]])
        ids = torch.full((len(some), longest), pad_id, device=input_device(writer))
        mask = torch.zeros_like(ids)
        for row, number in enumerate(some):
            ids[row, : len(inputs[number])] = torch.from_numpy(inputs[number].astype(np.int64))
            mask[row, : len(inputs[number])] = 1
        with torch.inference_mode():
            found = writer.generate(
                input_ids=ids, attention_mask=mask, do_sample=False, num_beams=1, max_new_tokens=MOST_WRITTEN
            )
        ends = _closing_ids(writer)
        written |= {number: _read(row, ends) for number, row in zip(some, found.tolist(), strict=True)}
        wrote(len(written))
    return [written[number] for number in range(len(inputs))]


def continue_greedily(
    writer: Any,
    inputs: Sequence[Int[np.ndarray, " token"]],
    n_new: int,
    wrote: Callable[[int], None] = lambda done: None,
) -> list[list[int]]:
    """What a decoder writes behind each text: always the likeliest token, `n_new` of them at most.

    Args:
        writer: The model with its language-model head.
        inputs: Token ids of every text, without padding.
        n_new: At least 1.
        wrote: Told how many texts are done.

    Returns:
        The written tokens of each text, without the one that closes it; texts of one length are written together, so
        that nothing is padded.
    """
    import torch

    written: dict[int, list[int]] = {}
    ends, by_length = _closing_ids(writer), {}
    for number, ids in enumerate(inputs):
        by_length.setdefault(len(ids), []).append(number)
    for length, numbers in by_length.items():
        size = max(1, WRITTEN_TOGETHER // (length + n_new))
        for some in (numbers[first : first + size] for first in range(0, len(numbers), size)):
            ids = torch.from_numpy(np.stack([inputs[number] for number in some]).astype(np.int64)).to(
                input_device(writer)
            )
            with torch.inference_mode():
                found = writer.generate(
                    input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=1,
                    max_new_tokens=n_new,
                )  # fmt: skip
            for number, row in zip(some, found[:, length:].tolist(), strict=True):
                closed = next((place for place, token in enumerate(row) if token in ends), len(row))
                written[number] = row[:closed]
            wrote(len(written))
    return [written[number] for number in range(len(inputs))]


def write_for(writer: Any, name: str, arrays: dict[str, np.ndarray], longest: int | None = None) -> list[int]:
    """What the decoder reads while the model writes of one sound or image: always the likeliest token.

    Args:
        writer: The model with its language-model head.
        name: Of the model.
        arrays: What its encoder reads, without the batch axis.
        longest: Tokens that the decoder can read at most.

    Returns:
        The first tokens of the decoder and what the model wrote, `MOST_WRITTEN` tokens at most, but for the last one.
    """
    import torch

    tensors = {key: torch.from_numpy(np.ascontiguousarray(array))[None] for key, array in arrays.items()}
    dtype, device = writer.dtype, input_device(writer)
    tensors = {key: value.to(device, dtype if value.is_floating_point() else None) for key, value in tensors.items()}
    most = MOST_WRITTEN if longest is None else max(1, min(MOST_WRITTEN, longest - MOST_PROMPTED))
    with torch.inference_mode():
        row = writer.generate(**tensors, do_sample=False, num_beams=1, max_new_tokens=most)[0].tolist()
    first = first_decoder_token(writer, name)
    return _read(row if row[0] == first else [first, *row], _closing_ids(writer))


def _read(row: list[int], ends: set[int]) -> list[int]:
    closed = next((place for place, token in enumerate(row) if place and token in ends), len(row) - 1)
    return row[: max(closed, 1)]


def _closing_ids(writer: Any) -> set[int]:
    found = getattr(writer.generation_config, "eos_token_id", None)
    return set(found) if isinstance(found, list) else {found}
