"""Find a model's files by bundled name, local folder or hub id, and fix their exact revision."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.errors import ModelError, printable

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
BUNDLED_MODELS = {"demo-language": DEMO / "language", "demo-vision": DEMO / "vision"}
"""Models that come with the project, so that the first run needs no network."""

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
HASHED_BYTES = 2**31
"""Weights up to this size are fingerprinted whole; of larger files the first and last 64 MiB and the size count."""


def find_model(name: str, revision: str | None = None) -> tuple[Path, str, str]:
    """Where a model's files are, the name to show for it, and its exact revision.

    A name of two parts with one slash (``org/name``) is always a hub id, also where a folder of that name exists: that
    folder is ``./org/name`` or ``org/name/``. A name without a slash is the folder of that name where it holds a model.

    Returns:
        Folder, shown name, and commit or fingerprint.

    Raises:
        ModelError: Nothing by that name, with what to do about it.
    """
    if name in BUNDLED_MODELS:
        folder = BUNDLED_MODELS[name]
        if not (folder / "config.json").is_file():
            raise ModelError(f"The bundled model {name} is not in this copy of the project: fetch data/demo again.")
        return folder, name, fingerprint(folder)
    if _looks_like_path(name) or (name and "/" not in name and _is_model_folder(Path(name))):
        folder = _check_folder(name)
        if revision is not None:
            raise ModelError(f"A folder has no revisions: leave out revision {revision!r}, or give a hub id.")
        return folder, printable(folder.resolve().name), fingerprint(folder)
    if not HUB_ID.fullmatch(name) or ".." in name or "--" in name:
        raise ModelError(
            f"{name[:100]!r} is neither a bundled model ({', '.join(BUNDLED_MODELS)}), nor a folder, nor a hub id "
            "such as google-bert/bert-base-uncased."
        )
    try:
        snapshot = _fetch(name, revision)
    except ModelError as error:
        if "/" in name and _is_model_folder(Path(name)):
            raise ModelError(f"{error} The folder of that name here is ./{name}.") from error
        raise
    _check_files(snapshot, name)
    return snapshot, name, snapshot.name


def fingerprint(folder: Path) -> str:
    """``sha256:...`` over the names, sizes and contents of a model folder's files, bounded in time for huge ones."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in HUB_FILES for path in folder.glob(pattern)):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            for block in _blocks(file, size):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def _blocks(file: Any, size: int, block: int = 2**24) -> Iterator[bytes]:
    if size > HASHED_BYTES:
        yield file.read(2**26)
        file.seek(size - 2**26)
    while data := file.read(block):
        yield data


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or name.endswith("/")


def _is_model_folder(folder: Path) -> bool:
    try:
        return (folder / "config.json").is_file()
    except (OSError, ValueError):  # not a name that the file system takes
        return False


def _check_folder(name: str) -> Path:
    try:
        folder = Path(name).expanduser()
        is_folder = folder.is_dir()
    except (OSError, ValueError, RuntimeError):
        is_folder = False
    if not is_folder:
        raise ModelError(f"There is no folder {name}: check the path, or give a hub id such as openai-community/gpt2.")
    _check_files(folder, name)
    return folder


def _check_files(folder: Path, name: str) -> None:
    if not (folder / "config.json").is_file():
        raise ModelError(f"{name} holds no config.json: give the folder that save_pretrained wrote.")
    if not any(folder.glob("*.safetensors")):
        others = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.h5") for path in folder.glob(pattern))
        found = f"only {', '.join(others[:3])}, a format that can run code when opened" if others else "no weights"
        raise ModelError(
            f"{name} holds {found}; expected *.safetensors: load the model where you "
            "trust it and write it again with save_pretrained(folder)."
        )
    for index in folder.glob("*.index.json"):
        if odd := _odd_shards(index):
            raise ModelError(
                f"{name} takes weights from {odd[:100]!r} ({index.name}); expected *.safetensors of its own folder: "
                "write it again with save_pretrained(folder)."
            )


def _odd_shards(index: Path) -> str | None:
    """Of a model in parts, the first part that is no safetensors file beside its index: transformers would open it."""
    try:
        parts = json.loads(index.read_bytes())["weight_map"].values()
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None  # transformers says what is wrong with it
    return next(
        (str(part) for part in parts if Path(str(part)).name != part or not part.endswith(".safetensors")), None
    )


def _fetch(name: str, revision: str | None) -> Path:
    """The hub's files for one commit, downloaded or from the cache; the folder is named after the commit."""
    from huggingface_hub import errors, snapshot_download

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    try:
        return Path(
            snapshot_download(
                name, revision=revision, allow_patterns=HUB_FILES, ignore_patterns=["*/*", "consolidated*"]
            )
        )
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{name} is gated: accept its terms on the hub, then log in with `hf auth login` or set HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{name} has no revision {revision!r} on the hub: give a branch, tag or commit.") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"The hub has no model {name}, or it is private: check the spelling, log in with `hf auth login`, "
            "or give a local folder."
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError, OSError) as error:
        why = "HF_HUB_OFFLINE is set" if offline else "the hub cannot be reached"
        what = "is a hub id whose files" if "/" in name else "is no folder with a model here, its files"
        raise ModelError(
            f"{name} {what} are not in the hub cache, and {why}: connect to the network "
            "(and unset HF_HUB_OFFLINE), or give a local folder; the bundled models need neither "
            f"({', '.join(BUNDLED_MODELS)})."
        ) from error
