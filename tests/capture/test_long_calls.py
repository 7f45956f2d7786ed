"""The verdict on a long input, window by window, is the one on its whole attention."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.capture import Capture, certificate, long_calls, make_plan
from analysis.capture.batch import forward, pad
from analysis.capture.plan import key_offset
from analysis.capture.sites import find_band
from analysis.inputs import encode, read_data
from analysis.models import load_model
from analysis.types import Band


@pytest.fixture(scope="module")
def prepared():
    loaded = load_model("demo-language")
    return loaded, encode(read_data("demo-sentences", limit=4), loaded)


def _calls(loaded, tensors):
    with Capture(loaded.module, keep_outputs=True) as capture:
        forward(loaded, pad(loaded, [tensors])[0])
    return capture.calls


def test_windows_give_the_differences_of_the_whole(prepared, monkeypatch):
    loaded, inputs = prepared
    call = _calls(loaded, inputs.tensors(0))[1]
    whole = certificate.judge_call(call, None, 1e-5, key_offset(call))
    monkeypatch.setattr(long_calls, "HELD_CELLS", 1)
    monkeypatch.setattr(long_calls, "WINDOW_CELLS", 5 * call.k.shape[2])
    monkeypatch.setattr(long_calls, "MOST_WINDOWS", 99)
    assert certificate.is_long(call)
    parts = certificate.judge_call(call, None, 1e-5, key_offset(call))
    assert sum(1 for _ in long_calls.windows(call)) == 8 * -(-call.q.shape[2] // 5)
    assert parts["recomputed_max_abs_diff"] == pytest.approx(whole["recomputed_max_abs_diff"], rel=1e-2)
    assert parts["rounding"] == pytest.approx(whole["rounding"], rel=1e-5)
    assert parts["values_max_abs_diff"] < 1e-5
    assert parts["is_recomputable"]
    assert not parts["reason"]


def test_a_wrong_output_and_wrong_keys_show_in_a_window(prepared, monkeypatch):
    loaded, inputs = prepared
    call = _calls(loaded, inputs.tensors(0))[0]
    monkeypatch.setattr(long_calls, "HELD_CELLS", 1)
    monkeypatch.setattr(long_calls, "WINDOW_CELLS", 5 * call.k.shape[2])
    output = call.output.clone()
    output[0, -1, 3] += 0.5 * output.abs().max()
    assert "attention times values" in certificate.judge_call(replace(call, output=output), None, 1e-5)["reason"]
    moved = certificate.judge_call(call, None, 1e-5, key_offset(call) + 4000)
    assert moved["recomputed_max_abs_diff"] > 1e-2
    assert not moved["is_recomputable"]


def test_what_is_added_to_scores_is_looked_at_whole(prepared):
    call = _calls(prepared[0], prepared[1].tensors(0))[0]
    assert long_calls.can_be_windowed(call)
    n = call.k.shape[2]
    assert not long_calls.can_be_windowed(replace(call, position_bias=torch.ones(1, 8, n, n)))
    assert not long_calls.can_be_windowed(replace(call, mask=torch.ones(1, 1, n, n) * 0.5))
    assert not long_calls.can_be_windowed(replace(call, output=None))


def test_the_plan_of_a_long_input_says_what_was_not_compared(prepared, monkeypatch):
    loaded, inputs = prepared
    plan = make_plan(loaded, inputs.tensors(0))
    monkeypatch.setattr(long_calls, "HELD_CELLS", 1)
    long = make_plan(loaded, inputs.tensors(0))
    assert [site.as_dict() for site in long.sites] == [site.as_dict() for site in plan.sites]
    assert long.certificate["eager"].startswith("not compared")
    assert long.certificate["attention_max_abs_diff"] is None
    assert long.certificate["values_max_abs_diff"] < 1e-5


@pytest.mark.parametrize(
    ("mask", "band"),
    [
        (Band(3, 0).allowed(9), Band(3, 0)),
        (Band(2, 5).allowed(9, 7), Band(2, 5)),
        (Band().allowed(4), Band()),
        (np.eye(5, dtype=bool), Band(0, 0)),
        (np.zeros((3, 3), bool), None),
        (~np.eye(5, dtype=bool), None),
        (np.tri(6, dtype=bool) & (np.arange(6) > 0), None),
    ],
)
def test_bands_are_found_row_by_row(mask, band):
    assert find_band(mask) == band
    if band is not None:
        np.testing.assert_array_equal(band.rows(1, len(mask), mask.shape[1]), mask[1:])
