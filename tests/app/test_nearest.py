"""More like this point: exact against brute force, whatever is asked, and fast enough for a click."""

import time

import numpy as np
import pandas as pd
import pytest

from app.charts.nearest import describe_found, nearest, nearest_to


@pytest.mark.parametrize("n", [1, 7, 199, 500])
def test_the_nearest_are_those_of_brute_force(n):
    vectors = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32) + 40
    found = nearest(vectors, 17, n)
    apart = np.array([np.sqrt(sum((float(a) - float(b)) ** 2 for a, b in zip(each, vectors[17]))) for each in vectors])
    order = [row for row in np.argsort(apart, kind="stable").tolist() if row != 17][:n]
    assert found.rows.tolist() == order
    np.testing.assert_allclose(found.distances, apart[order], rtol=1e-4)
    assert found.typical == pytest.approx(np.median(np.delete(apart, 17)), rel=1e-4)


def test_chunks_change_nothing(monkeypatch):
    vectors = np.random.default_rng(1).normal(size=(300, 8)).astype(np.float32)
    whole = nearest(vectors, 250, 20)
    monkeypatch.setattr("app.charts.nearest._CHUNK", 64)
    assert nearest(vectors, 250, 20).rows.tolist() == whole.rows.tolist()


def test_equal_vectors_come_in_the_order_of_the_table():
    vectors = np.zeros((9, 4), dtype=np.float32)
    vectors[4] = 1
    found = nearest(vectors, 2, 3)
    assert found.rows.tolist() == [0, 1, 3]
    assert found.distances.tolist() == [0, 0, 0]


def test_only_the_allowed_rows_are_found_and_the_set_is_not_changed():
    vectors = np.arange(10, dtype=np.float32)[:, None]
    among = np.arange(10) > 5
    assert nearest(vectors, 4, 2, among).rows.tolist() == [6, 7]
    assert among.sum() == 4
    assert nearest(vectors, 4, 3, np.zeros(10, dtype=bool)).rows.tolist() == []
    assert nearest(vectors[:1], 0, 3).rows.tolist() == []


def test_a_vector_of_no_row_is_compared_with_every_row():
    vectors = np.random.default_rng(3).normal(size=(51, 6)).astype(np.float32)
    apart = np.linalg.norm(vectors.astype(float) - 0.5, axis=1)
    found = nearest_to(vectors, np.full(6, 0.5, dtype=np.float32), 51)
    assert found.rows.tolist() == np.argsort(apart, kind="stable").tolist()
    np.testing.assert_allclose(found.distances, np.sort(apart), rtol=1e-5)
    assert found.typical == pytest.approx(np.median(apart), rel=1e-5)
    assert nearest_to(vectors, vectors[7], 1).rows.tolist() == [7]
    assert nearest_to(vectors, vectors[7], 9, np.arange(51) == 3).rows.tolist() == [3]


def test_a_hundred_thousand_points_take_well_under_a_second():
    vectors = np.random.default_rng(2).normal(size=(100_000, 64)).astype(np.float32)
    seconds = []
    for row in range(3):
        began = time.perf_counter()
        nearest(vectors, row, 30)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.5


def test_rows_say_where_a_token_stands():
    tokens = pd.DataFrame(
        {
            "input_id": [0, 0, 1], "position": [0, 1, 0], "text": ["the", "dog", "CLS"],
            "char_start": pd.array([0, 4, None], dtype="Int32"), "char_end": pd.array([3, 7, None], dtype="Int32"),
            "row": pd.array([None, None, None], dtype="Int32"), "column": pd.array([None] * 3, dtype="Int32"),
        }
    )  # fmt: skip
    found = nearest(np.array([[0.0], [1.0], [3.0]], dtype=np.float32), 0, 2)
    first, second = describe_found(found, tokens, "key", {0: "the dog", 1: ""})
    assert (first["before"], first["text"], first["after"]) == ("the ", "dog", "")
    assert first["pick"] == {"input": 0, "token": 1, "kind": "key"}
    assert (first["point"], first["distance"], second["text"], second["distance"]) == (4, 1.0, "CLS", 3.0)


def test_patches_have_their_place_in_the_image():
    tokens = pd.DataFrame(
        {
            "input_id": 3, "position": range(5), "text": "CLS r0c0 r0c1 r1c0 r1c1".split(),
            "row": pd.array([None, 0, 0, 1, 1], dtype="Int32"), "column": pd.array([None, 0, 1, 0, 1], dtype="Int32"),
        }
    )  # fmt: skip
    rows = describe_found(nearest(np.eye(5, dtype=np.float32), 0, 4), tokens, "query", {})
    assert [row["patch"] for row in rows][1] == [0.5, 0, 0.5, 0.5]
    assert rows[3]["place"] == "row 1, column 1"
