"""The columns a user's data brings along: names that do not clash with ours, numbers as numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable

from analysis.inputs.records import CATEGORICAL, RESERVED_COLUMNS, SEQUENTIAL, ColumnInfo
from analysis.inputs.rows import clean

MAX_COLUMNS = 50
MAX_TOKEN_CHARACTERS = 200
"""A column with a longer value stays with the inputs: repeated for every token it would dwarf the run."""
MAX_CATEGORIES_OF_NUMBERS = 12

_NUMBER = re.compile(r"[-+]?(0|[1-9]\d*|\d*\.\d+|\d+\.\d*)([eE][-+]?\d+)?")

Value = str | int | float | None


def make_user_columns(rows: list[dict], used: Iterable[str]) -> tuple[dict[str, list[Value]], list[str]]:
    """Columns from rows of cells.

    Args:
        rows: Cells of the rows kept, each its own dict; a missing cell is None.
        used: Columns already taken as text, image or mask.

    Returns:
        Column name to one value a row, and sentences on what was renamed or left out.
    """
    used = set(used)
    found = list(dict.fromkeys(name for row in rows for name in row if name not in used))
    columns: dict[str, list[Value]] = {}
    notes = []
    for raw_name in found[:MAX_COLUMNS]:
        values = _typed([_plain(row.get(raw_name)) for row in rows])
        if all(value is None for value in values):
            continue
        name = _free_name(clean(str(raw_name))[0].replace("\0", "").strip()[:60] or "column", columns)
        if name != raw_name:
            notes.append(f"The column {str(raw_name)[:60]!r} of the data is called {name!r} here.")
        columns[name] = values
    if len(found) > MAX_COLUMNS:
        notes.append(f"Of {len(found)} extra columns the first {MAX_COLUMNS} were kept.")
    return columns, notes


def describe_user_column(name: str, values: list[Value]) -> ColumnInfo:
    """Sequential for numbers of more than 12 different values, else categorical."""
    present = {value for value in values if value is not None}
    is_number = all(not isinstance(value, str) for value in present)
    kind = SEQUENTIAL if is_number and len(present) > MAX_CATEGORIES_OF_NUMBERS else CATEGORICAL
    return ColumnInfo(name, kind, "", f"Column {name} of the data, the same for all tokens of an input.")


def rides_with_tokens(values: list[Value]) -> bool:
    """True when the column is short enough to be repeated for every token."""
    return all(not isinstance(value, str) or len(value) <= MAX_TOKEN_CHARACTERS for value in values)


def _free_name(name: str, taken: Iterable[str]) -> str:
    """A name that no table of ours and no earlier column has, upper and lower case being the same to SQL."""
    known = {other.casefold() for other in taken}
    if name.casefold() in RESERVED_COLUMNS:
        name = f"user_{name}"
    free, count = name, 2
    while free.casefold() in known:
        free, count = f"{name}_{count}", count + 1
    return free


def _plain(value: object) -> Value:
    if value is None or isinstance(value, bool):
        return None if value is None else str(value).lower()
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, dict | list | tuple):
        value = json.dumps(value, ensure_ascii=False, default=str)
    text = clean(str(value))[0].replace("\0", "\ufffd")
    return text if text.strip() else None


def _typed(values: list[Value]) -> list[Value]:
    """Numbers where every value is one (``007`` is not), else text."""
    present = [value for value in values if value is not None]
    if all(isinstance(value, int | float) for value in present):
        return values
    if all(isinstance(value, str) and _NUMBER.fullmatch(value.strip()) for value in present):
        is_whole = all(re.fullmatch(r"[-+]?\d{1,18}", value.strip()) for value in present)
        return [None if value is None else int(value) if is_whole else float(value) for value in values]
    return [None if value is None else str(value) for value in values]
