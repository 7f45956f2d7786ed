"""Exports: what other tools read is what the run holds."""

import shutil
import zipfile

import datasets
import duckdb
import numpy as np
import pandas as pd
import polars
import pytest
from pyarrow import parquet
from safetensors import safe_open

from analysis.attention import recompute
from analysis.cli import main
from analysis.errors import UserError
from analysis.store import export_run, open_run
from analysis.store.export import AttentionChoice
from analysis.store.export.attention import strongest
from tests.store.synthetic import make_synthetic_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with open_run(make_synthetic_run(tmp_path_factory.mktemp("runs"), n_heads=4, n_kv_heads=2, causal=True)) as opened:
        yield opened


def test_parquet_is_read_by_other_tools(run, tmp_path):
    folder = export_run(run, tmp_path / "out", "parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "tokens.parquet"), run.tokens(), check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "head_scores.parquet"), run.head_scores(), check_dtype=False)
    coordinates = pd.read_parquet(folder / "coordinates.parquet")
    assert len(coordinates) == 2 * len(run.coordinates("atlas"))
    site = run.sites[1]
    assert str(parquet.read_schema(folder / "vectors/site=1/part-0.parquet").field("q").type.value_type) == "halffloat"
    rows = duckdb.sql(f"SELECT * FROM read_parquet('{folder}/vectors/*/*.parquet') WHERE site = 1 AND head = 2").df()
    rows = rows.sort_values(["input_id", "position"])
    np.testing.assert_array_equal(np.stack(rows["q"]), run.queries(site, 2))
    offsets = pd.read_parquet(folder / "key_offsets.parquet").query("site == 1 and kv_head == 1")["key_offset"].iloc[0]
    np.testing.assert_allclose(np.stack(rows["k"]) + offsets, run.keys(site, 2), atol=1e-6)
    np.testing.assert_array_equal(rows["v_norm"], run.value_norms(site, 2))
    shared = duckdb.sql(f"SELECT count(k) n FROM '{folder}/vectors/site=1/*.parquet' WHERE head = 3").fetchall()
    assert shared == [(0,)]


def test_vectors_are_the_same_in_every_reader(run, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = export_run(run, tmp_path / "out", "parquet")
    site, file = run.sites[1], str(folder / "vectors" / "site=1" / "part-0.parquet")
    truth = run.queries(site, 2)
    by_duckdb = duckdb.execute("SELECT q FROM read_parquet(?) WHERE head = 2 ORDER BY input_id, position", [file])
    by_polars = polars.read_parquet(file).filter(polars.col("head") == 2).sort("input_id", "position")
    by_pandas = pd.read_parquet(file).query("head == 2").sort_values(["input_id", "position"])
    loaded = datasets.load_dataset("parquet", data_files=file, split="train", cache_dir=str(tmp_path / "cache"))
    by_datasets = [row["q"] for row in loaded if row["head"] == 2]
    readers = [by_duckdb.fetchnumpy()["q"], by_polars["q"].to_list(), by_pandas["q"], by_datasets]
    for found in readers:
        np.testing.assert_array_equal(np.array([np.asarray(each, np.float32) for each in found]), truth)
    assert by_polars.schema["q"] == polars.List(polars.Float16)
    card = datasets.load_dataset(str(folder), "tokens", split="train", cache_dir=str(tmp_path / "cache"))
    assert card["text"][:] == run.tokens()["text"].tolist()


def test_csv_is_read_back(run, tmp_path):
    folder = export_run(run, tmp_path, "csv")
    assert folder == tmp_path
    found = pd.read_csv(folder / "tokens.csv", keep_default_na=False)
    assert found["text"].tolist() == run.tokens()["text"].tolist()
    scores = pd.read_csv(folder / "head_scores.csv")
    np.testing.assert_allclose(scores["value"], run.head_scores()["value"])
    assert "band_right" in pd.read_csv(folder / "sites.csv")


def test_safetensors_give_the_attention_back(run, tmp_path):
    folder = export_run(run, tmp_path / "deep" / "out", "safetensors")
    tokens = pd.read_parquet(folder / "tokens.parquet")
    with safe_open(folder / "site-001.safetensors", "numpy") as file:
        queries, keys = file.get_tensor("q"), file.get_tensor("k") + file.get_tensor("key_offset")[:, None, :]
        assert file.metadata()["label"] == f'"{run.sites[1].label}"'
    assert queries.dtype == np.float16
    assert queries.shape == (4, len(tokens), 8)
    rows = (tokens["input_id"] == 3).to_numpy()
    site = run.sites[1]
    allowed = np.tril(np.ones((rows.sum(),) * 2, bool))
    found = recompute(queries[:, rows].astype(np.float32), keys[:, rows], allowed, site.scale)
    np.testing.assert_allclose(found, run.attention_all(3)[site.key], atol=1e-5)


def test_the_strongest_weights_by_hand():
    weights = np.array(
        [[0.5, 0.5, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.2, 0.0], [0.0, 0.0, 0.0, 0.0]], np.float32
    )
    allowed = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 0, 0]], bool)
    found = strongest(weights, allowed, 2)
    assert found.columns[:3].tolist() == [[0, 1], [3, 2], [0, 2]]  # equal ones by position; what is hidden is no key
    assert found.counts.tolist() == [2, 2, 2, 0]
    np.testing.assert_allclose(found.retained, [1, 0.7, 1, np.nan], atol=1e-7)
    signed = strongest(np.array([[-3.0, 1.0, 2.0]], np.float32), np.ones((1, 3), bool), 1)
    assert (signed.columns.tolist(), signed.weights.tolist(), signed.retained.tolist()) == ([[0]], [[-3.0]], [0.5])


