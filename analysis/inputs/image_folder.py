"""The images of a folder and of its sub-folders, one level down, whose names become labels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from analysis.inputs.image_files import path_inside
from analysis.inputs.records import ImageSource, Skipped, Unreadable
from analysis.inputs.rows import printable

IMAGE_ENDINGS = frozenset(
    """.png .jpg .jpeg .jpe .jfif .webp .bmp .dib .gif .tif .tiff
    .heic .heif .avif .svg .eps .psd .ico .tga .jp2 .raw""".split()
)
"""A file with such an ending is meant as an image: it is read, or listed as skipped. What it is, its content tells."""


@dataclass(frozen=True)
class ImageListing:
    """Images in reading order, with the name of their sub-folder (None at the top)."""

    images: list[tuple[ImageSource, str | None]]
    skipped: list[Skipped]
    notes: list[str]


def list_images(folder: Path) -> ImageListing:
    """List a folder: its own images and those of its sub-folders, taken in turn so that a limit meets every label.

    Hidden files are passed over, files without an image's ending and folders further down are counted in the notes.
    """
    groups: list[list[tuple[ImageSource, str | None]]] = []
    skipped: list[Skipped] = []
    n_other = n_deeper = 0
    entries = _visible(folder)
    for label, members in [(None, entries), *((entry.name, _visible(entry)) for entry in entries if entry.is_dir())]:
        group = []
        for entry in members:
            if entry.is_dir():
                n_deeper += label is not None
            elif entry.suffix.lower() not in IMAGE_ENDINGS:
                n_other += 1
            else:
                name = entry.relative_to(folder).as_posix()
                try:
                    group.append((ImageSource(printable(name), path_inside(folder, name)), label))
                except Unreadable as reason:
                    skipped.append(Skipped(printable(name), str(reason)))
        groups.append(group)
    in_turn = [item for turn in itertools.zip_longest(*groups) for item in turn if item is not None]
    return ImageListing(in_turn, skipped, _notes(n_other, n_deeper))


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []


def _notes(n_other: int, n_deeper: int) -> list[str]:
    notes = []
    if n_other:
        notes.append(f"{n_other:,} files without an image's ending were passed over.")
    if n_deeper:
        notes.append(f"{n_deeper:,} folders more than one level down were not read.")
    return notes
