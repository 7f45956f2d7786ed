"""Queries and keys asked for as they are stored: the same blobs as those the store rounds itself, without a copy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.capture import make_plan, run_batch
from analysis.store.packing import view_rows
from analysis.store.vectors import vector_rows
from tests.capture import zoo


def captured(name: str, rounded: bool, lengths=(5, 12, 1)):
    loaded = zoo.load(name)
    batch = [(place, zoo.make_input(name, length, place)) for place, length in enumerate(lengths)]
    plan = make_plan(loaded, max((encoded for _, encoded in batch), key=lambda one: len(next(iter(one.values())))))
    found = run_batch(loaded, plan, batch, want_attention=False, rounded=rounded)
    return [capture for of_input in found for capture in of_input], plan


@pytest.mark.parametrize("name", ["bert", "llama", "gpt_oss", "vit"])
def test_blobs_are_those_the_store_makes_of_fp32(name):
    (exact, plan), (rounded, _) = captured(name, False), captured(name, True)
    assert {capture.keys.dtype for capture in rounded} == {np.dtype(np.float16)}
    expected, got = vector_rows(exact, plan.key_offsets), vector_rows(rounded, plan.key_offsets)
    for column in ("q", "k", "v_norm"):
        assert got[column].to_pylist() == expected[column].to_pylist(), column
    assert "view" in str(got.schema.field("q").type)


def test_values_beyond_fp16_stay_fp32():
    loaded, encoded = zoo.load("bert"), zoo.make_input("bert")
    plan = make_plan(loaded, encoded)
    own = loaded.module.encoder.layer[0].attention.self.query
    before = own.bias.detach().clone()
    try:
        with torch.no_grad():
            own.bias[3] += 70_000
        first, second = run_batch(loaded, plan, [(0, encoded)], rounded=True)[0][:2]
    finally:
        with torch.no_grad():
            own.bias.copy_(before)
    assert first.queries.dtype == np.float32
    assert first.queries.max() > 65504
    assert second.queries.dtype == np.float16


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3, 2), np.float16),  # 12 bytes a row stand in the view itself
        np.zeros((2, 3, 8), np.float16)[:, :, ::2],  # a row in pieces
        np.zeros((9, 3, 1), np.float16),
    ],
)
def test_rows_that_arrow_cannot_point_at_are_not_pointed_at(array):
    assert view_rows([array], [1]) is None


def test_shared_keys_leave_nulls_for_the_other_heads():
    whole = np.arange(64, dtype=np.float16).reshape(2, 4, 8)
    column = view_rows([whole[:, :3]], [3])
    column.validate(full=True)
    assert column.to_pylist() == [whole[0, :3].tobytes(), None, None, whole[1, :3].tobytes(), None, None]
