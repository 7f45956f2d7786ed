"""Aligned maps: neighbouring heads start towards each other, and stay nearer than heads laid out alone."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import analysis
from analysis.attention import recompute
from analysis.cli import main
from analysis.errors import UserError
from analysis.projection.alignment import blended, displacement, unit_cloud
from analysis.projection.fit import fit_heads
from analysis.projection.naming import MapKind
from analysis.projection.problem import Layout
from tests.projection.heads import random_head

FIDELITY_BOUND = 0.05
"""How much worse an aligned map may be on average, in KL explained and in neighbours kept."""


def turned(layout, angle, mirrored=False):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag(
        [1, -1 if mirrored else 1]
    )
    return Layout(*((places @ turn + 5).astype(np.float32) for places in (layout.queries, layout.keys)))


def related_heads(n_heads=4):
    """Heads that see the same tokens each in its own turn of space, with a little of their own."""
    random = np.random.default_rng(0)
    plain = random_head(lengths=(25,) * 10, d_head=8, sharpness=1.4)
    problems = []
    for _ in range(n_heads):
        turn = np.linalg.qr(random.normal(size=(8, 8)))[0]
        queries, keys = (
            ((part + 0.3 * random.normal(size=part.shape)) @ turn).astype(np.float32)
            for part in (plain.queries, plain.keys)
        )
        attention = [
            recompute(queries[None, a:b], keys[None, a:b], plain.allowed[0], plain.scale)[0]
            for a, b in pairwise(plain.starts)
        ]
        problems.append(replace(plain, queries=queries, keys=keys, attention=attention))
    return problems


def jobs(problems, per_site=2):
    return [(f"site{i // per_site}", i % per_site, lambda p=p: replace(p)) for i, p in enumerate(problems)]


def test_displacement_is_nothing_for_one_cloud_in_another_size_and_place():
    layout = Layout(*np.random.default_rng(0).normal(size=(2, 40, 2)).astype(np.float32))
    bigger = Layout(layout.queries * 3 + 7, layout.keys * 3 + 7)
    assert displacement(layout, bigger) == pytest.approx(0, abs=1e-6)
    assert displacement(layout, turned(layout, np.pi)) == pytest.approx(
        2 * np.linalg.norm(unit_cloud(layout), axis=1).mean(), rel=1e-5
    )


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_blend_undoes_turns_and_reflections(mirrored):
    layout = Layout(*np.random.default_rng(0).normal(size=(2, 40, 2)).astype(np.float32))
    mixed = blended(turned(layout, 2.0, mirrored), layout)
    assert displacement(mixed, layout) == pytest.approx(0, abs=1e-5)


def test_neighbouring_heads_of_an_aligned_map_lie_nearer_at_a_small_price():
    problems = related_heads()
    free, aligned = (list(fit_heads(jobs(problems), "atlas", aligned=chosen)) for chosen in (False, True))
    gaps = {
        name: np.mean([displacement(one[2], other[2]) for one, other in pairwise(maps)])
        for name, maps in (("free", free), ("aligned", aligned))
    }
    assert gaps["aligned"] < 0.75 * gaps["free"]
    for figure in ("kl_explained", "kept_queries", "kept_keys"):
        alone, together = (np.mean([fitted[3][figure] for fitted in maps]) for maps in (free, aligned))
        assert together > alone - FIDELITY_BOUND
    assert [fitted[2].parameters.get("aligned") for fitted in aligned] == [None, True, True, True]


def test_the_first_head_of_a_site_follows_the_first_of_the_site_before():
    same = related_heads(1)[0]
    problems = [same, replace(same, queries=same.queries[:, ::-1].copy()), same]
    first, _, third = (fitted[2] for fitted in fit_heads(jobs(problems), "atlas", aligned=True))
    again = next(iter(fit_heads(jobs([same]), "atlas", aligned=True)))[2]
    np.testing.assert_array_equal(first.queries, again.queries)
    assert displacement(first, third) < 0.5


def test_an_aligned_map_that_is_resumed_is_the_map_made_at_once():
    problems = related_heads()
    whole = list(fit_heads(jobs(problems), "atlas", aligned=True))
    stored = {(fitted[0], fitted[1]): Layout(fitted[2].queries, fitted[2].keys) for fitted in whole[:2]}
    rest = list(fit_heads(jobs(problems), "atlas", aligned=True, known=lambda *head: stored.get(head)))
    assert [fitted[:2] for fitted in rest] == [fitted[:2] for fitted in whole[2:]]
    for one, other in zip(rest, whole[2:]):
        np.testing.assert_array_equal(one[2].queries, other[2].queries)


def test_many_tokens_are_aligned_on_their_sample():
    problems = related_heads(2)
    maps = [fitted[2] for fitted in fit_heads(jobs(problems), "atlas", aligned=True, max_tokens=120)]
    assert maps[1].parameters["n_fitted"] < 250
    assert maps[1].parameters["aligned"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("atlas", MapKind("atlas")),
        ("umap-3d", MapKind("umap", 3)),
        ("atlas-2d-without-sinks", MapKind("atlas", 2, "without_sinks")),
        ("atlas-aligned", MapKind("atlas", aligned=True)),
        ("atlas-3d-without-sinks-aligned", MapKind("atlas", 3, "without_sinks", True)),
    ],
)
def test_names_of_maps_are_read_and_written(text, kind):
    assert MapKind.parse(text) == kind
    assert MapKind.parse(kind.name) == kind


@pytest.mark.parametrize(
    ("text", "said"), [("maps-2d", "maps"), ("umap-2d-aligned", "cannot be aligned; these can: atlas")]
)
def test_names_that_mean_no_map_are_refused(text, said):
    with pytest.raises(UserError, match=said):
        MapKind.parse(text)


def test_aligned_maps_are_made_by_the_commands(tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_text("the baker saw the miller near the river today\nthe old clerk told the baker a story again\n" * 2)
    where = ["--out", str(tmp_path / "runs")]
    names = ["atlas-2d-aligned", "linear-3d"]
    extract = ["extract", "--model", "demo-language", "--data", str(texts), "--run-id", "near", "--layers", "0-1"]
    assert main([*extract, *where, "--projection", *names]) == 0
    assert main(["project", "near", "--method", "atlas", *where]) == 0
    apart = ["project", "near", "--method", "atlas", "--target", "without_sinks", "--aligned", *where]
    assert main(apart) == 0
    assert main(apart) == 2
    assert "already has the map atlas-2d-without-sinks-aligned" in capsys.readouterr().err
    assert main(["project", "near", "--method", "pca", "--aligned", *where]) == 2
    assert "'pca' cannot be aligned" in capsys.readouterr().err
    with analysis.open_run(tmp_path / "runs" / "near") as run:
        made = run.projections().set_index("name")
        assert set(made.index) == {*names, "atlas-2d", "atlas-2d-without-sinks-aligned"}
        aligned = {name: bool(json.loads(made.loc[name, "parameters"]).get("aligned")) for name in made.index}
        assert aligned == {name: name.endswith("-aligned") for name in made.index}
        first, second = (run.coordinates(projection=name) for name in ("atlas-2d", "atlas-2d-aligned"))
        heads = run.head_parameters("atlas-2d-aligned")
        assert [bool(made_with.get("aligned")) for made_with in heads["parameters"]] == [
            False,
            *[True] * (len(heads) - 1),
        ]
    assert len(first) == len(second)
    assert not np.allclose(first["x"], second["x"])
