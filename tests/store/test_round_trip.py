"""What goes into a run comes out again: vectors, attention, tables; within fp16, whatever the site is like."""

import numpy as np
import pandas as pd
import pytest

from analysis.attention import recompute
from analysis.errors import RunError, UnknownName
from analysis.store import RunWriter, add_to_run, open_run
from analysis.types import Band, Site, SiteCapture
from tests.store.synthetic import make_synthetic_run, make_tables

TOLERANCE = 2e-3


def _site(index=0, n_heads=4, n_kv_heads=4, d_head=8, band=Band(), **details):  # noqa: B008
    return Site(
        index, f"layer.{index}.attn#0", f"text.enc.self.{index}", "text", "enc", "self", index,
        n_heads, n_kv_heads, d_head, d_head, d_head**-0.5, band, **details,
    )  # fmt: skip


def _capture(rng, site, input_id, n_tokens, bias=0.0, allowed=None, sinks=None, **details):
    queries = rng.normal(0, 1.5, (site.n_heads, n_tokens, site.d_head)).astype(np.float32)
    keys = rng.normal(0, 1.5, (site.n_kv_heads, n_tokens, site.d_head)).astype(np.float32) + np.float32(bias)
    allowed = site.band.allowed(n_tokens) if allowed is None else allowed
    attention = recompute(queries, keys, allowed, site.scale, site.softcap, sinks)
    norms = rng.gamma(4, 1, (site.n_kv_heads, n_tokens)).astype(np.float32)
    return SiteCapture(site, input_id, queries, keys, norms, allowed, attention, **details)


def _written(tmp_path, sites, captures, offsets=None, sinks=None, store=False, tables=None):
    n_tokens = [len(of_input[0].allowed) for of_input in captures]
    inputs = pd.DataFrame({"input_id": range(len(captures)), "text": "a b", "n_tokens": n_tokens})
    tokens = pd.DataFrame(
        {
            "input_id": np.repeat(range(len(captures)), n_tokens),
            "position": np.concatenate([np.arange(n) for n in n_tokens]),
        }
    ).assign(text="a")
    inputs, tokens = tables or (inputs, tokens)
    with RunWriter.open(tmp_path, "run", {"model": "m"}) as writer:
        writer.put_plan(sites, offsets or {}, sinks or {}, {"n_tokens": 3})
        writer.put_inputs(inputs, tokens, {})
        writer.put_batch(captures, None, lambda capture: store)
        return open_run(writer.publish({"model": "m"}))


def _tables():
    return {
        "full": dict(site=_site()),
        "causal": dict(site=_site(band=Band(right=0))),
        "window": dict(site=_site(band=Band(left=3, right=0))),
        "two-sided window": dict(site=_site(band=Band(2, 2))),
        "grouped keys": dict(site=_site(n_heads=6, n_kv_heads=2, band=Band(right=0))),
        "one key head": dict(site=_site(n_heads=4, n_kv_heads=1)),
        "soft cap": dict(site=_site(softcap=2.0)),
        "sink logits": dict(site=_site(has_sink_logits=True), sinks=np.float32([0.5, -3, 2, 8])),
        "sink logits, grouped": dict(site=_site(n_kv_heads=2, has_sink_logits=True), sinks=np.float32([0.5, -3, 2, 8])),
    }


@pytest.mark.parametrize("store", [False, True], ids=["recomputed", "stored"])
@pytest.mark.parametrize("case", _tables())
def test_attention_comes_back_within_the_tolerance(tmp_path, case, store):
    site, sinks = _tables()[case]["site"], _tables()[case].get("sinks")
    rng = np.random.default_rng(1)
    captures = [[_capture(rng, site, i, n, sinks=sinks)] for i, n in enumerate((7, 1, 12))]
    with _written(tmp_path, [site], captures, sinks={} if sinks is None else {site.key: sinks}, store=store) as run:
        assert (run.sql("SELECT count(*) FROM attention").iloc[0, 0] > 0) == store
        for input_id, (capture,) in enumerate(captures):
            everything = run.attention_all(input_id)[site.key]
            for head in range(site.n_heads):
                found = run.attention(site, head, input_id)
                assert found.dtype == np.float32
                np.testing.assert_allclose(found, capture.attention[head], atol=TOLERANCE)
                np.testing.assert_allclose(everything[head], capture.attention[head], atol=TOLERANCE)
                np.testing.assert_allclose(run.attention_by_input(site, head)[input_id], found, atol=1e-6)
            assert (found[~capture.allowed] == 0).all()
            np.testing.assert_array_equal(run.allowed(site, input_id), capture.allowed)


