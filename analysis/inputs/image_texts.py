"""A picture and a text in one input: the tokens of the vision tower, and those of the language model behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from analysis.errors import InputError, ModelError, first_line
from analysis.inputs.chat import (
    ANSWER,
    IMAGE,
    SYSTEM,
    TEMPLATE,
    USER,
    Prompt,
    Said,
    Span,
    chat_prompt,
    has_template,
    plain_prompt,
)
from analysis.inputs.image_files import open_image
from analysis.inputs.image_tokens import picture_bytes
from analysis.inputs.media_files import read_bytes
from analysis.inputs.patch_columns import PATCH_COLUMNS
from analysis.inputs.picture_grid import BOX, language_tokens, see_crops, tower_tokens
from analysis.inputs.records import CATEGORICAL, SEQUENTIAL, ColumnInfo, ImageSource, RawData, Skipped, Unreadable
from analysis.inputs.table import EncodedRows, nullable, position_columns
from analysis.inputs.text_tokens import TEXT_COLUMNS, TokenArrays, describe, special_ids
from analysis.types import IMAGE_PART, TEXT_PART

if TYPE_CHECKING:
    from analysis.models import LoadedModel

_COLUMNS = [
    ColumnInfo("span", CATEGORICAL, "", "Whose words: system, user, image, answer, or the template round them."),
    ColumnInfo("sequence", CATEGORICAL, "", "Tokens of the vision tower (image), or of the language model (text)."),
    ColumnInfo("position", SEQUENTIAL, "tokens", "Place in the input: the tower's tokens, then the language model's."),
    ColumnInfo("position_share", SEQUENTIAL, "0 to 1", "Place in its own sequence: 0 the first token, 1 the last."),
    ColumnInfo("position_from_end", SEQUENTIAL, "tokens", "Tokens that follow in its own sequence; the last has 0."),
]
_CROP = ColumnInfo("crop", CATEGORICAL, "", "Which part of the picture, by row and column, or the whole made small.")
_COLOURS = ("hue", "saturation", "luminance", "edge_energy")


@dataclass(frozen=True)
class _Row:
    """One input.

    Attributes:
        shown: The text without the picture's placeholders, which token places count in.
        image_places: Which tokens of the text are the picture's.
    """

    source: ImageSource
    prompt: Prompt
    shown: str
    ids: np.ndarray
    start: np.ndarray
    end: np.ndarray
    special: np.ndarray
    span: np.ndarray
    image_places: np.ndarray
    tower: pd.DataFrame
    patches: pd.DataFrame
    picture: Image.Image


Order = Callable[[dict[str, np.ndarray]], np.ndarray]


def encode_image_texts(
    raw: RawData, model: LoadedModel, max_tokens: int | None, order: Order | None = None
) -> EncodedRows:
    """Describe every row as a language model that sees is given it.

    With a chat template a row is a turn of the user: the picture and the words of the column ``text``; the column
    ``system`` goes before it and the column ``target`` behind it as the assistant's answer. Without a template the text
    is put behind the picture, and the answer behind that.

    Args:
        raw: Rows of images with their texts.
        model: A language model that sees.
        max_tokens: Longest text in tokens, the picture's counted; longer rows are left out.
        order: See `analysis.inputs.encode`.

    Raises:
        InputError: No row can be used.
    """
    columns = {name.casefold(): name for name in raw.user_columns}
    rows, kept, skipped = [], [], []
    order = None if order is None else _by_grid(order)
    for index, source in enumerate(raw.rows):
        said = Said(
            raw.texts[index], *(_cell(raw, columns.get(name), index) for name in ("system", "target"))
        )  # fmt: skip
        try:
            row = _read(source, said, model, order)
            if max_tokens is not None and len(row.ids) > max_tokens:
                raise Unreadable(f"{len(row.ids):,} tokens with its picture; the model reads at most {max_tokens:,}")
        except (Unreadable, ModelError) as reason:
            skipped.append(Skipped(source.name, str(reason)))
            continue
        rows.append(row)
        kept.append(index)
    if not rows:
        raise InputError(
            f"No row of {raw.name} can be given to {model.name}: {len(skipped):,} left out, the first "
            f"({skipped[0].name}) because {skipped[0].reason}."
        )
    used = [columns[name] for name in ("user_text", "system", "target") if name in columns]
    raw.notes[:] = [note for note in raw.notes if not note.endswith("is called 'user_text' here.")]
    tokens = _described(rows, model.processor)
    has_crops = bool((tokens["crop"] != "").any())
    own = {column.name for column in _COLUMNS}
    texts = [column for column in TEXT_COLUMNS if column.name not in own]
    patches = [column for column in PATCH_COLUMNS if column.name != "object"]
    return EncodedRows(
        kept=np.array(kept),
        starts=np.concatenate([[0], np.cumsum([len(row.tower) + len(row.ids) for row in rows])]).astype(np.int64),
        inputs=_inputs(rows),
        tokens=tokens if has_crops else tokens.drop(columns="crop"),
        columns=[*_COLUMNS, *([_CROP] if has_crops else []), *texts, *patches],
        skipped=skipped,
        notes=[_how(model, columns), *_no_places(rows)],
        read_tensors=_tensor_reader(rows, model),
        used_columns=tuple(used),
    )


def _cell(raw: RawData, column: str | None, index: int) -> str:
    value = None if column is None else raw.user_columns[column][index]
    return "" if value is None else str(value)


def _by_grid(order: Order) -> Order:
    """The same, asked once for every grid of patches."""
    known: dict[tuple[int, ...], np.ndarray] = {}

    def of(arrays: dict[str, np.ndarray]) -> np.ndarray:
        grid = tuple(np.ravel(arrays["image_grid_thw"]).tolist())
        if grid not in known:
            known[grid] = order(arrays)
        return known[grid]

    return of


def _read(source: ImageSource, said: Said, model: LoadedModel, order: Order | None) -> _Row:
    """One row through the processor.

    Raises:
        Unreadable: The picture is damaged, or the processor fails on it.
        ModelError: The tower's tokens of the picture are no grid.
    """
    processor = model.sees_with
    prompt = chat_prompt(processor, said) if has_template(processor) else plain_prompt(processor, said)
    image = open_image(read_bytes(source))
    made, (old, new, picture) = _with_picture(image, prompt, model)
    arrays = _arrays(made)
    whole = prompt.text[: old[0]] + picture + prompt.text[old[1] :]
    ids, start, end, special = _tokenised(whole, prompt, model.processor)
    if not np.array_equal(ids, arrays["input_ids"]):
        raise Unreadable("the processor of the model makes other tokens of its text than its tokenizer does")
    spans = [Span(*(_moved(at, old, new) for at in span[:2]), span.name) for span in prompt.spans]
    names = np.full(len(ids), TEMPLATE, dtype=object)
    for span in spans:
        names[(start < span.end) & (end > span.start) & (end > start)] = span.name
    is_image = ids == model.image_token
    names[is_image] = IMAGE
    inside = (start >= new[0]) & (end <= new[1])
    removed = new[1] - new[0]
    start, end = (np.where(at >= new[1], at - removed, np.minimum(at, new[0])) for at in (start, end))
    no_place = inside | (end <= start)
    seen = see_crops(image, arrays, processor.image_processor, model.tower_layout)
    tower = tower_tokens(seen, model.n_tower_tokens(arrays))
    if order is not None and "image_grid_thw" in arrays:
        tower = tower.iloc[order(arrays)].reset_index(drop=True)
    return _Row(
        source, prompt, prompt.text[: old[0]] + prompt.text[old[1] :], ids, np.where(no_place, -1, start),
        np.where(no_place, -1, end), special & ~is_image, names, is_image,
        tower, language_tokens(seen, int(is_image.sum())), seen.shown,
    )  # fmt: skip


def _with_picture(
    image: Image.Image, prompt: Prompt, model: LoadedModel
) -> tuple[dict[str, Any], tuple[tuple[int, int], tuple[int, int], str]]:
    """What the processor makes of it; where the picture stands in the prompt, where in the text that the model reads,
    and the tokens that stand there: none where the model takes the picture beside its text.

    Raises:
        Unreadable: The processor does not say where.
    """
    if model.image_token < 0:
        return _processed(image, prompt, model.sees_with), ((0, 0), (0, 0), "")
    made = _processed(image, prompt, model.sees_with, return_text_replacement_offsets=True)
    (replaced,) = made.pop("text_replacement_offsets", [None])
    if not replaced or len(replaced) != 1:
        raise Unreadable("the processor of the model does not tell where it puts the picture")
    return made, (replaced[0]["span"], replaced[0]["new_span"], replaced[0]["replacement"])


def _processed(image: Image.Image, prompt: Prompt, processor: Any, **more: Any) -> dict[str, Any]:
    try:
        return dict(
            processor(
                images=[image], text=[prompt.text], return_tensors="np", add_special_tokens=not prompt.has_specials,
                **more,
            )
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, IndexError, ZeroDivisionError) as error:
        raise Unreadable(f"the model's processor fails on it ({first_line(error, 120)})") from error


def _arrays(made: dict[str, Any]) -> dict[str, np.ndarray]:
    """Without the batch axis; pixels that come as a list of patches have none."""
    arrays = {name: np.asarray(value) for name, value in made.items()}
    return {name: value[0] if len(value) == 1 else value for name, value in arrays.items()}


def _tokenised(text: str, prompt: Prompt, tokenizer: Any) -> tuple[np.ndarray, ...]:
    """Ids, first and last character, and whether each is a special token."""
    encoded = tokenizer(
        [text], add_special_tokens=not prompt.has_specials, return_offsets_mapping=True, verbose=False
    )  # fmt: skip
    ids = np.array(encoded["input_ids"][0], dtype=np.int32)
    offsets = np.array(encoded["offset_mapping"][0], dtype=np.int64).reshape(-1, 2)
    return ids, offsets[:, 0], offsets[:, 1], np.isin(ids, special_ids(tokenizer))


def _moved(at: int, old: tuple[int, int], new: tuple[int, int]) -> int:
    """A place in the prompt as one in the text where the placeholder is replaced."""
    return at + (new[1] - new[0]) - (old[1] - old[0]) if at >= old[1] else at


def _described(rows: list[_Row], tokenizer: Any) -> pd.DataFrame:
    """One row a token: of each input the tower's, then the language model's."""
    lengths = [len(row.ids) for row in rows]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    def joined(name: str, kind: type) -> np.ndarray:
        return np.concatenate([getattr(row, name) for row in rows]).astype(kind)

    arrays = TokenArrays(
        joined("ids", np.int32), starts, joined("start", np.int32), joined("end", np.int32), joined("special", bool),
        np.zeros(starts[-1], np.int8), np.zeros(len(rows), np.int32),
    )  # fmt: skip
    is_image = joined("image_places", bool)
    said = describe(arrays, starts, [row.shown for row in rows], tokenizer).assign(
        sequence=TEXT_PART, span=joined("span", object)
    )
    said.loc[is_image, "length"] = pd.NA
    said["word_class"] = said["word_class"].where(~is_image, IMAGE)
    places = pd.concat([row.patches for row in rows], ignore_index=True)
    for name in ("text", "row", "column", "crop", *BOX, *_COLOURS):
        filling = {"row": -1, "column": -1, "crop": ""}.get(name, np.nan)
        values = said["text"].to_numpy(dtype=object) if name == "text" else np.full(len(said), filling, object)
        values[is_image] = places[name].to_numpy(dtype=object)
        said[name] = values
    tower = pd.concat([row.tower for row in rows], ignore_index=True)
    sizes = [len(row.tower) for row in rows]
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    tower = tower.assign(
        sequence=IMAGE_PART, span=IMAGE, word_class=IMAGE, is_word_start=False, segment=np.int8(0),
        **position_columns(ends),
    )  # fmt: skip
    inputs = np.concatenate([np.repeat(np.arange(len(rows)), each) for each in (sizes, lengths)])
    order = np.argsort(inputs, kind="stable")
    return _typed(pd.concat([tower, said], ignore_index=True).iloc[order].reset_index(drop=True), np.bincount(inputs))


def _typed(table: pd.DataFrame, sizes: np.ndarray) -> pd.DataFrame:
    both = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    table = table.assign(position=position_columns(both)["position"])
    for name in ("row", "column"):
        values = table[name].to_numpy(dtype=np.int64)
        table[name] = nullable(values, values < 0)
    for name in ("char_start", "char_end", "length", "frequency"):
        table[name] = table[name].astype("Int32")
    for name in (*BOX, *_COLOURS):
        table[name] = table[name].astype(np.float32)
    for name in ("text", "sequence", "span", "crop", "word_class"):
        table[name] = pd.array(table[name].tolist(), dtype="str")
    return table.assign(
        is_special=table["is_special"].astype(bool), is_word_start=table["is_word_start"].astype(bool),
        segment=table["segment"].astype(np.int8),
    )  # fmt: skip


def _inputs(rows: list[_Row]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "name": [row.source.name for row in rows],
            "text": pd.array([row.shown for row in rows], dtype="str"),
            "image": [picture_bytes(row.picture, len(rows)) for row in rows],
            "width": [row.picture.width for row in rows],
            "height": [row.picture.height for row in rows],
            "n_cut": np.zeros(len(rows), dtype=np.int32),
        }
    )


def _how(model: LoadedModel, columns: dict[str, str]) -> str:
    """How the rows became texts, in a sentence."""
    turns = [
        name for name, column in ((SYSTEM, "system"), (USER, "user_text"), (ANSWER, "target")) if column in columns
    ]
    if has_template(model.sees_with):
        return f"The chat template of the model is filled in with the picture and the words of {', '.join(turns)}."
    words = f"the words of {', '.join(turns)}"
    if model.image_token < 0:
        return f"The model reads {words}, and takes the picture beside them."
    return f"The model has no chat template: its text is the picture, and behind it {words}."


def _no_places(rows: list[_Row]) -> list[str]:
    n = sum(bool(len(row.patches)) and bool((row.patches["row"] < 0).all()) for row in rows)
    return [f"Of {n:,} pictures it is not known where their tokens lie: they are not drawn on them."] if n else []


def _tensor_reader(rows: list[_Row], model: LoadedModel) -> Callable[[int], dict[str, np.ndarray]]:
    sources = [(row.source, row.prompt) for row in rows]

    def read(input_id: int) -> dict[str, np.ndarray]:
        source, prompt = sources[input_id]
        try:
            return _arrays(_processed(open_image(read_bytes(source)), prompt, model.sees_with))
        except Unreadable as reason:
            raise InputError(f"The image {source.name} could be read before and cannot now: {reason}.") from reason

    return read
