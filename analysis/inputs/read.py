"""Read a file, a folder or a bundled name into rows, without a model."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

from analysis.errors import InputError, printable
from analysis.inputs.image_files import check_image
from analysis.inputs.media_files import path_inside, read_bytes, read_file
from analysis.inputs.media_folder import list_media, media_of
from analysis.inputs.records import (
    AUDIO,
    TEXT,
    VISION,
    ImageSource,
    RawData,
    Row,
    Skipped,
    SoundSource,
    Table,
    Unreadable,
)  # fmt: skip
from analysis.inputs.rows import MAX_CHARACTERS, clean, open_table
from analysis.inputs.sound_files import open_sound
from analysis.inputs.user_columns import make_user_columns

_DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
BUNDLED_DATA = {"demo-sentences": _DEMO / "sentences.csv", "demo-scenes": _DEMO / "scenes.csv"}

_COLUMN_OF = {TEXT: "text", AUDIO: "audio", VISION: "image"}
_PLURAL = {VISION: "images", AUDIO: "sounds"}
_ONE = {VISION: "an image", AUDIO: "a sound"}
_PEEKED_ROWS = 1_000
_OBJECT = re.compile(r"[0-9]{1,9}")


def read_data(
    data: str | PathLike[str], *, limit: int | None = None, seed: int = 0, modality: str | None = None
) -> RawData:
    """Read texts, images or sounds with their extra columns; nothing is encoded or tokenised yet.

    Args:
        data: A bundled name; a .txt file (one input a line), a .csv, .tsv, .jsonl or .parquet file with a column
            ``text``, ``image`` or ``audio`` (paths relative to the file, inside its folder); an image or a WAV file;
            or a folder of images or of WAV files, sub-folders of one level giving a column ``label``.
        limit: Stop after this many inputs: the first of a file; of a folder with sub-folders, one from each in turn.
        seed: Not used: the first rows are taken, so that the same call reads the same rows everywhere.
        modality: ``text``, ``vision`` or ``audio``, for data with several of these columns; by default the images, else
            the sounds.

    Returns:
        The readable rows; rows and files that cannot be read are listed in `skipped`. Of a table with a column
        ``image`` and a column ``text`` the images, with the texts beside them (`RawData.texts`).

    Raises:
        InputError: There is no such data, it has no such column, or not one row can be read.
    """
    if limit is not None and limit < 1:
        raise InputError(f"The limit on inputs is {limit}; give a number from 1 up, or none.")
    name, path = _locate(data)
    if (media := media_of(path)) is not None:
        return _read_media(name, path, limit, media, modality)
    try:
        return _read_table(name, path, open_table(path), limit, modality)
    except OSError as error:
        raise InputError(f"{name} cannot be opened ({error.strerror or error}).") from error


def _locate(data: str | PathLike[str]) -> tuple[str, Path]:
    text = str(data)
    if text in BUNDLED_DATA:
        path = BUNDLED_DATA[text]
        if not path.is_file():
            raise InputError(f"The bundled data {text} is missing from this installation; clone the repository anew.")
        return text, path
    try:
        path = Path(text).expanduser()
        if path.is_dir():
            return printable(path.resolve().name) or "folder", path
        if path.is_file():
            if path.stat().st_size == 0:
                raise InputError(f"{printable(path.name)} is empty; give a file with at least one input.")
            return printable(path.name), path
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{text[:200]!r} is not a path that can be opened.") from error
    bundled = ", ".join(BUNDLED_DATA)
    raise InputError(
        f"There is no data at {text[:200]!r}; give a file, a folder of images or a bundled name ({bundled})."
    )


def _read_media(name: str, path: Path, limit: int | None, media: str, modality: str | None) -> RawData:
    """Images or sounds by themselves or in a folder."""
    if modality not in (None, media):
        column = _COLUMN_OF[modality]
        raise InputError(
            f"{name} holds {_PLURAL[media]}, and {column}s are needed: give a table with a column {column}."
        )
    listing = list_media(path, media) if path.is_dir() else None
    source_of = SoundSource if media == AUDIO else ImageSource
    candidates = listing.files if listing else [(source_of(printable(path.name), path), None)]
    skipped = list(listing.skipped) if listing else []
    kept: list[tuple[ImageSource | SoundSource, str | None, bytes]] = []
    for source, label in candidates:
        if limit is not None and len(kept) == limit:
            break
        try:
            kept.append((source, label, _fingerprint(source)))
        except Unreadable as reason:
            skipped.append(Skipped(source.name, str(reason)))
    kept.sort(key=lambda item: item[0].name)
    sources = [source for source, _, _ in kept]
    one = _PLURAL[media][:-1]
    _refuse_if_none(name, sources, skipped, f"no {one}" if listing else f"no {one} that can be read")
    columns, notes = make_user_columns([{"label": label} for _, label, _ in kept], used=())
    notes = (listing.notes if listing else []) + notes
    prints = [fingerprint for _, _, fingerprint in kept]
    return RawData(
        name, media, sources, [source.name for source in sources], columns, skipped, notes, _hash(prints, columns)
    )


def _read_table(name: str, path: Path, table: Table, limit: int | None, modality: str | None) -> RawData:
    columns, rows = _peek(table)
    modality, column = _pick_column(name, columns, table, modality)
    known = {spelled.casefold(): spelled for spelled in columns}
    mask, mask_labels = known.get("mask"), known.get("mask_labels")
    beside = known.get("text") if modality == VISION else None
    kept, names, cells_kept, prints, texts = [], [], [], [], []
    n_blank = n_replaced = 0
    for row_name, cells in rows:
        if limit is not None and len(kept) == limit:
            break
        value = cells.get(column)
        if value is None or (isinstance(value, str) and not value.strip()):
            n_blank += 1
            continue
        try:
            if modality == TEXT:
                item, was_replaced = _text_cell(value)
                n_replaced += was_replaced
                fingerprint = item.encode()
            elif modality == AUDIO:
                item = _sound_cell(path.parent, row_name, value)
                fingerprint = _fingerprint(item)
            else:
                item = _image_cell(path.parent, row_name, value, cells.get(mask), cells.get(mask_labels))
                fingerprint = _fingerprint(item)
                if beside is not None:
                    texts.append(_text_cell("" if cells.get(beside) is None else cells[beside])[0])
        except Unreadable as reason:
            table.skipped.append(Skipped(_row_label(row_name, value), str(reason)))
            continue
        kept.append(item)
        names.append(row_name)
        cells_kept.append(cells)
        prints.append(fingerprint)
    _refuse_if_none(name, kept, table.skipped, "no input")
    used = {column} | ({mask, mask_labels} if modality == VISION else set())
    user, notes = make_user_columns(cells_kept, used)
    if n_blank:
        one = n_blank == 1
        rows = "row" if one else "rows"
        blank = f"blank {'line' if one else 'lines'}" if modality == TEXT else f"{rows} without {_ONE[modality]}"
        notes.append(f"{n_blank:,} {blank} {'was' if one else 'were'} left out.")
    if n_replaced:
        notes.append(f"{n_replaced:,} of {len(kept):,} texts held bytes that are not UTF-8, shown as \ufffd.")
    return RawData(
        name, modality, kept, names, user, table.skipped, notes, _hash(prints, user), None if beside is None else texts
    )


def _peek(table: Table) -> tuple[list[str], Iterator[Row]]:
    """Column names: the header, or those of the rows up to the first with a text or image."""
    if table.columns is not None:
        return table.columns, table.rows
    first: list[Row] = []
    for row in itertools.islice(table.rows, _PEEKED_ROWS):
        first.append(row)
        if {str(name).strip().casefold() for name in row[1]} & set(_COLUMN_OF.values()):
            break
    return list(dict.fromkeys(name for _, cells in first for name in cells)), itertools.chain(first, table.rows)


def _pick_column(name: str, columns: list[str], table: Table, modality: str | None) -> tuple[str, str]:
    """The modality and the column that holds it, as the file spells it."""
    known = {spelled.strip().casefold(): spelled for spelled in columns}
    wanted = [modality] if modality else [VISION, AUDIO, TEXT]
    for candidate in wanted:
        if _COLUMN_OF[candidate] in known:
            return candidate, known[_COLUMN_OF[candidate]]
    if not columns and table.skipped:
        _refuse_if_none(name, [], table.skipped, "no input")
    found = ", ".join(repr(spelled[:60]) for spelled in columns[:20]) or "none"
    needed = _COLUMN_OF[modality] if modality else "text, image or audio"
    raise InputError(f"{name} has no column {needed}; it has: {found}. Name the column in the first row.")


def _text_cell(value: object) -> tuple[str, bool]:
    if isinstance(value, int | float):
        value = str(value)
    if not isinstance(value, str):
        raise Unreadable(f"the text is a {type(value).__name__}")
    if len(value) > MAX_CHARACTERS:
        raise Unreadable(f"{len(value):,} characters; at most {MAX_CHARACTERS:,} are read")
    if "\0" in value:
        raise Unreadable("holds a NUL character: not text, or not UTF-8")
    return clean(value)


def _image_cell(folder: Path, row_name: str, value: object, mask: object, mask_labels: object) -> ImageSource:
    """An image path, or bytes as data sets in Parquet hold them (plain, or in a struct of bytes and path)."""
    details = dict(_mask_cell(folder, mask), mask_names=_mask_names(mask_labels))
    if isinstance(value, dict) and value.get("bytes"):
        return ImageSource(printable(str(value.get("path") or row_name)), content=_bytes(value, "image"), **details)
    if isinstance(value, dict):
        value = value.get("path")
    if isinstance(value, bytes):
        return ImageSource(row_name, content=value, **details)
    if not isinstance(value, str):
        raise Unreadable(f"the image is a {type(value).__name__}, not a path")
    return ImageSource(printable(value.strip()), path_inside(folder, value.strip()), **details)


def _sound_cell(folder: Path, row_name: str, value: object) -> SoundSource:
    """A path of a sound, or bytes as data sets in Parquet hold them."""
    if isinstance(value, dict) and value.get("bytes"):
        return SoundSource(printable(str(value.get("path") or row_name)), content=_bytes(value, "sound"))
    if isinstance(value, dict):
        value = value.get("path")
    if isinstance(value, bytes):
        return SoundSource(row_name, content=value)
    if not isinstance(value, str):
        raise Unreadable(f"the sound is a {type(value).__name__}, not a path")
    return SoundSource(printable(value.strip()), path_inside(folder, value.strip()))


def _bytes(value: dict, what: str) -> bytes:
    if not isinstance(value["bytes"], bytes):
        raise Unreadable(f"the bytes of the {what} are a {type(value['bytes']).__name__}: only Parquet can hold bytes")
    return value["bytes"]


def _mask_cell(folder: Path, mask: object) -> dict:
    if not isinstance(mask, str) or not mask.strip():
        return {}
    try:
        return {"mask": path_inside(folder, mask.strip())}
    except Unreadable as reason:
        return {"mask_problem": str(reason)}


def _mask_names(labels: object) -> dict[int, str]:
    """A list (or an object with numbers as keys) of names, possibly as JSON text; anything else names nothing."""
    if isinstance(labels, str):
        try:
            labels = json.loads(labels)
        except (ValueError, RecursionError):
            return {}
    if isinstance(labels, dict):
        return {int(number): str(name) for number, name in labels.items() if _OBJECT.fullmatch(str(number))}
    return {number: str(name) for number, name in enumerate(labels)} if isinstance(labels, list) else {}


def _row_label(row_name: str, value: object) -> str:
    return f"{row_name} ({printable(value.strip()[:80])})" if isinstance(value, str) else row_name


def _fingerprint(source: ImageSource | SoundSource) -> bytes:
    """Check the header and hash the content of an image and of its mask; decode a sound and hash its content."""
    if isinstance(source, SoundSource):
        content = read_bytes(source)
        open_sound(content)
        return hashlib.sha256(content).digest()
    content = read_bytes(source)
    check_image(content)
    digest = hashlib.sha256(content)
    if source.mask is not None and source.mask.is_file():
        digest.update(read_file(source.mask))
    return digest.digest()


def _hash(prints: list[bytes], columns: dict[str, list]) -> str:
    digest = hashlib.sha256()
    for content in prints:
        digest.update(len(content).to_bytes(8, "little") + content)
    digest.update(json.dumps(columns, ensure_ascii=False).encode())
    return f"sha256:{digest.hexdigest()}"


def _refuse_if_none(name: str, kept: list, skipped: list[Skipped], nothing: str) -> None:
    if kept:
        return
    if not skipped:
        raise InputError(f"{name} holds {nothing}; give data with at least one.")
    first = skipped[0]
    raise InputError(
        f"{name} holds {nothing} that can be read: {len(skipped):,} left out, "
        f"the first ({first.name}) because {first.reason}."
    )
