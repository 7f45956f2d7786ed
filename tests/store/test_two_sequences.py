"""Inputs of two sequences: rectangular attention, points of either kind for other tokens, and runs older than that."""

import shutil

import duckdb
import numpy as np
import pandas as pd
import pytest

from analysis.attention import recompute
from analysis.errors import RunError
from analysis.store import RunWriter, export_run, open_run, schema
from analysis.store.publish import seal
from analysis.types import Band, Site, SiteCapture
from tests.store.synthetic import make_synthetic_run

LENGTHS = [(5, 3), (2, 6), (4, 4)]
"""Tokens of the encoder and of the decoder, of each input."""

N_HEADS, D_HEAD = 4, 8


def _site(index, label, queries, keys, **details):
    modality, stack, role, depth = label.split(".")
    return Site(
        index, f"{label}#0", label, modality, stack, role, int(depth), N_HEADS, details.pop("n_kv_heads", N_HEADS),
        D_HEAD, D_HEAD, D_HEAD**-0.5, query_sequence=queries, key_sequence=keys, **details,
    )  # fmt: skip


SITES = [
    _site(0, "text.enc.self.0", "encoder", "encoder"),
    _site(1, "text.dec.self.0", "decoder", "decoder", band=Band(right=0)),
    _site(2, "text.dec.cross.0", "decoder", "encoder", n_kv_heads=2),
]


def _capture(rng, site, input_id, allowed=None):
    of = dict(zip(("encoder", "decoder"), LENGTHS[input_id]))
    n_queries, n_keys = of[site.query_sequence], of[site.key_sequence]
    queries = rng.normal(0, 1.5, (N_HEADS, n_queries, D_HEAD)).astype(np.float32)
    keys = rng.normal(0, 1.5, (site.n_kv_heads, n_keys, D_HEAD)).astype(np.float32)
    allowed = site.band.allowed(n_queries, n_keys) if allowed is None else allowed
    norms = rng.gamma(4, 1, (site.n_kv_heads, n_keys)).astype(np.float32)
    attention = recompute(queries, keys, allowed, site.scale)
    return SiteCapture(site, input_id, queries, keys, norms, allowed, attention)


def _tables():
    totals = [sum(lengths) for lengths in LENGTHS]
    inputs = pd.DataFrame({"input_id": range(3), "text": "a b", "n_tokens": totals})
    tokens = pd.DataFrame(
        {
            "input_id": np.repeat(range(3), totals),
            "position": np.concatenate([np.arange(n) for n in totals]),
            "text": "a",
            "sequence": np.concatenate([np.repeat(["encoder", "decoder"], lengths) for lengths in LENGTHS]),
        }
    )
    return inputs, tokens


@pytest.fixture(params=["recomputed", "stored"])
def captured(request, tmp_path):
    """The captures by input and site, and the run of them, with a map and attention kept or not."""
    rng = np.random.default_rng(0)
    odd = np.ones((6, 2), bool)
    odd[2, 1] = False  # a mask that no band describes, at the cross site of input 1
    captures = [
        [_capture(rng, site, i, odd if (i, site.is_cross) == (1, True) else None) for site in SITES] for i in range(3)
    ]
    with RunWriter.open(tmp_path, "run", {"model": "m"}) as writer:
        writer.put_plan(SITES, {}, {}, {})
        writer.put_inputs(*_tables(), {})
        writer.put_batch(captures, None, lambda capture: request.param == "stored")
        name = writer.put_projection("", "pca", "attention", 2, 0, {})
        for site in SITES:
            n_queries, n_keys = map(len, writer.point_rows(site))
            for head in range(N_HEADS):
                places = rng.normal(0, 1, (n_queries + n_keys, 2)).astype(np.float32)
                writer.put_coordinates(name, site.key, head, places[:n_queries], places[n_queries:])
        path = writer.publish({})
    with open_run(path) as run:
        yield captures, run


def test_attention_and_masks_come_back_rectangular(captured):
    captures, run = captured
    for of_input in captures:
        for capture in of_input:
            site, input_id = capture.site, capture.input_id
            assert np.array_equal(run.allowed(site, input_id), capture.allowed)
            whole = run.attention_all(input_id)[site.key]
            for head in range(N_HEADS):
                own = capture.attention[head]
                for found in (
                    run.attention(site, head, input_id), whole[head], run.attention_by_input(site, head)[input_id],
                    run.attention_by_input(site, head, [input_id])[0],
                ):  # fmt: skip
                    assert found.shape == own.shape
                    assert np.abs(found - own).max() < 2e-3


def test_rows_and_columns_are_told_as_positions_of_the_input(captured):
    _, run = captured
    assert run.sequences == ("encoder", "decoder")
    for input_id, (n_encoder, n_decoder) in enumerate(LENGTHS):
        encoder, decoder = np.arange(n_encoder), n_encoder + np.arange(n_decoder)
        for label, queries, keys in (
            ("text.enc.self.0", encoder, encoder),
            ("text.dec.self.0", decoder, decoder),
            ("text.dec.cross.0", decoder, encoder),
        ):
            assert np.array_equal(run.query_positions(label, input_id), queries)
            assert np.array_equal(run.key_positions(label, input_id), keys)
    tokens = run.tokens()
    assert set(tokens["sequence"].iloc[run.query_rows("text.dec.cross.0")]) == {"decoder"}
    assert set(tokens["sequence"].iloc[run.key_rows("text.dec.cross.0")]) == {"encoder"}
    assert len(run.key_rows("text.dec.cross.0")) == 11
    assert len(run.query_rows("text.dec.cross.0")) == 13


