"""What is published stays as it is, and every change shows."""

import json
import os
import random
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from analysis.errors import RunError
from analysis.store import RunWriter, add_to_run, list_runs, open_run, runs_dir, schema, verify
from analysis.store.paths import retire, retired
from analysis.store.publish import manifest_bytes
from analysis.store.schema import Migration
from tests.store import batches
from tests.store.synthetic import add_map, make_synthetic_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = make_synthetic_run(tmp_path_factory.mktemp("made"), "run")
    with add_to_run(path, "late") as addition:
        add_map(addition, "umap", 2, addition.sites, len(addition.run.tokens()))
        addition.publish()
    return path


@pytest.fixture
def path(made, tmp_path):
    """A copy of it for each test, to be damaged."""
    return shutil.copytree(made, tmp_path / "run")


def _flip(file, bit):
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["run.duckdb", "manifest.json", "add-late.duckdb", "add-late.json"])
def test_any_flipped_bit_is_found(path, name):
    file = path / name
    n_bits, rng = 8 * file.stat().st_size, random.Random(0)
    for bit in [0, n_bits - 1, *(rng.randrange(n_bits) for _ in range(25))]:
        _flip(file, bit)
        found = verify(path)
        assert not found.ok, f"bit {bit} of {name}"
        assert name in str(found)
        _flip(file, bit)
    assert verify(path).ok
    assert "Every byte" in str(verify(path))


