"""A run as files for analysis elsewhere."""

from __future__ import annotations

from pathlib import Path

from analysis.errors import UserError
from analysis.store.reading import Reader


def export_run(run: Reader, folder: str | Path, format: str) -> Path:
    """Write a run as ``parquet``, ``csv`` or ``safetensors``."""
    raise UserError(f"Export as {format!r} is not available yet.")
