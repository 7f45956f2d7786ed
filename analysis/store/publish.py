"""Publishing: from a file that is being written to files that never change again, and checking that they have not.

The order matters, because a machine may stop after any step: close the database with nothing left in its log, flush
it to disk, write the manifest (last, with the size and SHA-256 of every file), flush it, rename, flush the folder.
What has no manifest is not published.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.errors import RunError
from analysis.store.paths import MANIFEST, RUN_FILE
from analysis.store.room import is_full, what_is_free

_ADDON_DATA = re.compile(r"add-(.+)\.duckdb")


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        n_files: Files checked.
        n_bytes: Their size together.
        problems: One sentence each; empty when every byte is as it was published.
        unfinished: Names of add-ons whose publishing was interrupted: nothing reads them, and they are no damage.
    """

    n_files: int
    n_bytes: int
    problems: tuple[str, ...]
    unfinished: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        ignored = [f"The add-on {name!r} was never finished and is ignored: make it again." for name in self.unfinished]
        if self.ok:
            found = f"Every byte is as published: {self.n_files} files, {self.n_bytes:,} bytes."
        else:
            found = "Damaged: " + " ".join(self.problems)
        return " ".join([found, *ignored])


def seal(folder: Path, file: str, manifest: str, fields: Mapping[str, Any]) -> None:
    """Flush a closed database file and write the manifest that makes it published.

    Args:
        folder: Where both are.
        file: Name of the database file.
        manifest: Name of the manifest to write.
        fields: What else the manifest says.

    Raises:
        RunError: The database still has a log beside it, so that it is not complete on its own.
    """
    path = folder / file
    if _log(path).exists():
        raise RunError(f"{file} was not closed cleanly ({_log(path).name} is left): run the same command again.")
    try:
        flush(path)
        sizes = {file: {"size": path.stat().st_size, "sha256": sha256(path)}}
        write_whole(folder / manifest, manifest_bytes({**fields, "files": sizes}))
    except OSError as error:
        reason = f"{error.strerror}; {what_is_free(folder)}" if is_full(error) else error.strerror
        raise RunError(
            f"{folder.name} could not be published ({reason}); nothing is lost: "
            f"{'free disk space and ' * is_full(error)}run the same command again."
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is seen whole or not at all."""
    temporary = path.with_name(f".{path.name}.writing")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    flush(path.parent)


def flush(path: Path) -> None:
    """Ask the system to bring a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def manifest_bytes(fields: Mapping[str, Any]) -> bytes:
    """The one way a manifest is written: with a checksum of itself, so that a change of any byte shows."""
    fields = {name: value for name, value in fields.items() if name != "checksum"}
    text = json.dumps(fields, indent=1, sort_keys=True, ensure_ascii=True, default=str)
    fields = {**json.loads(text), "checksum": hashlib.sha256(text.encode()).hexdigest()}
    return (json.dumps(fields, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest, as it was written.

    Raises:
        RunError: Missing, unreadable, or changed since.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path.name} is missing or unreadable ({error.strerror}).") from error
    try:
        fields = json.loads(content)
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise RunError(f"{path.name} holds half characters, which are no text.") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path.name} is not readable JSON.") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("files"), dict):
        raise RunError(f"{path.name} does not name its files.")
    if odd := next(_of_another_kind(fields), None):
        raise RunError(f"{path.name} holds {odd} of a kind that no run has.")
    if content != manifest_bytes(fields):
        raise RunError(f"{path.name} was changed after it was published (its checksum differs).")
    return fields


_KINDS = {
    **dict.fromkeys("model model_type model_revision dtype device data data_hash modality created".split(), str),
    **dict.fromkeys("code_version decoder_reads".split(), str),
    **dict.fromkeys("n_parameters n_inputs n_tokens n_sites n_heads d_model seed limit".split(), int),
    **dict.fromkeys("spec special_tokens versions".split(), dict),
    **dict.fromkeys("notes skipped layers projection".split(), list),
}
_ITEMS = {"special_tokens": str, "versions": str, "notes": str, "skipped": list, "layers": int, "projection": str}


def _of_another_kind(fields: Mapping[str, Any]) -> Iterator[str]:
    """Names of what readers could not use; what is missing, or null, is missing for them too."""
    for name, value in fields.items():
        kind, item = _KINDS.get(name), _ITEMS.get(name)
        if kind is None or value is None:
            continue
        inside = value.values() if isinstance(value, dict) else value
        if not isinstance(value, kind) or (item and not all(isinstance(each, item) for each in inside)):
            yield name
        elif name == "spec":
            yield from _of_another_kind(value)
        elif name == "skipped" and not all(len(each) == 2 and all(isinstance(w, str) for w in each) for each in value):
            yield name


def check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """The quick check on opening: every file there, of the right size, with no log beside it.

    Raises:
        RunError: What is wrong.
    """
    problems = list(_file_problems(folder, manifest, thorough=False))
    if problems:
        raise RunError(" ".join(problems))


def verify(run_path: Path) -> Verification:
    """Read every byte of a published run and of its add-ons and compare with the manifests.

    Args:
        run_path: The folder of the run.

    Returns:
        The problems: changed, missing or cut files, changed manifests, and files that no manifest names. Data of an
        add-on without its manifest, which is moved after it, is no problem but an add-on that was never finished.
    """
    folder = Path(run_path)
    problems, known, n_bytes = [], set(), 0
    for path in [folder / MANIFEST, *addon_manifests(folder)]:
        known.add(path.name)
        try:
            manifest = read_manifest(path)
        except RunError as error:
            problems.append(str(error))
            known |= {RUN_FILE} if path.name == MANIFEST else {path.with_suffix(".duckdb").name}
            continue
        known |= set(manifest["files"])
        n_bytes += _size(path) + sum(_size(folder / name) for name in manifest["files"])
        problems += _file_problems(folder, manifest, thorough=True)
    extra = sorted(
        entry.name for entry in _entries(folder) if entry.name not in known and not _in_the_making(entry.name)
    )
    unfinished = {name: found[1] for name in extra if (found := _ADDON_DATA.fullmatch(name))}
    problems += [f"{name} is not named by a manifest." for name in extra if name not in unfinished]
    return Verification(len(known), n_bytes, tuple(dict.fromkeys(problems)), tuple(unfinished.values()))


def addon_manifests(folder: Path) -> list[Path]:
    """Manifests of the add-ons of a run, by name."""
    return sorted(entry for entry in _entries(folder) if entry.name.startswith("add-") and entry.suffix == ".json")


def _file_problems(folder: Path, manifest: Mapping[str, Any], thorough: bool) -> Iterable[str]:
    for name, expected in manifest["files"].items():
        path = folder / Path(name).name
        if path.name != name or not isinstance(expected, Mapping):
            yield f"{MANIFEST} names {name[:80]!r}, which is no file of a run."
            continue
        if _log(path).exists():
            yield f"{_log(path).name} is left beside a published file."
        # Somebody may delete the run in another window meanwhile: no look before the leap.
        try:
            size = path.stat().st_size
            if size != expected.get("size"):
                yield f"{name} has {size:,} bytes; {expected.get('size')} were published."
            elif thorough and sha256(path) != expected.get("sha256"):
                yield f"{name} was changed after it was published (its SHA-256 differs)."
        except FileNotFoundError:
            yield f"{name} is missing."
        except OSError as error:
            yield f"{name} cannot be read ({error.strerror})."


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _in_the_making(name: str) -> bool:
    return name.startswith(".add-")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _log(path: Path) -> Path:
    return path.with_name(path.name + ".wal")