def test_queries_are_of_one_sequence_and_keys_of_the_other(captured):
    captures, run = captured
    cross = [of_input[2] for of_input in captures]
    queries = np.concatenate([capture.queries[3] for capture in cross])
    keys = np.concatenate([capture.keys[1] for capture in cross])
    assert np.abs(run.queries("text.dec.cross.0", 3) - queries).max() < 2e-3
    assert np.abs(run.keys("text.dec.cross.0", 3) - keys).max() < 2e-3  # heads 2 and 3 share the second key head
    assert len(run.queries("text.dec.cross.0", 0, [1])) == 6
    assert len(run.keys("text.dec.cross.0", 0, [1])) == 2


def test_points_of_a_map_are_of_the_tokens_that_have_them(captured):
    _, run = captured
    points = run.coordinates("pca", "text.dec.cross.0", 0).merge(run.tokens(), on=["input_id", "position"])
    assert set(points.loc[points["kind"] == "query", "sequence"]) == {"decoder"}
    assert set(points.loc[points["kind"] == "key", "sequence"]) == {"encoder"}
    places = run.places("pca-2d", "text.dec.cross.0")
    assert places.shape == (N_HEADS, 2, 24, 2)
    is_decoder = (run.tokens()["sequence"] == "decoder").to_numpy()
    assert np.array_equal(np.isfinite(places[0, 0, :, 0]), is_decoder)
    assert np.array_equal(np.isfinite(places[0, 1, :, 0]), ~is_decoder)
    queries = points[points["kind"] == "query"].sort_values(["input_id", "position"])[["x", "y"]].to_numpy(np.float32)
    assert np.array_equal(places[0, 0][is_decoder], queries)


def test_exported_vectors_stand_with_the_tokens_that_have_them(captured, tmp_path):
    _, run = captured
    folder = export_run(run, tmp_path / "out", "parquet")
    rows = pd.read_parquet(folder / "vectors" / "site=2").query("head == 2").sort_values(["input_id", "position"])
    sequence = run.tokens()["sequence"].to_numpy()
    assert len(rows) == 24
    np.testing.assert_array_equal(np.stack(rows["q"][sequence == "decoder"]), run.queries("text.dec.cross.0", 2))
    np.testing.assert_array_equal(np.stack(rows["k"][sequence == "encoder"]), run.keys("text.dec.cross.0", 2))
    assert rows["q"].isna().to_numpy().tolist() == (sequence == "encoder").tolist()
    assert rows["v_norm"].isna().to_numpy().tolist() == (sequence == "decoder").tolist()
    own = pd.read_parquet(folder / "vectors" / "site=1").query("head == 2")
    assert len(own) == 13


def test_points_for_all_tokens_are_refused_where_a_site_sees_some(tmp_path):
    with RunWriter.open(tmp_path, "run", {"model": "m"}) as writer:
        writer.put_plan(SITES, {}, {}, {})
        writer.put_inputs(*_tables(), {})
        name = writer.put_projection("", "pca", "attention", 2, 0, {})
        with pytest.raises(RunError, match="13 and 11 tokens"):
            writer.put_coordinates(name, SITES[2].key, 0, np.zeros((24, 2)), np.zeros((24, 2)))


def test_a_run_from_before_there_were_sequences_is_read_as_it_is(tmp_path, monkeypatch):
    path = make_synthetic_run(tmp_path)
    with open_run(path) as run:
        before = run.attention("text.enc.self.1", 2, 0)
    manifest = dict(run.manifest)
    with duckdb.connect(str(path / "run.duckdb")) as connection:
        for column in schema.lacking_columns(3)["sites"]:
            connection.execute(f"ALTER TABLE sites DROP COLUMN {column}")
        connection.execute("DELETE FROM migrations WHERE number > 3")
    (path / "manifest.json").unlink()
    seal(path, "run.duckdb", "manifest.json", {**manifest, "format": 3})
    monkeypatch.setattr(shutil, "copyfile", lambda *_: pytest.fail("an older run was copied"))
    with open_run(path) as run:
        assert run.sequences == ("",)
        assert {(site.query_sequence, site.key_sequence) for site in run.sites} == {("", "")}
        assert np.array_equal(run.attention("text.enc.self.1", 2, 0), before)
        assert np.array_equal(run.query_positions("text.enc.self.1", 0), run.key_positions("text.enc.self.1", 0))
        assert len(run.query_rows("text.enc.self.1")) == len(run.tokens())
    assert schema.lacking_columns(3)["sites"].items() >= {"query_sequence": "''", "key_sequence": "''"}.items()
    assert schema.lacking_columns(2) is None
    assert schema.lacking_columns(schema.FORMAT) == {}
