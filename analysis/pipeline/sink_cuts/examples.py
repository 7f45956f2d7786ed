"""The predictions that a cut changed most, in words."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.pipeline.sink_cuts.measuring import ANSWER

if TYPE_CHECKING:
    import pandas as pd

    from analysis.models import HeadedModel
    from analysis.store import Run

N_EXAMPLES = 5
"""Inputs that are told of each cut."""

LEAST_CHANGE = 0.005
"""Of probability; smaller changes of an answer are not told, but for the largest."""

CONTEXT_TOKENS = 12
"""Of a text so many tokens in front of a prediction are told, and a third as many behind a masked one."""


def examples(parts: pd.DataFrame, run: Run, model: HeadedModel) -> list[dict[str, Any]]:
    """For each cut the inputs with the largest divergence in one prediction, the largest first.

    Args:
        parts: What `Measuring` kept of every input.
        run: Its texts.
        model: Its words, or the names of its classes.

    Returns:
        Plain values: ``cut, input_id, position`` (of the token whose prediction it is; None for a class), ``context``
        and ``context_after`` (text in front of what is predicted, and behind it where the model sees that), ``truth``
        (text or None), ``kl_bits``, and ``changes``: up to five answers, each ``text, before, after`` with its
        probabilities, the largest change first.
    """
    of_answers = parts[parts["measure"] == ANSWER]
    spell, context, told = _Spelling(model), _Contexts(run, model), []
    for cut, of_cut in of_answers.groupby("cut", sort=False):
        worst = of_cut.groupby("input_id")["kl_bits"].first().sort_values(ascending=False, kind="stable")
        for input_id in worst.index[:N_EXAMPLES]:
            rows = of_cut[of_cut["input_id"] == input_id]
            position, truth = (None if np.any(rows[name].isna()) else int(rows[name].iloc[0]) for name in _NUMBERS)
            told_of = (rows["after"] - rows["before"]).abs() >= LEAST_CHANGE
            told_of.iloc[0] = True
            changes = rows.loc[told_of, ["answer", "before", "after"]].itertuples(index=False)
            told.append(
                {
                    "cut": cut,
                    "input_id": int(input_id),
                    "position": position,
                    **context(int(input_id), position),
                    "truth": None if truth is None else spell(truth),
                    "kl_bits": float(worst[input_id]),
                    "changes": [{"text": spell(row[0]), "before": row[1], "after": row[2]} for row in changes],
                }
            )
    return told


_NUMBERS = ("position", "truth")


class _Spelling:
    """A token or class by its number, as a reader sees it."""

    def __init__(self, model: HeadedModel) -> None:
        self._model, self._known = model, {}

    def __call__(self, number: int) -> str:
        from analysis.inputs.token_text import read_tokens

        number = int(number)
        if number not in self._known:
            if self._model.class_names:
                self._known[number] = self._model.class_names.get(number, str(number))
            else:
                self._known[number] = str(read_tokens(self._model.processor, np.array([number]))[0][0])
        return self._known[number]


class _Contexts:
    """The text in front of a prediction, and behind it where the model sees that too."""

    def __init__(self, run: Run, model: HeadedModel) -> None:
        from analysis.models import NEXT_TOKEN

        self._run, self._is_next = run, model.predicts == NEXT_TOKEN

    @cached_property
    def _texts(self) -> dict[int, str]:
        inputs = self._run.inputs()
        return dict(zip(inputs["input_id"].tolist(), inputs["text"].astype(str).tolist(), strict=True))

    @cached_property
    def _tokens(self) -> dict[int, pd.DataFrame]:
        places = self._run.tokens()[["input_id", "position", "char_start", "char_end"]]
        return dict(tuple(places.sort_values("position").groupby("input_id")))

    def __call__(self, input_id: int, position: int | None) -> dict[str, str]:
        if position is None:
            return {"context": "", "context_after": ""}
        text, tokens = self._texts[input_id], self._tokens[input_id]
        judged = position + 1 if self._is_next else position
        before = tokens.iloc[max(judged - CONTEXT_TOKENS, 0) : judged]
        behind = tokens.iloc[judged + 1 : judged + 1 + CONTEXT_TOKENS // 3]
        return {"context": _text_of(text, before), "context_after": "" if self._is_next else _text_of(text, behind)}


def _text_of(text: str, tokens: pd.DataFrame) -> str:
    starts, ends = tokens["char_start"].dropna(), tokens["char_end"].dropna()
    return text[int(starts.min()) : int(ends.max())] if len(starts) else ""
