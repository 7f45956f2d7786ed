"""The table of model types that comes with the page, and how a type is found in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import streamlit as st

TABLE = Path(__file__).resolve().parents[1] / "docs" / "coverage.json"


def coverage() -> tuple[pd.DataFrame, dict[str, str]]:
    """Every model type that was tried, a row each as `analysis.coverage.TypeReport` says, and the versions used.

    Empty where the table is not in this copy of the project.
    """
    return _read(str(TABLE), TABLE.stat().st_mtime if TABLE.is_file() else 0.0)


@st.cache_data(max_entries=1)
def _read(path: str, changed: float) -> tuple[pd.DataFrame, dict[str, str]]:
    if not changed:
        return pd.DataFrame(), {}
    table = json.loads(Path(path).read_text(encoding="utf-8"))
    return pd.DataFrame(table["types"]), table["versions"]


def find_types(words: str, types: list[str]) -> list[str]:
    """The types that somebody may mean who writes a type, a class or a hub id, the nearest first.

    ``meta-llama/Llama-3.1-8B`` finds llama, ``BertModel`` bert, ``qwen2`` qwen2 and every type that begins so. What
    is written after a slash counts, and numbers behind a name need not be there.
    """
    asked = _letters(words.rsplit("/", 1)[-1])
    if not asked:
        return list(types)
    found = []
    for name in types:
        known = _letters(name)
        if known == asked:
            rank = 0
        elif known.startswith(asked):
            rank = 2
        elif asked.startswith(known) and len(known) > 2:
            rank = 1
        elif asked in known or (known in asked and len(known) > 3):
            rank = 3
        else:
            continue
        found.append((rank, -len(known) if rank in (1, 3) else len(known), name))
    return [name for _, _, name in sorted(found)]


def _letters(words: str) -> str:
    return re.sub(r"[^a-z0-9]", "", words.lower())
