"""The inputs of a run encoded once more for its model, and what the model's answer is held against."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

from analysis.errors import InputError, RunError
from analysis.progress import Progress, Report, silent

if TYPE_CHECKING:
    import pandas as pd

    from analysis.capture.answers import Question
    from analysis.inputs import Inputs, RawData
    from analysis.models import HeadedModel
    from analysis.store import Run

MASKED_SHARE = 0.15
"""Of the ordinary tokens of a text, for models that predict masked ones (Devlin et al. 2019)."""

_OWN_COLUMNS = {"input_id", "text", "name", "image", "width", "height", "n_tokens", "n_cut"}


def ask(run: Run, model: str | Path | None, data: str | Path | None, seed: int, report: Report = silent) -> Questions:
    """Load the run's model with its head, and the run's inputs.

    Args:
        model: See `load_run_model`.
        data: See `Questions`.
        seed: See `Questions`.
        report: Told what is being loaded.
    """
    from analysis.pipeline.new_input import load_run_model

    report(Progress("load", message=f"Loading {run.manifest.get('model')}"))
    loaded: HeadedModel = load_run_model(run, model, with_head=True)
    report(Progress("encode", message=f"Encoding {run.manifest.get('n_inputs'):,} inputs"))
    return Questions(run, loaded, data, seed)


class Questions:
    """What to ask the model of each input of a run.

    Args:
        run: Its inputs.
        model: The run's model.
        data: The data the run was made of, for images of data that does not come with the project.
        seed: Of the masks.

    Attributes:
        model: The run's model.
        truth: What the answers are held against, in words; empty where the model has no head.

    Raises:
        InputError: The images are not here, or are others than the run's.
    """

    def __init__(self, run: Run, model: HeadedModel, data: str | Path | None = None, seed: int = 0) -> None:
        from analysis.inputs import encode
        from analysis.models import CLASS, MASKED_TOKEN, NEXT_TOKEN

        self.model, self._seed = model, seed
        self.inputs: Inputs = encode(_raw_again(run, data), model)
        _check_same(run, self.inputs)
        self.of_input = dict(tuple(self.inputs.tokens.groupby("input_id", sort=True)))
        self._classes = None
        self.truth = ""
        if model.predicts == NEXT_TOKEN:
            self.truth = "the next token of the text"
        elif model.predicts == MASKED_TOKEN:
            self.truth = f"the token that was masked ({MASKED_SHARE:.0%} of the ordinary ones, seed {seed})"
        elif model.predicts == CLASS:
            column, self._classes = true_classes(self.inputs.inputs, model.class_names)
            self.truth = f"the class in the column {column}" if column else "the class the model finds likeliest"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results should know of the model."""
        why = self.model.no_head
        return (f"{why} Only the states of the model are compared, not its predictions.",) if why else ()

    def lengths(self, input_ids: Iterable[int]) -> Int[np.ndarray, " input"]:
        """Tokens of these inputs."""
        return np.array([self.inputs.n_tokens(input_id) for input_id in input_ids])

    def question(self, input_id: int) -> Question:
        """What to ask of one input."""
        from analysis.capture.answers import Question
        from analysis.models import CLASS, MASKED_TOKEN, NEXT_TOKEN

        tensors, tokens = self.inputs.tensors(input_id), self.of_input[input_id]
        asked = {"tensors": tensors, "n_tokens": len(tokens), "groups": self.groups(input_id)}
        ordinary = np.flatnonzero(~tokens["is_special"].to_numpy(bool))
        if self.model.predicts == CLASS:
            truth = None if self._classes is None else self._classes[input_id : input_id + 1]
            return Question(**asked, targets=truth)
        if self.model.predicts == NEXT_TOKEN:
            later = ordinary[ordinary > 0]
            ids = tensors["input_ids"].astype(np.int64)
            return Question(**asked, positions=later - 1, targets=ids[later])
        if self.model.predicts == MASKED_TOKEN:
            chosen = masked_positions(ordinary, np.random.default_rng([self._seed, input_id]))
            ids = tensors["input_ids"].astype(np.int64)
            masked = ids.copy()
            masked[chosen] = self.model.processor.mask_token_id
            asked["tensors"] = {**tensors, "input_ids": masked}
            return Question(**asked, positions=chosen, targets=ids[chosen])
        return Question(**asked)

    def groups(self, input_id: int) -> dict[str, Bool[np.ndarray, " token"]]:
        """Tokens whose states are compared together: CLS, where there is one, and patches or all other tokens."""
        tokens = self.of_input[input_id]
        is_special = tokens["is_special"].to_numpy(bool)
        if self.model.modality == "vision":
            is_cls = is_special & (tokens["text"] == "CLS").to_numpy()
            groups = {"cls": is_cls, "patch": ~is_special}
        else:
            is_cls = np.zeros(len(tokens), dtype=bool)
            cls_id = getattr(self.model.processor, "cls_token_id", None)
            is_cls[0] = cls_id is not None and int(self.inputs.tensors(input_id)["input_ids"][0]) == cls_id
            groups = {"cls": is_cls, "token": ~is_cls}
        return {name: of_group for name, of_group in groups.items() if of_group.any()}

    def part(self, input_id: int, part: str) -> Bool[np.ndarray, " token"]:
        """The rows of CLS, or of the patches.

        Raises:
            InputError: The model has no CLS token.
        """
        groups = self.groups(input_id)
        name = {"cls": "cls", "patches": "patch"}[part]
        if name not in groups:
            raise InputError(f"{self.model.name} has no CLS token: leave out --part cls.")
        return groups[name]

    def ring(self, input_id: int, distance: int) -> Bool[np.ndarray, "query key"]:
        """True where query and key are patches at this Chebyshev distance."""
        tokens = self.of_input[input_id]
        row, column = (tokens[name].astype("Float64").to_numpy(float, na_value=np.nan) for name in ("row", "column"))
        return ring_of(row, column, distance)