def test_vectors_come_back_in_token_order_whatever_order_they_were_written_in(tmp_path):
    site, rng = _site(n_heads=6, n_kv_heads=2), np.random.default_rng(2)
    captures = [[_capture(rng, site, i, n)] for i, n in enumerate((4, 9, 2, 6))]
    with _written(tmp_path, [site], captures[::-1], tables=_numbered((4, 9, 2, 6))) as run:
        for head in range(6):
            queries = np.concatenate([capture.queries[head] for (capture,) in captures])
            keys = np.concatenate([capture.keys[head // 3] for (capture,) in captures])
            norms = np.concatenate([capture.value_norms[head // 3] for (capture,) in captures])
            assert run.queries(site, head).dtype == np.float32
            np.testing.assert_allclose(run.queries(site, head), queries, rtol=1e-3, atol=1e-6)
            np.testing.assert_allclose(run.keys(site.label, head), keys, rtol=1e-3, atol=1e-6)
            np.testing.assert_allclose(run.value_norms(site.key, head), norms, rtol=1e-3)
        rows = run.sql("SELECT head, count(q) q, count(k) k, count(v_norm) v FROM vectors GROUP BY head ORDER BY head")
    assert rows["q"].tolist() == [4] * 6
    assert rows["k"].tolist() == rows["v"].tolist() == [4, 0, 0, 4, 0, 0]


def _numbered(lengths):
    ids = np.repeat(range(len(lengths)), lengths)
    positions = np.concatenate([np.arange(n) for n in lengths])
    inputs = pd.DataFrame({"input_id": range(len(lengths)), "text": "a", "n_tokens": lengths})
    return inputs, pd.DataFrame({"input_id": ids, "position": positions, "text": "a"})


@pytest.mark.parametrize(("with_offset", "worst"), [(True, 2e-3), (False, 1.0)])
def test_a_large_shared_key_bias_costs_precision_unless_it_is_the_key_offset(tmp_path, with_offset, worst):
    site, rng, bias = _site(d_head=16), np.random.default_rng(3), 400.0
    captures = [[_capture(rng, site, 0, 12, bias=bias)]]
    offsets = {site.key: np.full((4, 16), bias, np.float32)} if with_offset else {}
    with _written(tmp_path, [site], captures, offsets) as run:
        exact = recompute(
            captures[0][0].queries.astype(np.float64), (captures[0][0].keys - np.float32(bias)).astype(np.float64),
            captures[0][0].allowed, site.scale,
        )  # fmt: skip
        error = max(np.abs(run.attention(site, head, 0) - exact[head]).max() for head in range(4))
        np.testing.assert_allclose(run.keys(site, 1), captures[0][0].keys[1], atol=4e-3 if with_offset else 0.3)
    assert error <= worst
    if not with_offset:
        assert error > 2e-3, "the test would not notice a missing offset"


def test_an_offset_where_there_is_a_soft_cap_is_added_back(tmp_path):
    site, rng = _site(softcap=3.0), np.random.default_rng(4)
    captures = [[_capture(rng, site, 0, 9, bias=1.5)]]
    with _written(tmp_path, [site], captures, {site.key: np.full((4, 8), 1.5, np.float32)}) as run:
        np.testing.assert_allclose(run.attention(site, 2, 0), captures[0][0].attention[2], atol=TOLERANCE)


def test_values_beyond_fp16_are_kept_in_fp32(tmp_path):
    site, rng = _site(), np.random.default_rng(5)
    wide, narrow = _capture(rng, site, 0, 5), _capture(rng, site, 1, 6)
    wide.queries[1, 2, 3] = 3e6
    wide.keys[0, 0, 0] = -70000
    with _written(tmp_path, [site], [[wide], [narrow]]) as run:
        np.testing.assert_array_equal(run.queries(site, 1)[:5], wide.queries[1])
        np.testing.assert_array_equal(run.keys(site, 0)[:5], wide.keys[0])
        np.testing.assert_allclose(run.queries(site, 1)[5:], narrow.queries[1], rtol=1e-3, atol=1e-6)
        exact = recompute(wide.queries, wide.keys, wide.allowed, site.scale)
        np.testing.assert_allclose(run.attention(site, 1, 0), exact[1], atol=TOLERANCE)


@pytest.mark.parametrize("field", ["queries", "keys", "value_norms"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_by_name_and_nothing_is_stored(tmp_path, field, bad):
    site, rng = _site(), np.random.default_rng(6)
    captures = [[_capture(rng, site, 0, 4)], [_capture(rng, site, 1, 5)]]
    getattr(captures[1][0], field)[(1,) * getattr(captures[1][0], field).ndim] = bad
    inputs, tokens = _numbered((4, 5))
    with RunWriter.open(tmp_path, "run", {}) as writer:
        writer.put_plan([site], {}, {}, {})
        writer.put_inputs(inputs, tokens, {})
        with pytest.raises(RunError, match=r"layer\.0\.attn#0 on input 1 hold NaN"):
            writer.put_batch(captures, None, lambda capture: False)
        assert writer.done_inputs() == set()
        assert writer.database.execute("SELECT count(*) FROM vectors") == [(0,)]


def test_an_irregular_mask_is_stored_and_attention_still_recomputed(tmp_path):
    site, rng = _site(band=None), np.random.default_rng(7)
    allowed = rng.random((9, 9)) < 0.5
    allowed[3] = False
    captures = [[_capture(rng, site, 0, 9, allowed=allowed)]]
    with _written(tmp_path, [site], captures) as run:
        np.testing.assert_array_equal(run.allowed(site, 0), allowed)
        np.testing.assert_allclose(run.attention(site, 3, 0), captures[0][0].attention[3], atol=TOLERANCE)
        assert (run.attention(site, 3, 0)[3] == 0).all()


def test_attention_that_must_be_stored_is_stored_though_nobody_chose_it(tmp_path):
    rng, sites = np.random.default_rng(8), [_site(0), _site(1, recomputable=False), _site(2, band=Band(right=0))]
    captures = [[_capture(rng, site, 0, 6, must_store=site.index == 2) for site in sites]]
    for capture in captures[0][1:]:
        # Not what q and k give: a position bias, say.
        capture.attention[:] = np.where(capture.allowed, 1 / capture.allowed.sum(1, keepdims=True), 0)
    with _written(tmp_path, sites, captures) as run:
        assert set(run.sql("SELECT DISTINCT site FROM attention")["site"]) == {1, 2}
        found = run.attention_all(0)
        for capture in captures[0]:
            np.testing.assert_allclose(found[capture.site.key], capture.attention, atol=TOLERANCE)
            np.testing.assert_allclose(run.attention(capture.site, 1, 0), capture.attention[1], atol=TOLERANCE)


def test_attention_that_must_be_stored_but_was_not_captured_is_an_error(tmp_path):
    site, rng = _site(), np.random.default_rng(9)
    capture = _capture(rng, site, 0, 4)
    missing = SiteCapture(site, 0, capture.queries, capture.keys, capture.value_norms, capture.allowed, None, True)
    with pytest.raises(RunError, match="has to be stored"):
        _written(tmp_path, [site], [[missing]])


def test_causal_attention_takes_half_the_room(tmp_path):
    n_tokens, rng = 40, np.random.default_rng(10)
    sizes = {}
    for name, band in (("full", Band()), ("causal", Band(right=0)), ("window", Band(4, 0))):
        site = _site(band=band)
        with _written(tmp_path / name, [site], [[_capture(rng, site, 0, n_tokens)]], store=True) as run:
            sizes[name] = run.sql("SELECT octet_length(weights) AS n FROM attention")["n"].unique().tolist()
    assert sizes == {"full": [40 * 40 * 2], "causal": [40 * 41 // 2 * 2], "window": [(5 * 40 - 10) * 2]}


def test_writing_changes_no_input(tmp_path):
    site, rng = _site(), np.random.default_rng(11)
    capture = _capture(rng, site, 0, 5)
    before = capture.keys.copy(), capture.queries.copy(), capture.attention.copy()
    _written(tmp_path, [site], [[capture]], {site.key: np.ones((4, 8), np.float32)}, store=True).close()
    for old, new in zip(before, (capture.keys, capture.queries, capture.attention)):
        np.testing.assert_array_equal(old, new)


def test_sites_keep_every_field(tmp_path):
    sites = [
        _site(0, band=Band(3, 0), softcap=30.5, route="optrace"),
        _site(1, n_heads=6, n_kv_heads=3, band=None, recomputable=False, has_sink_logits=True),
    ]
    rng = np.random.default_rng(12)
    captures = [[_capture(rng, site, 0, 4, allowed=np.ones((4, 4), bool)) for site in sites]]
    with _written(tmp_path, sites, captures, sinks={sites[1].key: np.arange(6)}) as run:
        assert run.sites == sites
        assert run.site(sites[1]) == run.site(sites[1].key) == run.site(sites[1].label) == run.site(1) == sites[1]
        assert run.certificate == {"n_tokens": 3}


def test_unknown_names_are_told_with_the_known_ones(tmp_path):
    with open_run(make_synthetic_run(tmp_path)) as run:
        for call in (
            lambda: run.site("nope"), lambda: run.queries("nope", 0), lambda: run.queries(run.sites[0], 3),
            lambda: run.keys(run.sites[0], -1), lambda: run.attention(run.sites[0], 0, 99), lambda: run.image(99),
            lambda: run.coordinates("umap"), lambda: run.coordinates(projection="x"), lambda: run.thumbnail("x", "y"),
            lambda: run.thumbnail("atlas-2d", "audio.enc.self"),
        ):  # fmt: skip
            with pytest.raises(UnknownName):
                call()


def test_a_resumed_plan_is_the_same_plan(tmp_path):
    sites, rng = [_site(0), _site(1, n_kv_heads=2, has_sink_logits=True)], np.random.default_rng(13)
    offsets = {site.key: rng.normal(size=(site.n_kv_heads, 8)).astype(np.float32) for site in sites}
    sinks = {sites[1].key: rng.normal(size=4).astype(np.float32)}
    with RunWriter.open(tmp_path, "run", {}) as writer:
        assert writer.plan() is None
        writer.put_plan(sites, offsets, sinks, {"verdict": np.float32(0.5)})
    with RunWriter.open(tmp_path, "run", {}) as writer:
        found = writer.plan()
        assert found.sites == sites
        assert found.certificate == {"verdict": 0.5}
        for key in offsets:
            np.testing.assert_array_equal(found.key_offsets[key], offsets[key])
        np.testing.assert_array_equal(found.sink_logits[sites[1].key], sinks[sites[1].key])
        writer.put_plan(sites, offsets, sinks, {})
        with pytest.raises(RunError, match="other sites"):
            writer.put_plan(sites[:1], offsets, sinks, {})


@pytest.mark.parametrize("modality", ["text", "vision"])
def test_tables_come_back(tmp_path, modality):
    path = make_synthetic_run(tmp_path, modality=modality, n_inputs=5, n_tokens=17, causal=modality == "text", seed=3)
    inputs, tokens, columns = make_tables(np.random.default_rng(3), modality, 5, 17)
    with open_run(path) as run:
        pd.testing.assert_frame_equal(run.tokens(), tokens, check_dtype=False)
        pd.testing.assert_frame_equal(run.inputs(), inputs.drop(columns="image", errors="ignore"), check_dtype=False)
        found = run.token_columns()
        assert list(found) == list(columns)
        assert {name: vars_of(info) for name, info in found.items()} == columns
        assert run.modality == modality
        if modality == "vision":
            assert run.image(3) == inputs["image"][3]
        else:
            with pytest.raises(RunError, match="texts"):
                run.image(0)


def vars_of(info):
    return {name: getattr(info, name) for name in ("name", "kind", "unit", "description")}


def test_maps_and_scores_come_back(tmp_path):
    with open_run(make_synthetic_run(tmp_path, n_layers=3, n_heads=2)) as run:
        n_tokens = len(run.tokens())
        assert run.projections()["name"].tolist() == ["atlas-2d", "pca-3d"]
        flat, deep = run.coordinates("atlas", run.sites[2], 1), run.coordinates(projection="pca-3d")
        assert flat.columns.tolist() == "site head input_id position kind x y method projection".split()
        assert "z" in deep
        assert len(deep) == 3 * 2 * 2 * n_tokens
        assert set(flat["site"]) == {run.sites[2].key}
        assert flat["kind"].tolist() == ["query"] * n_tokens + ["key"] * n_tokens
        pd.testing.assert_frame_equal(
            flat[flat["kind"] == "key"][["input_id", "position"]].reset_index(drop=True),
            run.tokens()[["input_id", "position"]],
            check_dtype=False,
        )
        fidelity = run.fidelity("pca-3d")
        assert len(fidelity) == 6
        assert {"kl_explained", "mix", "site", "head", "method"} <= set(fidelity)
        scores = run.head_scores()
        assert scores.columns.tolist() == "metric site head value ci_low ci_high null n".split()
        assert len(scores) == 3 * 6
        per_input = run.head_input_scores("first_token", run.sites[1], 1)
        assert len(per_input) == len(run.inputs())
        unsorted = run.unsorted_scores("first_token").query("site == 1 and head == 1").sort_values("input_id")
        assert unsorted.columns.tolist() == "site head input_id value null".split()
        assert unsorted["value"].tolist() == per_input["value"].tolist()
        attention = run.attention(run.sites[1], 1, 2)
        assert per_input.set_index("input_id")["value"][2] == pytest.approx(attention[:, 0].mean(), abs=1e-3)
        assert run.thumbnail("atlas-2d", "text.enc.self").startswith(b"\x89PNG")


def test_parameters_of_each_head_come_back_as_plain_values(tmp_path):
    path = make_synthetic_run(tmp_path, n_layers=2, n_heads=2)
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    with add_to_run(path, "late") as addition:
        key = addition.sites[1].key
        made = addition.put_projection("", "linear", "attention", 2, 0, {})
        addition.put_head_parameters(made, key, 1, {"matrix": "replaced"})
        addition.put_head_parameters(
            made, key, 1, {"matrix": matrix, "reading": {"power": np.float32(0.5)}, "n_fitted": np.int64(7)}
        )
        addition.put_head_parameters(made, addition.sites[0].key, 0, {})
        addition.publish()
    with open_run(path) as run:
        found = run.head_parameters("late")
        assert found.columns.tolist() == ["site", "head", "parameters"]
        assert found[["site", "head"]].values.tolist() == [[run.sites[0].key, 0], [run.sites[1].key, 1]]
        plain = {"matrix": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], "reading": {"power": 0.5}, "n_fitted": 7}
        assert found["parameters"].tolist() == [{}, plain]
        assert run.head_parameters("atlas-2d").empty
        with pytest.raises(UnknownName, match="known: atlas-2d"):
            run.head_parameters("nowhere")


def test_profiles_and_arrangements_of_heads_come_back_and_replace_their_old_rows(tmp_path):
    path = make_synthetic_run(tmp_path, n_layers=2, n_heads=2)
    with add_to_run(path, "late") as addition:
        key = addition.sites[1].key
        rows = {"site": key, "head": 1, "x": [0, 1], "y": 0, "null": 0.5, "n": 6}
        addition.put_head_profiles(pd.DataFrame({"profile": "ring", **rows, "value": [0.9, 0.9]}))
        addition.put_head_profiles(pd.DataFrame({"profile": "ring", **rows, "value": [0.25, 0.75]}))
        places = {"arrangement": "umap", "site": key, "head": [0, 1], "x": [0.0, 1.5], "y": -2.0, "cluster": [0, -1]}
        addition.put_head_places(pd.DataFrame(places))
        addition.publish()
    with open_run(path) as run:
        profiles = run.head_profiles("ring", key, 1)
        assert profiles.columns.tolist() == "profile site head x y value null n".split()
        assert profiles["value"].tolist() == [0.25, 0.75]
        assert run.head_profiles("offset").empty
        assert run.head_places()["cluster"].tolist() == [0, -1]
        assert run.head_places("pca").empty
