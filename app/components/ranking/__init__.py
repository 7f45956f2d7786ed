"""A ranked table whose rows can be picked: a score against its null, a rate with its interval, and an example."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.components import answered, heard, pack, register

_mount = register("ranking")


def ranking(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, tuple[str, str]],
    *,
    picked: int | None,
    label: str,
    key: str,
    on_pick: Callable[[int | None], None],
) -> None:
    """Draw the table.

    Args:
        rows: Each name, score, null, rate, low and high (None for a single input), n, and before, text, after, place of
            its example; score, null, rate 0..1.
        columns: ``name score rate n example`` to title and explanation.
        picked: Place of the row in hand.
        label: What the table is, for a screen reader.
        on_pick: Called with the place of the row that was clicked; with None when it was let go.
    """

    def pick() -> None:
        if (said := heard(key, "pick")) is not None:
            on_pick(said["row"])

    header = {
        "rows": [dict(row) for row in rows], "columns": {name: list(words) for name, words in columns.items()},
        "picked": picked, "label": label, "answered": answered(key),
    }  # fmt: skip
    _mount(key=key, data=pack(header, {}, again=True), on_pick_change=pick)
