"""Runs that are taken elsewhere: they come in the same to the byte, or not at all."""

from __future__ import annotations

import json
import shutil
import zipfile

import duckdb
import numpy as np
import pandas as pd
import pytest

from analysis.cli import main
from analysis.errors import RunError
from analysis.store import add_to_run, export_run, import_run, open_run, verify
from analysis.store.paths import retire
from analysis.store.publish import manifest_bytes, sha256
from tests.store.synthetic import make_synthetic_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of runs with one that has an addition."""
    folder = tmp_path_factory.mktemp("here")
    path = make_synthetic_run(folder, "mine", n_inputs=4, n_tokens=8)
    with add_to_run(path, "more") as writer:
        scores = pd.DataFrame(
            [("extra", writer.sites[0].key, 0, 0.5, 0.4, 0.6, 0.1, 4)],
            columns="metric site head value ci_low ci_high null n".split(),
        )
        writer.put_head_scores(scores)
        writer.publish({})
    return folder


@pytest.fixture
def zipped(made, tmp_path):
    with open_run("mine", made) as run:
        return export_run(run, tmp_path / "mine.zip", "run")


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_it_is_the_same_run_elsewhere_to_the_byte(made, zipped, tmp_path):
    there = import_run(zipped, tmp_path / "there")
    assert there == tmp_path / "there" / "mine"
    assert content(there) == content(made / "mine")
    assert verify(there).n_files == 4
    with open_run("mine", tmp_path / "there") as run, open_run("mine", made) as original:
        site = run.sites[0]
        np.testing.assert_array_equal(run.attention(site, 0, 1), original.attention(site, 0, 1))
        assert "extra" in set(run.head_scores()["metric"])


def test_folders_other_names_and_the_command(made, tmp_path, capsys):
    with open_run("mine", made) as run:
        folder = export_run(run, tmp_path / "taken", "run")
    assert "mine/" in (folder / "README.md").read_text()
    for number, source in enumerate((folder, folder / "mine", made / "mine")):
        assert main(["import", str(source), "--out", str(tmp_path / "there"), "--run-id", f"other-{number}"]) == 0
    assert "other-2: every byte is as it was published." in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["other-0", "other-1", "other-2"]
    assert main(["import", str(folder), "--out", str(tmp_path / "there"), "--run-id", "other-2"]) == 2
    assert "--run-id" in capsys.readouterr().err


def test_a_name_that_is_taken_or_was_deleted_is_refused(made, zipped, tmp_path):
    with pytest.raises(RunError, match="here already"):
        import_run(zipped, made)
    (tmp_path / "there").mkdir()
    retire(tmp_path / "there", "mine")
    with pytest.raises(RunError, match="was deleted here"):
        import_run(zipped, tmp_path / "there")


def changed(zipped, change):
    """The export with a change made to its unpacked files."""
    folder = zipped.parent / "changed"
    with zipfile.ZipFile(zipped) as file:
        file.extractall(folder)
    change(folder / "mine")
    again = zipped.with_name("again.zip")
    with zipfile.ZipFile(again, "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(folder))
    return again


def flip(run):
    data = bytearray((run / "run.duckdb").read_bytes())
    data[len(data) // 2] ^= 1
    (run / "run.duckdb").write_bytes(data)


def lengthen(run):
    with (run / "run.duckdb").open("ab") as file:
        file.write(b"more")


def resign(run, **fields):
    """A manifest of a stranger, whose own checksum is right."""
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_bytes(manifest_bytes({**manifest, **fields}))


def name_another(run):
    shutil.copy(run / "run.duckdb", run / "other.duckdb")
    resign(run, files={"other.duckdb": {"size": 1, "sha256": "0"}})


def climb(run):
    resign(run, files={"../run.duckdb": {"size": 1, "sha256": "0"}})


def foreign(run):
    """A database that is no run, under a manifest that fits it."""
    (run / "run.duckdb").unlink()
    with duckdb.connect(str(run / "run.duckdb")) as connection:
        connection.execute("CREATE TABLE tokens AS SELECT 1 AS input_id")
    size = (run / "run.duckdb").stat().st_size
    resign(run, files={"run.duckdb": {"size": size, "sha256": sha256(run / "run.duckdb")}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip, "SHA-256 differs"), (lengthen, "longer than its manifest"),
        (lambda run: (run / "run.duckdb").unlink(), "run.duckdb is missing"),
        (lambda run: (run / "manifest.json").write_text("{}"), "does not name its files"),
        (lambda run: (run / "add-more.duckdb").unlink(), "add-more.duckdb is missing"),
        (name_another, "names other files"), (climb, "names other files"), (foreign, "cannot be opened"),
        (lambda run: shutil.copytree(run, run.with_name("second")), "holds 2 runs"),
        (lambda run: (run / "manifest.json").unlink(), "holds no run"),
    ],
)  # fmt: skip
def test_what_is_damaged_or_no_run_of_ours_leaves_nothing(zipped, tmp_path, change, message):
    with pytest.raises(RunError, match=message):
        import_run(changed(zipped, change), tmp_path / "there")
    assert not (tmp_path / "there").exists() or list((tmp_path / "there").iterdir()) == []


def test_nothing_comes_in_but_the_files_of_the_run(zipped, tmp_path):
    again = changed(zipped, lambda run: (run / "model.pkl").write_bytes(b"cos\nsystem\n"))
    with zipfile.ZipFile(again, "a") as file:
        file.writestr("../escaped.txt", "out")
        file.writestr("mine/../../escaped.txt", "out")
    there = import_run(again, tmp_path / "there")
    assert sorted(path.name for path in there.iterdir()) == [
        "add-more.duckdb", "add-more.json", "manifest.json", "run.duckdb"
    ]  # fmt: skip
    assert not list(tmp_path.rglob("escaped.txt"))


def test_what_is_no_file_or_no_zip_is_said(tmp_path):
    (tmp_path / "text.zip").write_text("not a zip")
    for source, message in ((tmp_path / "text.zip", "no .zip"), (tmp_path / "gone.zip", "There is no folder or file")):
        with pytest.raises(RunError, match=message):
            import_run(source, tmp_path / "there")


def test_a_full_disk_is_said_before_anything_is_written(zipped, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(RunError, match="no room"):
        import_run(zipped, tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []
