"""What every registered map must do, tiny and odd problems included; a new file is tested with no edit here."""

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from analysis.errors import UnknownName, UserError
from analysis.projection import PROJECTIONS
from analysis.projection.fidelity import FIGURES, measure
from analysis.stock_umap import KEPT, stock_umap
from analysis.types import Band
from tests.projection.heads import random_head

METHODS = list(PROJECTIONS)


def fit(method, problem, dims=2, seed=0, **parameters):
    return PROJECTIONS[method](problem, dims, seed, **parameters)


def same(one, two) -> bool:
    return np.array_equal(one.queries, two.queries) and np.array_equal(one.keys, two.keys)


def test_the_methods_of_the_design_are_there():
    assert {"linear", "atlas", "umap", "tsne", "pca"} <= set(METHODS)


def test_an_unknown_method_names_the_known_ones():
    with pytest.raises(UnknownName, match="atlas, linear"):
        PROJECTIONS["umpa"]


def test_other_dimensions_are_refused():
    with pytest.raises(UserError, match="2 or 3 dimensions, not 4"):
        PROJECTIONS["pca"](random_head(), 4)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_layouts_have_places_for_all_points_and_can_be_repeated(method, dims):
    problem = random_head()
    before = problem.queries.copy(), problem.keys.copy(), [matrix.copy() for matrix in problem.attention]
    layout = fit(method, problem, dims, seed=3)
    assert layout.queries.shape == layout.keys.shape == (problem.n_points, dims)
    assert layout.queries.dtype == layout.keys.dtype == np.float32
    assert np.isfinite(layout.queries).all()
    assert np.isfinite(layout.keys).all()
    assert len(np.unique(np.vstack([layout.queries, layout.keys]), axis=0)) > problem.n_points
    assert same(layout, fit(method, replace(problem), dims, seed=3))
    assert layout.parameters["seed"] == 3
    assert json.loads(json.dumps(layout.parameters)) == layout.parameters
    np.testing.assert_array_equal(problem.queries, before[0])
    np.testing.assert_array_equal(problem.keys, before[1])
    for matrix, kept in zip(problem.attention, before[2]):
        np.testing.assert_array_equal(matrix, kept)


@pytest.mark.parametrize(
    "problem",
    [
        random_head(lengths=(1,)),
        random_head(lengths=(2,)),
        random_head(lengths=(5,)),
        random_head(lengths=(1, 1, 1)),
        random_head(lengths=(30,), band=Band(right=0)),
        random_head(lengths=(30, 4), band=Band(left=3, right=0)),
        random_head(lengths=(12, 12), sharpness=0.0),
        random_head(lengths=(12, 12), sharpness=30.0),
        random_head(lengths=(7, 8), d_head=1),
        random_head(lengths=(14, 9), band=Band(right=0)).with_target("without_sinks"),
    ],
    ids="one two five ones causal window equal sharp narrow without_sinks".split(),
)
@pytest.mark.parametrize("method", METHODS)
def test_odd_problems_give_finite_places(method, problem):
    for dims in (2, 3):
        layout = fit(method, problem, dims)
        assert layout.queries.shape == (problem.n_points, dims)
        assert np.isfinite(layout.queries).all()
        assert np.isfinite(layout.keys).all()
        figures = measure(problem, layout)
        assert tuple(figures) == FIGURES
        assert not any(np.isinf(value) for value in figures.values())


@pytest.mark.parametrize("method", METHODS)
def test_a_map_tells_what_it_was_made_with(method):
    for target in ("attention", "without_sinks"):
        promised = PROJECTIONS[method].parameters(target)
        made = fit(method, random_head().with_target(target)).parameters
        assert {name: made[name] for name in promised} == promised or method in (
            "umap",
            "tsne",
        )  # fewer neighbours here
    assert method != "atlas" or promised["power"] == 2


def compiled_by_umap() -> list:
    return [getattr(import_module(module), name) for module, name in KEPT]


def test_what_umap_compiles_is_kept_on_disk():
    fit("umap", random_head())
    for function in compiled_by_umap():
        assert function.stats.cache_path
        assert function.stats.cache_hits or function.stats.cache_misses


def test_umap_works_where_nothing_can_be_kept(monkeypatch):
    def nowhere_to_write(self):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(type(compiled_by_umap()[0]), "enable_caching", nowhere_to_write)
    assert stock_umap().__name__ == "UMAP"
