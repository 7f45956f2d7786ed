"""The run on disk: the only place with SQL. `schema` says what the tables are, `publish` why they can be trusted."""

from analysis.store.addon import AddonWriter, add_to_run
from analysis.store.export import export_run
from analysis.store.importing import import_run
from analysis.store.paths import locate, runs_dir
from analysis.store.publish import verify
from analysis.store.run import Run, list_runs, open_run
from analysis.store.write import RunWriter

__all__ = [
    "AddonWriter",
    "Run",
    "RunWriter",
    "add_to_run",
    "export_run",
    "import_run",
    "list_runs",
    "locate",
    "open_run",
    "runs_dir",
    "verify",
]
