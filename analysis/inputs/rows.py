"""Rows of .txt, .csv, .tsv, .jsonl and .parquet files, one at a time, a bad row as a reason and never an exception."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from analysis.errors import InputError
from analysis.inputs.parquet_rows import read_parquet
from analysis.inputs.records import Row, Skipped, Table

MAX_CHARACTERS = 1_000_000
"""Longest cell that is read, in characters. A model reads thousands; more is a file without line ends."""

MAX_ROW_CHARACTERS = 8 * MAX_CHARACTERS

MAX_NAMES = 10_000
"""Columns that a header may name; a line of a million commas is no header."""

_FOREIGN_STARTS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a gzip archive",
    b"PAR1": "a Parquet file",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
}
_SURROGATE = re.compile("[\ud800-\udfff]")


def open_table(path: Path) -> Table:
    """Open a data file by its ending.

    Args:
        path: An existing file ending in .txt, .csv, .tsv, .jsonl, .ndjson or .parquet.

    Raises:
        InputError: The ending is not one of these, or the content is of another kind.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise InputError(
            f"{path.name} cannot be read: its ending is {path.suffix or 'missing'}; "
            f"give a {known} file or a folder of images or sounds."
        )
    return reader(path)


def clean(text: str) -> tuple[str, bool]:
    """Put U+FFFD where a text holds bytes that were not UTF-8 or half a surrogate pair; True if it held any."""
    if not _SURROGATE.search(text):
        return text, False
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), True
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text), True


def _open_text(path: Path, newline: str | None) -> IO[str]:
    """Open as UTF-8 (or UTF-16 where a byte order mark says so); bad bytes become surrogates for `clean` to count."""
    with path.open("rb") as file:
        start = file.read(8)
    for magic, what in _FOREIGN_STARTS.items():
        if start.startswith(magic):
            raise InputError(f"{path.name} is {what}, not text: export it as a .csv or .txt file in UTF-8.")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return path.open(encoding="utf-16", errors="replace", newline=newline)
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def _lines(file: IO[str], skipped: list[Skipped], limit: int) -> Iterator[str]:
    """Lines of at most `limit` characters; a longer one is listed as skipped and given as an empty line."""
    number = 0
    while line := file.readline(limit + 2):
        number += 1
        length, rest = len(line), line
        while rest and not rest.endswith(("\n", "\r")):
            rest = file.readline(1 << 20)
            length += len(rest)
        if length > limit + 2:
            skipped.append(Skipped(f"line {number}", _too_long(length, limit)))
            line = "\n"
        yield line


def _too_long(length: int, limit: int) -> str:
    return f"{length:,} characters without a line end; at most {limit:,} are read. Put one input on a line."


def _read_txt(path: Path) -> Table:
    table = Table(["text"], iter(()))

    def rows() -> Iterator[Row]:
        with _open_text(path, None) as file:
            for number, line in enumerate(_lines(file, table.skipped, MAX_CHARACTERS), start=1):
                yield f"line {number}", {"text": line.rstrip("\n")}

    table.rows = rows()
    return table


def _read_delimited(path: Path) -> Table:
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_CHARACTERS))
    with _open_text(path, "") as file:
        header_line = file.readline(MAX_ROW_CHARACTERS)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _find_delimiter(header_line)
    table = Table([], iter(()))
    file = _open_text(path, "")
    lines = _lines(file, table.skipped, MAX_ROW_CHARACTERS)
    quoting = csv.QUOTE_NONE if delimiter == "\t" and not _quotes_balance(path) else csv.QUOTE_MINIMAL
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    names = _next_cells(reader, table.skipped) or []
    if len(names) > MAX_NAMES:
        file.close()
        raise InputError(
            f"{path.name} has {len(names):,} columns in its first row; at most {MAX_NAMES:,} are read: keep those that "
            "are needed."
        )
    table.columns = _unique_names(names)
    table.rows = _delimited_rows(file, reader, table)
    return table


def _quotes_balance(path: Path) -> bool:
    """False for the many tab-separated files that use no quoting, where a quotation mark is just a character."""
    with _open_text(path, "") as file:
        try:
            for _ in csv.reader(_lines(file, [], MAX_ROW_CHARACTERS), delimiter="\t", strict=True):
                pass
        except csv.Error:
            return False
    return True


def _delimited_rows(file: IO[str], reader: Iterator[list[str]], table: Table) -> Iterator[Row]:
    with file:
        number = 0
        while (cells := _next_cells(reader, table.skipped)) is not None:
            if not cells:
                continue
            number += 1
            if len(cells) > len(table.columns):
                reason = f"{len(cells)} cells under {len(table.columns)} column names"
                table.skipped.append(Skipped(f"row {number}", f"{reason}; quote a text that holds the separator"))
                continue
            yield f"row {number}", dict(zip(table.columns, cells))


def _next_cells(reader: Iterator[list[str]], skipped: list[Skipped]) -> list[str] | None:
    """The next row that the csv module can split; None at the end."""
    while True:
        try:
            return next(reader, None)
        except csv.Error as error:
            skipped.append(
                Skipped(
                    f"line {reader.line_num}", f"not a row of a table ({error}); double or close its quotation marks"
                )
            )


def _find_delimiter(header: str) -> str:
    """Comma, or the semicolon or tab that spreadsheets of many languages write, whichever yields a known column."""
    for delimiter in ",;\t":
        names = {name.strip().casefold() for name in next(csv.reader([header], delimiter=delimiter), [])}
        if names & {"text", "image", "audio"}:
            return delimiter
    return ","


def _unique_names(names: list[str]) -> list[str]:
    """Header cells as usable names: empty ones numbered, repeated ones given a number."""
    unique: dict[str, None] = {}
    next_number: dict[str, int] = {}
    for index, raw in enumerate(names, start=1):
        cleaned = clean(raw)[0].strip()
        stem, name = cleaned or "column", cleaned or f"column_{index}"
        while name in unique:
            next_number[stem] = next_number.get(stem, 1) + 1
            name = f"{stem}_{next_number[stem]}"
        unique[name] = None
    return list(unique)


def _read_jsonl(path: Path) -> Table:
    table = Table(None, iter(()))

    def rows() -> Iterator[Row]:
        with _open_text(path, None) as file:
            for number, line in enumerate(_lines(file, table.skipped, MAX_ROW_CHARACTERS), start=1):
                if not line.strip():
                    continue
                try:
                    cells = json.loads(line)
                except (ValueError, RecursionError) as error:
                    table.skipped.append(Skipped(f"line {number}", f"not JSON ({str(error)[:120]})"))
                    continue
                if isinstance(cells, dict):
                    yield f"line {number}", cells
                else:
                    table.skipped.append(Skipped(f"line {number}", 'not a JSON object such as {"text": "..."}'))

    table.rows = rows()
    return table


_READERS: dict[str, Callable[[Path], Table]] = {
    ".txt": _read_txt,
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": read_parquet,
}
