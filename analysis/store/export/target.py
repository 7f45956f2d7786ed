"""Where an export goes: a new or empty folder, or a new .zip; there whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from analysis.errors import RunError
from analysis.store.room import is_full, what_is_free

_PACKED = {".parquet", ".safetensors", ".png"}
"""Files that a .zip takes as they are: they are compressed, or would hardly be."""


@contextmanager
def new_target(target: str | Path, top: str = "") -> Iterator[Path]:
    """An empty folder to write into, which becomes the target when the block ends without an error.

    Args:
        target: A folder, made when missing and else empty, or a new file whose name ends in ``.zip``.
        top: The folder inside a .zip that holds everything; none by default.

    Raises:
        RunError: The target is in use, or cannot be written.
    """
    target = Path(target).expanduser()
    is_zip = target.suffix.lower() == ".zip"
    if is_zip and target.exists():
        raise RunError(f"{target.name!r} is there already: choose a new name for the export.")
    if not is_zip and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError(f"{target.name!r} is not empty: choose a new or empty folder for the export.")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.writing")
    try:
        (temporary / "files").mkdir(parents=True)
        yield temporary / "files"
        # Takes the place of an empty folder, and of nothing else.
        os.rename(_zipped(temporary, top) if is_zip else temporary / "files", target)
    except OSError as error:
        reason = f"{error.strerror or error}; {what_is_free(target)}" if is_full(error) else error.strerror or error
        raise RunError(
            f"The export to {target.name!r} failed ({reason})"
            f"{': free disk space, or choose a folder on another disk' * is_full(error)}."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _zipped(folder: Path, top: str) -> Path:
    """The files of an export as one .zip, in a folder of its name."""
    path, files = folder / "export.zip", folder / "files"
    with zipfile.ZipFile(path, "w", compresslevel=6) as file:
        for each in sorted(files.rglob("*")):
            if each.is_file():
                how = zipfile.ZIP_STORED if each.suffix in _PACKED else zipfile.ZIP_DEFLATED
                file.write(each, Path(top) / each.relative_to(files), how)
    return path
