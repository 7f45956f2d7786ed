"""Texts as turns of a chat, for a language model that was taught to answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import InputError
from analysis.inputs.chat import TEMPLATE, Prompt, Said, chat_prompt
from analysis.inputs.records import CATEGORICAL, ColumnInfo, RawData, Skipped, Unreadable
from analysis.inputs.table import EncodedRows
from analysis.inputs.text_tokens import TEXT_COLUMNS, TokenArrays, describe, tensor_reader, tokenise

SPAN_COLUMN = ColumnInfo("span", CATEGORICAL, "", "Whose words: system, user, answer, or the template round them.")


def encode_chats(raw: RawData, tokenizer: Any, max_tokens: int | None) -> EncodedRows:
    """Fill in the chat template for every row, and tokenise and describe what comes out.

    A text is the user's turn; the column ``system`` goes before it, the column ``target`` behind it as the answer.

    Args:
        raw: Rows of texts.
        tokenizer: With a chat template.
        max_tokens: Longest input in tokens.

    Raises:
        InputError: The template refuses every row.
    """
    columns = {name.casefold(): name for name in raw.user_columns}
    used = [columns[name] for name in ("system", "target") if name in columns]
    prompts, kept, skipped = [], [], []
    for index, text in enumerate(raw.rows):
        system, answer = (_cell(raw, columns.get(name), index) for name in ("system", "target"))
        try:
            prompts.append(chat_prompt(tokenizer, Said(text, system, answer), has_picture=False))
            kept.append(index)
        except Unreadable as reason:
            skipped.append(Skipped(raw.row_names[index], str(reason)))
    if not prompts:
        raise InputError(f"No row of {raw.name} can be a chat: {skipped[0].reason}. Leave --chat out.")
    texts = [prompt.text for prompt in prompts]
    arrays = tokenise(texts, tokenizer, max_tokens, adds_special=not prompts[0].has_specials)
    return EncodedRows(
        kept=np.array(kept),
        starts=arrays.starts,
        inputs=pd.DataFrame({"text": pd.array(texts, dtype="str"), "n_cut": arrays.n_cut}),
        tokens=describe(arrays, arrays.starts, texts, tokenizer).assign(span=_spans(arrays, prompts)),
        columns=[SPAN_COLUMN, *TEXT_COLUMNS],
        skipped=skipped,
        notes=[f"Every text is the user's turn of a chat{_with(used)}, by the chat template of the model."],
        read_tensors=tensor_reader(arrays, arrays.starts, "token_type_ids" in tokenizer.model_input_names),
        used_columns=tuple(used),
    )


def _cell(raw: RawData, column: str | None, index: int) -> str:
    value = None if column is None else raw.user_columns[column][index]
    return "" if value is None else str(value)


def _with(used: list[str]) -> str:
    return f" (with the columns {' and '.join(used)})" if used else ""


def _spans(arrays: TokenArrays, prompts: list[Prompt]) -> pd.arrays.StringArray:
    names = np.full(len(arrays.ids), TEMPLATE, dtype=object)
    for prompt, first, last in zip(prompts, arrays.starts[:-1], arrays.starts[1:]):
        start, end = arrays.char_start[first:last], arrays.char_end[first:last]
        for span in prompt.spans:
            names[first:last][(start < span.end) & (end > span.start) & (start >= 0)] = span.name
    return pd.array(names.tolist(), dtype="str")