@pytest.mark.parametrize("name", ["run.duckdb", "manifest.json", "add-late.duckdb"])
def test_missing_and_cut_files_are_found(path, name):
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[: len(content) // 2])
    assert not verify(path).ok
    (path / name).unlink()
    assert name in str(verify(path))
    assert "missing" in str(verify(path))


def test_files_nobody_published_are_found(path):
    (path / "run.duckdb.wal").write_bytes(b"x")
    assert "run.duckdb.wal" in str(verify(path))
    with pytest.raises(RunError, match=r"run\.duckdb\.wal"):
        open_run(path)
    (path / "run.duckdb.wal").unlink()
    (path / "add-.duckdb").write_bytes(b"x")
    (path / "other.json").write_bytes(b"x")
    assert verify(path).problems == (
        "add-.duckdb is not named by a manifest.",
        "other.json is not named by a manifest.",
    )


def test_an_add_on_whose_publishing_was_interrupted_is_ignored_and_made_again(path, monkeypatch):
    from analysis.store import addon

    def die_before_the_manifest(source, target):
        if target == path / "add-again.json":
            raise KeyboardInterrupt
        os.rename(source, target)

    monkeypatch.setattr(addon.os, "replace", die_before_the_manifest)
    with add_to_run(path, "again") as addition:
        add_map(addition, "tsne", 2, addition.sites, len(addition.run.tokens()))
        with pytest.raises(KeyboardInterrupt):
            addition.publish()
    monkeypatch.undo()
    assert (path / "add-again.duckdb").exists()
    found = verify(path)
    assert found.ok
    assert found.unfinished == ("again",)
    assert "'again' was never finished and is ignored" in str(found)
    assert list_runs(path.parent)["status"].tolist() == ["complete"]
    with open_run(path) as run:
        assert run.projections()["method"].tolist() == ["atlas", "pca", "umap"]
    with add_to_run(path, "again"):
        assert not (path / "add-again.duckdb").exists()
    assert verify(path).unfinished == ()
    with add_to_run(path, "again") as addition:
        add_map(addition, "tsne", 2, addition.sites, len(addition.run.tokens()))
        addition.publish()
    assert verify(path).unfinished == ()
    with open_run(path) as run:
        assert "tsne" in run.projections()["method"].tolist()


@pytest.mark.parametrize("place", ["a-file", "a-file/below", "no-rights"])
def test_a_folder_that_cannot_hold_runs_is_told(tmp_path, place, monkeypatch):
    (tmp_path / "a-file").write_text("x")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    if place == "no-rights":
        monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(RunError, match=r"Runs cannot be written in .*choose another folder"):
        RunWriter.open(tmp_path / place, "run", {})
    monkeypatch.undo()
    monkeypatch.setattr("analysis.store.locking.os.open", refuse)
    with pytest.raises(RunError, match="Permission denied"):
        RunWriter.open(tmp_path, "run", {})


def test_listing_shows_every_state_and_never_raises(path):
    runs = path.parent
    for name in (
        "no-manifest",
        "not-json",
        "a-list",
        "wrong-types",
        "cut",
        "newer",
        "empty.partial",
        "bad-spec.partial",
    ):
        (runs / name).mkdir()
    (runs / "a-file").write_text("x")
    (runs / "not-json" / "manifest.json").write_bytes(b"\xff{")
    (runs / "a-list" / "manifest.json").write_text("[1]")
    (runs / "bad-spec.partial" / "spec.json").write_text("[")
    odd = {"files": {}, "format": 1, "model": {"a": 1}, "n_inputs": "many", "created": 7, "n_tokens": 1e300}
    (runs / "wrong-types" / "manifest.json").write_bytes(manifest_bytes(odd))
    manifest = json.loads((path / "manifest.json").read_bytes())
    (runs / "newer" / "manifest.json").write_bytes(manifest_bytes({**manifest, "format": 99}))
    (runs / "cut" / "manifest.json").write_bytes((path / "manifest.json").read_bytes())
    RunWriter.open(runs, "going", {"model": "m", "data": "d"}).close()
    found = list_runs(runs).set_index("run_id")
    assert found.loc["run", "status"] == "complete"
    assert found.loc["run", ["model", "data", "modality"]].tolist() == ["synthetic", "synthetic", "text"]
    assert found.loc["run", ["n_inputs", "n_sites", "n_heads"]].tolist() == [6, 2, 6]
    assert found.loc["going", ["model", "data", "status"]].tolist() == ["m", "d", "partial"]
    assert found.loc["empty", "status"] == found.loc["bad-spec", "status"] == "partial"
    for name in ("no-manifest", "not-json", "a-list", "cut", "newer"):
        assert found.loc[name, "status"].startswith("newer: " if name == "newer" else "damaged: "), name
        with pytest.raises(RunError):
            open_run(name, runs)
    assert "update QK Atlas" in found.loc["newer", "status"]
    assert len(found) == 10
    assert list_runs(runs / "nowhere").empty
    assert list_runs(runs / "a-file").empty


def test_a_newer_format_says_what_to_do(path):
    manifest = json.loads((path / "manifest.json").read_bytes())
    (path / "manifest.json").write_bytes(manifest_bytes({**manifest, "format": schema.FORMAT + 1}))
    with pytest.raises(RunError, match="update QK Atlas"):
        open_run(path)


def test_an_older_run_is_migrated_in_a_copy(path, monkeypatch):
    def rename_metric(connection):
        connection.execute("UPDATE head_scores SET metric = 'renamed' WHERE metric = 'entropy'")

    last = schema.FORMAT
    newer = (*schema.MIGRATIONS,
             Migration(last + 1, "a column", "ALTER TABLE sites ADD COLUMN extra INTEGER DEFAULT 7"),
             Migration(last + 2, "a name", rename_metric))  # fmt: skip
    before = {entry.name: entry.read_bytes() for entry in path.iterdir()}
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    monkeypatch.setattr(schema, "FORMAT", last + 2)
    with open_run(path) as run:
        assert set(run.head_scores()["metric"]) == {"renamed", "first_token", "previous_token"}
        assert run.sql("SELECT DISTINCT extra FROM sites")["extra"].tolist() == [7]
        numbers = run.sql("SELECT number FROM run.main.migrations ORDER BY number")["number"].tolist()
        assert numbers == list(range(1, last + 3))
        assert len(run.coordinates("umap")) > 0
    assert {entry.name: entry.read_bytes() for entry in path.iterdir()} == before
    monkeypatch.setattr("analysis.store.root.MIGRATE_BYTES", 1000)
    with pytest.raises(RunError, match="make it again"):
        open_run(path)


def test_a_migration_that_fails_leaves_no_trace():
    connection = duckdb.connect()
    bad = (
        *schema.MIGRATIONS,
        Migration(schema.FORMAT + 1, "bad", "CREATE TABLE half (a INTEGER); SELECT * FROM nowhere"),
    )
    with pytest.raises(duckdb.Error):
        schema.migrate(connection, bad)
    assert connection.execute("SELECT number FROM migrations").fetchall() == [
        (made.number,) for made in schema.MIGRATIONS
    ]
    assert ("half",) not in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    assert schema.migrate(connection, schema.MIGRATIONS) == []
    connection.execute("INSERT INTO migrations VALUES (99, 'future', NULL)")
    with pytest.raises(RunError, match="update QK Atlas"):
        schema.migrate(connection, schema.MIGRATIONS)


BAD_NAMES = [
    "", ".", "..", "../x", "/tmp/x", "a/b", "a\\b", ".hidden", "a..b", "x.partial", "x" * 81, "a b", "a\n", "a\0b", "é",
    "-x", "~", "$HOME", "a'b",
]  # fmt: skip


def test_names_that_are_paths_or_tricks_are_refused(path):
    runs = path.parent
    before = sorted(entry for entry in runs.rglob("*"))
    for name in BAD_NAMES:
        with pytest.raises(RunError, match="cannot be a"):
            RunWriter.open(runs, name, {})
        with pytest.raises(RunError, match="cannot be a"):
            open_run(name, runs)
        with pytest.raises(RunError, match="cannot be a"):
            add_to_run(path, name)
    assert sorted(entry for entry in runs.rglob("*")) == before


def test_a_path_will_do_only_where_no_folder_of_runs_is_given(path):
    assert open_run(str(path)).run_id == open_run(path).run_id == open_run("run", path.parent).run_id == "run"
    with pytest.raises(RunError):
        open_run(str(path), path.parent)


def test_the_folder_of_runs(monkeypatch, path):
    monkeypatch.delenv("QK_ATLAS_RUNS", raising=False)
    assert runs_dir() == Path(schema.__file__).parents[2] / "data" / "runs"
    monkeypatch.setenv("QK_ATLAS_RUNS", str(path.parent))
    assert runs_dir() == path.parent
    assert open_run("run").path == path
    assert list_runs()["run_id"].tolist() == ["run"]


def test_the_id_of_a_deleted_run_is_never_used_again(tmp_path):
    retire(tmp_path, "gone")
    retire(tmp_path, "gone-2")
    assert retired(tmp_path) == {"gone", "gone-2"}
    with pytest.raises(RunError, match="deleted"):
        RunWriter.open(tmp_path, "gone", {})
    RunWriter.open(tmp_path, "gone-3", {}).close()


HOSTILE = [
    "<script>alert(1)</script>",
    "'; DROP TABLE tokens; --", '"quoted" \\ back', "line\nbreak\ttab", "nul\0nul", "", " ",
    "\u202eright to left", "👩‍👩‍👧‍👦", "a" * 70_000, "=cmd()", "{{x}}", "None", "NaN",
]  # fmt: skip


def test_hostile_text_and_column_names_come_back_as_they_were(tmp_path):
    inputs, tokens = batches.tables(4)
    tokens["text"] = [HOSTILE[i % len(HOSTILE)] for i in range(len(tokens))]
    tokens['a"b; DROP TABLE sites'] = np.arange(len(tokens))
    tokens["TEXT"] = "other"
    tokens["mixed"] = [1, "one", None, 2.5, [1, 2], {"a": 1}] * 4
    tokens["when"] = pd.Timestamp("2026-01-02T03:04", tz="Europe/Berlin")
    tokens["kind of"] = pd.Categorical(["x", "y"] * 12)
    inputs["surrogate"] = pd.Series(["\ud800"] * 4, dtype=object)
    inputs["missing"] = None
    with RunWriter.open(tmp_path, "run", {}) as writer:
        writer.put_plan([batches.SITE], {}, {}, {})
        writer.put_inputs(inputs, tokens, {"text": {"kind": "categorical", "description": HOSTILE[0], "more": 1}})
        writer.put_batch([[batches.capture(i)] for i in range(4)], None, lambda capture: False)
        path = writer.publish({"model": HOSTILE[0], "data": HOSTILE[6]})
    with open_run(path) as run:
        found = run.tokens()
        assert found["text"].tolist() == tokens["text"].tolist()
        assert found['a"b; DROP TABLE sites'].tolist() == list(range(24))
        assert found["TEXT_2"].unique().tolist() == ["other"]
        assert found["mixed"][:2].tolist() == ["1", "one"]
        assert found["mixed"].isna().tolist() == [False, False, True, False, False, False] * 4
        assert found["when"][0] == pd.Timestamp("2026-01-02T02:04")
        assert found["kind of"].tolist() == ["x", "y"] * 12
        assert run.inputs()["surrogate"].tolist() == ["?"] * 4
        assert run.inputs()["missing"].isna().all()
        assert run.token_columns()["text"].description == HOSTILE[0]
        assert run.manifest["model"] == HOSTILE[0]
    assert list_runs(tmp_path)["model"].tolist() == [HOSTILE[0]]
    assert verify(path).ok


def test_tables_that_do_not_fit_are_refused(tmp_path):
    inputs, tokens = batches.tables(3)
    with RunWriter.open(tmp_path, "run", {}) as writer:
        for bad in (tokens[:-1], tokens.assign(position=0), tokens.assign(input_id=0)):
            with pytest.raises(RunError, match="one row per input and position"):
                writer.put_inputs(inputs, bad, {})
        writer.put_inputs(inputs, tokens, {})
        writer.put_inputs(inputs, tokens, {})
        with pytest.raises(RunError, match="other inputs"):
            writer.put_inputs(*batches.tables(2), {})
        with pytest.raises(RunError, match="put_plan comes first"):
            writer.put_batch([[batches.capture(0)]], None, lambda capture: False)
