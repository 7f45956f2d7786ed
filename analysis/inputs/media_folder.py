"""The images or sounds of a folder and of its sub-folders, one level down, whose names become labels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analysis.errors import printable
from analysis.inputs.media_files import path_inside
from analysis.inputs.records import AUDIO, VISION, ImageSource, Skipped, SoundSource, Unreadable

IMAGE_ENDINGS = frozenset(
    """.png .jpg .jpeg .jpe .jfif .webp .bmp .dib .gif .tif .tiff
    .heic .heif .avif .svg .eps .psd .ico .tga .jp2 .raw""".split()
)
"""A file with such an ending is meant as an image: it is read, or listed as skipped. What it is, its content tells."""


SOUND_ENDINGS = frozenset(".wav .wave .flac .mp3 .ogg .oga .opus .m4a .aac .aif .aiff .wma .au".split())
"""The same of sounds; of these only WAV is read."""


@dataclass(frozen=True)
class Listing:
    """Files in reading order, with the name of their sub-folder (None at the top)."""

    files: list[tuple[ImageSource | SoundSource, str | None]]
    skipped: list[Skipped]
    notes: list[str]


_KINDS: dict[str, tuple[frozenset[str], str, Callable[..., ImageSource | SoundSource]]] = {
    VISION: (IMAGE_ENDINGS, "an image's ending", ImageSource),
    AUDIO: (SOUND_ENDINGS, "a sound's ending", SoundSource),
}


def media_of(path: Path) -> str | None:
    """What a file or folder holds by its endings: ``vision`` or ``audio``; of a folder with both, images.

    None for a file with another ending; a folder without either is one of images, of which it has none.
    """
    if not path.is_dir():
        return next((name for name, (endings, *_) in _KINDS.items() if path.suffix.lower() in endings), None)
    found = {entry.suffix.lower() for entry in _visible(path)}
    found |= {entry.suffix.lower() for folder in _visible(path) if folder.is_dir() for entry in _visible(folder)}
    return AUDIO if found & SOUND_ENDINGS and not found & IMAGE_ENDINGS else VISION


def list_media(folder: Path, modality: str) -> Listing:
    """List a folder: its own files and those of its sub-folders, taken in turn so that a limit meets every label.

    Hidden files are passed over, files with another ending and folders further down are counted in the notes.

    Args:
        folder: Of images or sounds.
        modality: ``vision`` or ``audio``.
    """
    endings, word, source = _KINDS[modality]
    groups: list[list[tuple[ImageSource | SoundSource, str | None]]] = []
    skipped: list[Skipped] = []
    n_other = n_deeper = 0
    entries = _visible(folder)
    for label, members in [(None, entries), *((entry.name, _visible(entry)) for entry in entries if entry.is_dir())]:
        group = []
        for entry in members:
            if entry.is_dir():
                n_deeper += label is not None
            elif entry.suffix.lower() not in endings:
                n_other += 1
            else:
                name = entry.relative_to(folder).as_posix()
                try:
                    group.append((source(printable(name), path_inside(folder, name)), label))
                except Unreadable as reason:
                    skipped.append(Skipped(printable(name), str(reason)))
        groups.append(group)
    in_turn = [item for turn in itertools.zip_longest(*groups) for item in turn if item is not None]
    return Listing(in_turn, skipped, _notes(n_other, n_deeper, word))


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []


def _notes(n_other: int, n_deeper: int, word: str) -> list[str]:
    notes = []
    if n_other:
        notes.append(f"{n_other:,} files without {word} were passed over.")
    if n_deeper:
        notes.append(f"{n_deeper:,} folders more than one level down were not read.")
    return notes
