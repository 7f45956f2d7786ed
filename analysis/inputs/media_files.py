"""Files of images and sounds that strangers name: where their paths lead, and their bytes."""

from __future__ import annotations

from pathlib import Path

from analysis.inputs.records import ImageSource, SoundSource, Unreadable

MAX_BYTES = 100_000_000


def read_bytes(source: ImageSource | SoundSource) -> bytes:
    """The file's bytes, or those the table held.

    Raises:
        Unreadable: Missing, not a plain file, empty, too large, or without permission.
    """
    content = source.content if source.path is None else read_file(source.path)
    if not content:
        raise Unreadable("the file is empty")
    if len(content) > MAX_BYTES:
        raise Unreadable(f"{len(content) / 1e6:,.0f} MB; at most {MAX_BYTES / 1e6:,.0f} MB are read")
    return content


def read_file(path: Path) -> bytes:
    """At most `MAX_BYTES` + 1 bytes of a plain file."""
    if not path.is_file():
        raise Unreadable("there is no such file")
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"the file cannot be opened ({error.strerror})") from error


def path_inside(folder: Path, name: str) -> Path:
    """Where a path in a table leads, links followed, if that is inside the table's own folder.

    Raises:
        Unreadable: It leads outside, is a web address, or cannot be a path.
    """
    if "://" in name:
        raise Unreadable("a web address; download the file and give its path")
    if "\0" in name or len(name) > 1_000:
        raise Unreadable("not a path")
    try:
        root = folder.resolve()
        path = (root / name).resolve()
        if "\\" in name and not path.exists():
            path = (root / name.replace("\\", "/")).resolve()
    except (OSError, RuntimeError) as error:
        raise Unreadable("not a path that can be followed") from error
    if not path.is_relative_to(root):
        raise Unreadable("the path leads outside the folder of the data; put the file beside the table")
    return path
