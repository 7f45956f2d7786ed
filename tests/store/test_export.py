"""Exports: what other tools read is what the run holds."""

import duckdb
import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet
from safetensors import safe_open

from analysis.attention import recompute
from analysis.errors import UserError
from analysis.store import export_run, open_run
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


def test_images_go_with_a_vision_run(tmp_path):
    with open_run(make_synthetic_run(tmp_path, modality="vision", n_inputs=3)) as run:
        folder = export_run(run, tmp_path / "out", "csv")
        assert (folder / "images" / "2.png").read_bytes() == run.image(2)


@pytest.mark.parametrize(
    ("format", "message"), [("bundle", "not available yet"), ("xlsx", "parquet, csv, safetensors")]
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
