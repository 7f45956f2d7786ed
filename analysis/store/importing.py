"""A run as its own files, to take elsewhere and to bring in again: the same to the byte, or not at all."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from analysis.errors import RunError, printable
from analysis.store.locking import WriterLock
from analysis.store.paths import MANIFEST, RUN_FILE, check_name, lock_path, partial_path, retired
from analysis.store.publish import addon_manifests, flush, read_manifest, verify
from analysis.store.room import free_bytes, in_units, is_full, what_is_free
from analysis.store.run import Run

_ADDON = re.compile(r"add-[A-Za-z0-9][\w.-]{0,79}\.json")
_MOST_MANIFEST = 64_000_000
_AT_ONCE = 2**20


def files_of_run(run: Run) -> list[Path]:
    """The files that are the run: its database and manifest, and those of its finished additions."""
    manifests = [run.path / MANIFEST, *addon_manifests(run.path)]
    return [path for manifest in manifests for path in (manifest, *_data_of(manifest, read_manifest(manifest)))]


def copy_run(run: Run, folder: Path) -> Iterator[Path]:
    """Copy the files of a run into a folder of its id, made in `folder`; gives each file once it is there."""
    own = folder / run.run_id
    own.mkdir()
    for path in files_of_run(run):
        yield Path(shutil.copyfile(path, own / path.name))


def import_run(source: str | Path, runs_dir: str | Path, run_id: str | None = None) -> Path:
    """Bring a run in that was exported in the format ``run`` or ``bundle``, or a copied folder of a run.

    Nothing but the files that manifests name is read, each no longer than its manifest says; it has its name when
    every byte has the checksum of the manifest and the run opens, and leaves nothing before that.

    Args:
        source: A folder of a run, a folder with one in it (as exports in the formats ``run`` and ``bundle`` are), or a
            ``.zip`` of it.
        runs_dir: Folder of the runs; made when missing.
        run_id: Another name for it; the bytes stay the same.

    Returns:
        The folder of the run.

    Raises:
        RunError: There is no run in it, it is damaged, its name is taken, or it does not fit the disk.
    """
    folder = Path(runs_dir)
    with _opened(Path(source).expanduser()) as files:
        name = check_name(files.name if run_id is None else run_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = WriterLock(lock_path(folder, name), f"Run {name!r}")
        except OSError as error:
            raise RunError(f"The folder of the runs cannot be written ({error.strerror}).") from error
        temporary = folder / f".{name}.{secrets.token_hex(4)}.importing"
        try:
            _check_free(folder, name)
            temporary.mkdir()
            _copy(files, temporary)
            _check(temporary)
            os.rename(temporary, folder / name)
            flush(folder)
        except OSError as error:
            reason = f"{error.strerror}; {what_is_free(folder)}" if is_full(error) else error.strerror or error
            raise RunError(
                f"The run could not be brought in ({reason})"
                f"{': free disk space and run the same command again' * is_full(error)}."
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            lock.release(remove=True)
    return folder / name


@dataclass(frozen=True)
class _Files:
    """The files of one run, wherever they are.

    Attributes:
        name: Of the run.
        names: Of the files.
        open: Gives a file by its name.
    """

    name: str
    names: frozenset[str]
    open: Callable[[str], IO[bytes]]


@contextmanager
def _opened(source: Path) -> Iterator[_Files]:
    if source.is_dir():
        inside = sorted(path.parent for path in source.glob(f"*/{MANIFEST}"))
        found = [source] if (source / MANIFEST).is_file() else inside
        run = _only(found, source.name)
        plain = {path.name for path in run.iterdir() if path.is_file() and not path.is_symlink()}
        yield _Files(run.resolve().name, frozenset(plain), lambda name: (run / name).open("rb"))
        return
    try:
        with zipfile.ZipFile(source) as file:
            members = [each for each in file.namelist() if each.count("/") == 1 and not each.endswith("/")]
            run = _only([each.partition("/")[0] for each in members if each.endswith(f"/{MANIFEST}")], source.name)
            names = frozenset(each.partition("/")[2] for each in members if each.startswith(f"{run}/"))
            yield _Files(run, names, lambda name: file.open(f"{run}/{name}"))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise RunError(f"{printable(source.name)!r} is no .zip that can be read: export the run again.") from error
    except FileNotFoundError as error:
        raise RunError(f"There is no folder or file {printable(source.name)!r} to bring a run in from.") from error


def _only(found: list, source: str):
    if len(found) == 1:
        return found[0]
    what = "holds no run (a folder with manifest.json)" if not found else f"holds {len(found)} runs"
    raise RunError(
        f"{printable(source)!r} {what}: give what `python -m analysis export RUN --format run` (or bundle) wrote, "
        "or the folder of one run."
    )


def _check_free(folder: Path, name: str) -> None:
    if (folder / name).exists() or partial_path(folder, name).exists():
        raise RunError(f"A run {name!r} is here already, and runs are never changed: give another name with --run-id.")
    if name in retired(folder):
        raise RunError(f"Run {name!r} was deleted here, and no id is used twice: give another name with --run-id.")


def _copy(files: _Files, folder: Path) -> None:
    for manifest in [MANIFEST, *sorted(name for name in files.names if _ADDON.fullmatch(name))]:
        _copy_one(files, manifest, folder, _MOST_MANIFEST)
        for path in _data_of(folder / manifest, fields := read_manifest(folder / manifest)):
            size = fields["files"][path.name]["size"]
            if size > free_bytes(folder):
                raise RunError(
                    f"The run takes {in_units(size)}, and the disk has no room for it ({in_units(free_bytes(folder))} "
                    "are free): free disk space and run the same command again."
                )
            _copy_one(files, path.name, folder, size)


def _copy_one(files: _Files, name: str, folder: Path, most: int) -> None:
    if name not in files.names:
        raise RunError(f"{name} is missing in what was given: export the run again.")
    left = most
    with files.open(name) as source, (folder / name).open("wb") as target:
        while left >= 0 and (part := source.read(min(_AT_ONCE, left + 1))):
            left -= len(part)
            target.write(part)
        target.flush()
        os.fsync(target.fileno())
    if left < 0:
        raise RunError(f"{name} is longer than its manifest says: it is damaged, or no run.")


def _data_of(manifest: Path, fields: Mapping) -> list[Path]:
    """The one database file that a manifest is of.

    Raises:
        RunError: It names another.
    """
    name = RUN_FILE if manifest.name == MANIFEST else manifest.with_suffix(".duckdb").name
    files = fields["files"]
    size = files[name].get("size") if isinstance(files.get(name), Mapping) else None
    if list(files) != [name] or not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise RunError(f"{manifest.name} names other files than {name} and its size: it is no manifest of a run.")
    return [manifest.with_name(name)]


def _check(folder: Path) -> None:
    found = verify(folder)
    if not found.ok:
        raise RunError(str(found))
    with Run(folder) as run:
        if run.problems:
            raise RunError(" ".join(run.problems))
        run.tokens()  # a database that is no run has none