def test_attention_of_chosen_sites_and_inputs_is_what_the_run_says(run, tmp_path):
    site = run.sites[1]
    choice = AttentionChoice([site.label], [0, 3])
    rows = pd.read_parquet(export_run(run, tmp_path / "p", "parquet", choice) / "attention" / "site=1")
    assert [folder.name for folder in (tmp_path / "p" / "attention").iterdir()] == ["site=1"]
    assert sorted(set(rows["input_id"])) == [0, 3]
    one = rows.query("head == 2 and input_id == 3").sort_values("position")
    np.testing.assert_array_equal(np.stack(one["weights"]), run.attention(site, 2, 3))
    cells = pd.read_csv(export_run(run, tmp_path / "c", "csv", choice) / "attention-001.csv")
    cells = cells.query("head == 2 and input_id == 3")
    np.testing.assert_array_equal(len(cells), run.allowed(site, 3).sum())
    np.testing.assert_allclose(
        cells["weight"], run.attention(site, 2, 3)[cells["position"], cells["key_position"]], rtol=1e-6
    )
    file = export_run(run, tmp_path / "s", "safetensors", choice) / "attention-001-part-0.safetensors"
    with safe_open(file, "numpy") as tensors:
        assert sorted(tensors.keys()) == ["attention.0", "attention.3"]
        np.testing.assert_array_equal(tensors.get_tensor("attention.3")[2], run.attention(site, 2, 3))


