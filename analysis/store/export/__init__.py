"""A run as files for analysis elsewhere: Parquet, CSV, safetensors; a folder or one .zip."""

from __future__ import annotations

import shutil
from pathlib import Path

from analysis.errors import UnknownName, UserError
from analysis.progress import Progress, Report, silent
from analysis.store.export.attention import AttentionChoice, largest_bytes, matrices_of
from analysis.store.export.files import FORMATS, RUN, ExportFiles
from analysis.store.export.target import new_target
from analysis.store.run import Run

__all__ = ["AttentionChoice", "export_run", "largest_bytes", "matrices_of", "new_target"]


def export_run(
    run: Run,
    target: str | Path,
    format: str,
    attention: AttentionChoice | None = None,
    report: Report = silent,
) -> Path:
    """Write a run as files that other tools read.

    Args:
        run: An open run.
        target: A folder, made when missing and else empty, or a new file whose name ends in ``.zip``. It is there whole
            or not at all.
        format: ``parquet`` (every table, vectors as lists of 16-bit floats, a file a site), ``csv`` (every table, no
            vectors) or ``safetensors`` (``q``, ``k``, ``key_offset``, ``value_norms`` a file a site, beside the tables
            in Parquet); or ``run``, its own files unchanged, which `analysis.store.import_run` brings in elsewhere.
        attention: Whose attention matrices go along; None = none, but of sites that have attention and nothing else.
        report: Told how many tables and sites are written.

    Returns:
        The folder or file.

    Raises:
        UserError: The format, a site or an input is unknown, the target is in use, or the disk is too full.
    """
    if format == "bundle":
        raise UserError(
            "A bundle is a page: make it with `python -m analysis export RUN --format bundle`, or in Python with "
            "app.bundle.making.make_bundle."
        )
    if format not in FORMATS:
        raise UnknownName(f"There is no format {format!r}; known: {', '.join(FORMATS)}.")
    if format == RUN and attention is not None:
        raise UserError("The format run is the run as it is: attention matrices go with the other formats.")
    matrices = [] if format == RUN else matrices_of(run, attention)
    target = Path(target).expanduser()
    with new_target(target, "" if format == RUN else run.run_id) as folder:
        check_room(largest_bytes(run, matrices), target.parent)
        ExportFiles(run, folder, matrices, report).write(format)
    report(Progress("done", run_id=run.run_id))
    return target


def check_room(needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"The attention asked for takes up to {needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free: take "
            "fewer sites (--attention), fewer inputs (--inputs) or the strongest weights of a row alone (--top-k)."
        )
