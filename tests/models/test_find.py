"""Names of models: what is a folder, what a hub id, and what a person is told when there is nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.errors import ModelError
from analysis.models import BUNDLED_MODELS, find_model, fingerprint

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_folder_is_shown_by_its_base_name_with_a_fingerprint(folder: Path) -> None:
    found, name, revision = find_model(str(folder))
    assert (found, name) == (folder, "my-model")
    assert revision == fingerprint(folder)
    assert revision.startswith("sha256:")
    assert len(revision) == 71


def test_a_relative_folder_needs_no_dot_where_it_holds_a_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert find_model("my-model")[2].startswith("sha256:")


@pytest.mark.parametrize("change", ["weights", "config", "name", "tokenizer"])
def test_the_fingerprint_changes_with_every_file_that_matters(folder: Path, change: str) -> None:
    before = fingerprint(folder)
    assert fingerprint(folder) == before
    if change == "weights":
        (folder / "model.safetensors").write_bytes(b"Weights")
    elif change == "config":
        (folder / "config.json").write_text("{}")
    elif change == "name":
        (folder / "model.safetensors").rename(folder / "other.safetensors")
    else:
        (folder / "tokenizer.json").write_text("{}")
    assert fingerprint(folder) != before


def test_huge_weights_are_fingerprinted_by_size_and_both_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.models.find.HASHED_BYTES", 2**26)
    weights = folder / "model.safetensors"
    with weights.open("wb") as file:
        file.truncate(3 * 2**26)
    before = fingerprint(folder)
    with weights.open("r+b") as file:
        file.seek(3 * 2**26 - 1)
        file.write(b"x")
    assert fingerprint(folder) != before


@pytest.mark.parametrize(
    "name", ["./nowhere", "/nowhere/model", "a/b/c", "../up", "C:\\models", "org/../x", "~nobody-x/m"]
)
def test_what_looks_like_a_path_is_never_asked_of_the_hub(name: str) -> None:
    with pytest.raises(ModelError, match="There is no folder"):
        find_model(name)


@pytest.mark.parametrize("name", ["", "a b", "-x", "a--b", "org/na me", "x" * 5000, "a\0b", "org/model;rm", "ünï/cödé"])
def test_what_is_neither_says_so(name: str) -> None:
    with pytest.raises(ModelError, match="neither a bundled model"):
        find_model(name)


def test_the_empty_name_is_not_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(ModelError, match="neither a bundled model"):
        find_model("")


def test_only_pickled_weights_are_refused_with_the_reason(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pytorch_model.bin, a format that can run code"):
        find_model(str(folder))


@pytest.mark.parametrize("part", ["weights.bin", "../model.safetensors", "/model.safetensors", 5])
def test_an_index_leads_to_no_pickle_and_out_of_no_folder(folder: Path, part: object) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors", "b": part}}))
    with pytest.raises(ModelError, match=f"takes weights from '{part}'"):
        find_model(str(folder))
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    assert find_model(str(folder))[1] == "my-model"


def test_a_name_that_is_no_text_goes_into_no_run(folder: Path) -> None:
    odd = folder.rename(folder.parent / b"\xff\x1bx".decode("utf-8", "surrogateescape"))
    assert find_model(str(odd))[1] == "\ufffd\ufffdx"


def test_a_folder_without_model_says_what_is_missing(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        find_model(str(tmp_path))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no weights"):
        find_model(str(folder))
    with pytest.raises(ModelError, match="There is no folder"):
        find_model(str(folder / "config.json"))


def test_a_folder_has_no_revision(folder: Path) -> None:
    with pytest.raises(ModelError, match="no revisions"):
        find_model(str(folder), revision="main")


def test_a_bundled_model_that_is_missing_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(BUNDLED_MODELS, "demo-language", tmp_path)
    with pytest.raises(ModelError, match="bundled model demo-language"):
        find_model("demo-language")


def find_offline(cache: Path, name: str, cwd: Path) -> str:
    """What a fresh process without network finds, hub cache in `cache`."""
    code = (
        "from analysis.models import find_model\n"
        f"try: folder, name, revision = find_model({name!r}); print(name, revision, folder.parent.name)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_a_cached_hub_model_is_found_offline_by_its_commit_and_never_taken_for_a_path(
    tmp_path: Path, folder: Path
) -> None:
    cache = tmp_path / "cache"
    snapshot = cache / "models--org--tiny" / "snapshots" / COMMIT
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (cache / "models--org--tiny" / "refs").mkdir()
    (cache / "models--org--tiny" / "refs" / "main").write_text(COMMIT)
    shutil.copytree(snapshot, tmp_path / "org" / "tiny")
    assert find_offline(cache, "org/tiny", tmp_path).split() == ["org/tiny", COMMIT, "snapshots"]


def test_a_missing_hub_model_says_what_to_do(tmp_path: Path) -> None:
    message = find_offline(tmp_path, "org/absent", tmp_path)
    assert message.startswith("ModelError org/absent is a hub id")
    assert "./org/absent" not in message
    for words in ("HF_HUB_OFFLINE is set", "connect to the network", "local folder", "demo-language"):
        assert words in message


def test_a_folder_that_could_be_a_hub_id_is_named_by_a_path(tmp_path: Path, folder: Path) -> None:
    local = tmp_path / "org" / "tiny"
    local.parent.mkdir()
    folder.rename(local)
    for name in ("./org/tiny", "org/tiny/", str(local)):
        assert find_offline(tmp_path, name, tmp_path).split()[::2] == ["tiny", "org"], name
    message = find_offline(tmp_path, "org/tiny", tmp_path)
    assert message.startswith("ModelError org/tiny is a hub id")
    assert message.endswith("The folder of that name here is ./org/tiny.\n")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("GatedRepoError", "accept its terms"),
        ("RevisionNotFoundError", "no revision 'v9'"),
        ("RepositoryNotFoundError", "check the spelling"),
        ("LocalEntryNotFoundError", "hub cannot be reached"),
    ],
)
def test_each_answer_of_the_hub_is_told_in_words(monkeypatch: pytest.MonkeyPatch, kind: str, words: str) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def refuse(*_: object, **__: object) -> str:
        error = getattr(errors, kind)
        raise error.__new__(error)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelError, match=words):
        find_model("org/model", revision="v9")