def ring_of(row: np.ndarray, column: np.ndarray, distance: int) -> Bool[np.ndarray, "query key"]:
    """True where query and key lie at this Chebyshev distance in patches; NaN places lie nowhere."""
    apart = np.maximum(np.abs(row[:, None] - row[None, :]), np.abs(column[:, None] - column[None, :]))
    return apart == distance


def masked_positions(ordinary: Int[np.ndarray, " token"], rng: np.random.Generator) -> Int[np.ndarray, " masked"]:
    """Positions to mask, rising: `MASKED_SHARE` of the ordinary tokens, at least one where there is any."""
    n_masked = max(round(MASKED_SHARE * len(ordinary)), min(len(ordinary), 1))
    return np.sort(rng.choice(ordinary, n_masked, replace=False)) if n_masked else ordinary


def true_classes(inputs: pd.DataFrame, class_names: dict[int, str]) -> tuple[str, Int[np.ndarray, " input"] | None]:
    """The user column that names a class of the model for every input that has a value in it.

    Names are compared without regard to case, spaces and underscores; of a class with several names divided by commas
    any will do.

    Returns:
        The first such column, and the class of every input, -1 where the column is empty; nothing where there is none.
    """
    known = {}
    for number, names in class_names.items():
        for name in (names, *names.split(",")):
            known.setdefault(_plain(name), number)
    for column in inputs.columns.difference(list(_OWN_COLUMNS), sort=False):
        values = inputs[column]
        given = values.notna() & (values.astype(str).str.strip() != "")
        found = values[given].map(lambda value: known.get(_plain(value)) if isinstance(value, str) else None)
        if given.any() and found.notna().all():
            classes = np.full(len(inputs), -1, dtype=np.int64)
            classes[given.to_numpy()] = found.to_numpy(dtype=np.int64)
            return str(column), classes
    return "", None


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _raw_again(run: Run, data: str | Path | None) -> RawData:
    """The rows of the run's data: its own stored texts, or the images read again."""
    from analysis.inputs import RawData, read_data
    from analysis.inputs.read import BUNDLED_DATA

    manifest = run.manifest
    if run.modality == "text":
        inputs = run.inputs()
        columns = {name: inputs[name].tolist() for name in inputs if name not in _OWN_COLUMNS}
        names = [f"input {number}" for number in inputs["input_id"]]
        return RawData(
            str(manifest["data"]), "text", inputs["text"].tolist(), names, columns, [], [], str(manifest["data_hash"])
        )
    if data is None and manifest["data"] not in BUNDLED_DATA:
        raise InputError(
            f"Run {run.run_id} holds only small copies of its images: give the data it was made of "
            f"({manifest['data']}) again, with --data."
        )
    limit = (manifest.get("spec") or {}).get("limit")
    return read_data(manifest["data"] if data is None else data, limit=limit, modality="vision")


def _check_same(run: Run, inputs: Inputs) -> None:
    if inputs.data_hash != run.manifest["data_hash"]:
        raise InputError(
            f"{inputs.data_name} holds other images or columns than run {run.run_id} was made of: give the data as it "
            "was, or extract the run again."
        )
    expected = run.inputs()["n_tokens"].to_numpy()
    if not np.array_equal(inputs.inputs["n_tokens"].to_numpy(), expected):
        raise RunError(
            f"The inputs of run {run.run_id} give other tokens than when it was made: extract the run again with this "
            "version."
        )