def test_the_strongest_weights_come_with_what_they_are_of_the_row(run, tmp_path):
    site, choice = run.sites[0], AttentionChoice(top_k=3)
    weights = run.attention(site, 1, 2)
    order = np.argsort(-np.where(run.allowed(site, 2), weights, -1), axis=1, kind="stable")[:, :3]
    n_kept = np.minimum(run.allowed(site, 2).sum(axis=1), 3)
    rows = pd.read_parquet(export_run(run, tmp_path / "p", "parquet", choice) / "attention" / "site=0")
    assert len(rows) == site.n_heads * len(run.tokens())
    one = rows.query("head == 1 and input_id == 2").sort_values("position")
    for found, kept, n, row in zip(one.itertuples(), order, n_kept, weights):
        assert found.key_positions.tolist() == kept[:n].tolist()
        np.testing.assert_array_equal(found.weights, row[kept[:n]])
        assert found.retained == pytest.approx(row[kept[:n]].sum() / row.sum(), rel=1e-6)
    cells = pd.read_csv(export_run(run, tmp_path / "c", "csv", choice) / "attention-000.csv")
    assert len(cells.query("head == 1 and input_id == 2")) == n_kept.sum()
    folder = export_run(run, tmp_path / "s", "safetensors", choice)
    with safe_open(folder / "attention-000-part-0.safetensors", "numpy") as tensors:
        keys, retained = tensors.get_tensor("key_positions.2")[1], tensors.get_tensor("retained.2")[1]
    assert keys[0].tolist() == [0, -1, -1]  # the first token of a causal input sees itself alone
    np.testing.assert_allclose(retained, one["retained"], rtol=1e-6)


def test_what_is_not_there_and_what_would_not_fit_is_refused(run, tmp_path, monkeypatch):
    refused = [
        (AttentionChoice(["text.dec.self.9"]), "text.dec.self.0"), (AttentionChoice(inputs=[99]), "no input 99"),
        (AttentionChoice(top_k=0), "1 or more"),
    ]  # fmt: skip
    for choice, message in refused:
        with pytest.raises(UserError, match=message):
            export_run(run, tmp_path / "out", "parquet", choice)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(UserError, match="fewer inputs"):
        export_run(run, tmp_path / "out", "parquet", AttentionChoice())
    assert list(tmp_path.iterdir()) == []


def test_the_card_says_what_made_it_and_how_exactly(run, tmp_path):
    card = (export_run(run, tmp_path / "out", "parquet", AttentionChoice(top_k=2)) / "README.md").read_text()
    assert f"`tokens.parquet` ({len(run.tokens()):,} rows)" in card
    assert f"Model: `{run.manifest['model']}" in card
    assert "2 strongest weights" in card
    assert "licences of their own" in card
    assert str(run.path.parent) not in card


def test_one_zip_from_the_command_line(run, tmp_path, capsys):
    said = [
        "export",
        str(run.path),
        "--to",
        str(tmp_path / "out.zip"),
        "--format",
        "csv",
        "--attention",
        "--inputs",
        "0-1",
    ]
    assert main(said) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.zip"]
    with zipfile.ZipFile(tmp_path / "out.zip") as file:
        assert file.testzip() is None
        names = file.namelist()
        tokens = pd.read_csv(file.open(f"{run.run_id}/tokens.csv"), keep_default_na=False)
    assert {f"{run.run_id}/README.md", f"{run.run_id}/attention-000.csv", f"{run.run_id}/manifest.json"} <= set(names)
    assert tokens["text"].tolist() == run.tokens()["text"].tolist()
    assert main(said) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["export", str(run.path), "--to", str(tmp_path / "new"), "--top-k", "3"]) == 2
    assert "add --attention" in capsys.readouterr().err


def test_images_go_with_a_vision_run(tmp_path):
    with open_run(make_synthetic_run(tmp_path, modality="vision", n_inputs=3)) as run:
        folder = export_run(run, tmp_path / "out", "csv")
        assert (folder / "images" / "2.png").read_bytes() == run.image(2)


@pytest.mark.parametrize(
    ("format", "message"), [("bundle", "app.bundle.making.make_bundle"), ("xlsx", "parquet, csv, safetensors")]
)
def test_other_formats_say_so(run, tmp_path, format, message):
    with pytest.raises(UserError, match=message):
        export_run(run, tmp_path / "out", format)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused_and_a_failure_leaves_nothing(run, tmp_path, monkeypatch):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        export_run(run, tmp_path / "used", "csv")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.csv.write_csv", full)
    with pytest.raises(UserError, match="No space left"):
        export_run(run, tmp_path / "new", "csv")
    assert [entry.name for entry in tmp_path.iterdir()] == ["used"]
