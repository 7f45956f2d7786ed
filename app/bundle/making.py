"""A run as a folder that opens in a browser without server or network, and comes back into another QK Atlas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.errors import RunError
from analysis.progress import Progress, Report, silent
from analysis.store.export import new_target
from analysis.store.export.card import data_card
from analysis.store.importing import copy_run
from analysis.store.run import Run, runs_dir
from app.bundle.chosen import chosen_inputs
from app.bundle.contents import Contents
from app.bundle.data_files import write_data, write_viewer


def make_bundle(run: Run, target: str | Path, inputs: Sequence[int] | None = None, report: Report = silent) -> Path:
    """Write the bundle of a run: a viewer of atlas, heads and chosen inputs, and the run itself.

    Args:
        run: An open run in the folder of the runs (`analysis.store.runs_dir`).
        target: A folder, made when missing and else empty, or a new file whose name ends in ``.zip``. It is there whole
            or not at all.
        inputs: Inputs whose attention goes along, of all heads; None = the first ones, up to `ATTENTION_BYTES`.
        report: Told how many files are written.

    Returns:
        The folder or file.

    Raises:
        UserError: An input is unknown or too long, or the target is in use.
    """
    if run.path.resolve().parent != runs_dir().resolve():
        raise RunError(f"Run {run.run_id!r} is not in the folder of the runs: bring it in first, or set QK_ATLAS_RUNS.")
    held = chosen_inputs(run, inputs)
    contents = Contents(run.run_id, held)
    target = Path(target).expanduser()
    n_files = contents.n_files + 1
    with new_target(target) as folder:
        write_viewer(folder)
        for done, (name, message) in enumerate(contents.messages()):
            write_data(folder, name, message)
            report(Progress("export", done, n_files, "files", run_id=run.run_id))
        for _ in copy_run(run, folder):
            pass
        (folder / "README.md").write_text(data_card(run, {}, "bundle", []), encoding="utf-8")
    report(Progress("done", run_id=run.run_id))
    return target
