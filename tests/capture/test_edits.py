"""Edits against surgery on the output projection and finite differences; and what they leave alone."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from transformers.modeling_utils import AttentionInterface

from analysis.capture import Capture, Edit, Gate, Knockout, SetOutput
from analysis.errors import CaptureRefused, UnknownName
from analysis.models import BUNDLED_MODELS, load_with_head
from tests.capture import zoo

ORIGINAL = AttentionInterface.get_interface
N_ROWS, N_TOKENS = 4, 9


@pytest.fixture(autouse=True)
def everything_is_back() -> None:
    yield
    assert AttentionInterface.get_interface is ORIGINAL


def batch(name: str, same: bool = True) -> dict[str, torch.Tensor]:
    rows = [zoo.make_input(name, N_TOKENS, 0 if same else seed) for seed in range(N_ROWS)]
    return {key: torch.tensor(np.stack([row[key] for row in rows])) for key in rows[0]}


def states(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        return model(**inputs).last_hidden_state.clone()


def sites(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> list:
    with torch.inference_mode(), Capture(model, keep_outputs=True) as capture:
        model(**inputs)
    return capture.calls


def without_columns(linear: torch.nn.Module, first: int, last: int):
    """Zero the part of W_O that reads one head; give what puts it back."""
    is_conv1d = type(linear).__name__ == "Conv1D"
    part = linear.weight[first:last] if is_conv1d else linear.weight[:, first:last]
    kept = part.clone()
    with torch.no_grad():
        part.zero_()
    return lambda: part.copy_(kept)


PROJECTIONS = {"gpt2": "h.1.attn.c_proj", "vit": "layers.1.attention.o_proj", "llama": "layers.1.self_attn.o_proj"}


@pytest.mark.parametrize("name", PROJECTIONS)
def test_zeroing_a_head_is_surgery_on_the_output_projection(name):
    model, inputs = zoo.make_model(name), batch(name)
    call = sites(model, inputs)[1]
    d_value = call.v.shape[-1]
    plain = states(model, inputs)
    for head in (0, 3):
        with Edit(model, [SetOutput(call.key, head)]):
            edited = states(model, inputs)
        put_back = without_columns(model.get_submodule(PROJECTIONS[name]), head * d_value, (head + 1) * d_value)
        surgery = states(model, inputs)
        put_back()
        assert (edited - surgery).abs().max() == 0
        assert (edited - plain).abs().max() > 1e-3
    assert torch.equal(states(model, inputs), plain)


@pytest.mark.parametrize(
    ("name", "projection", "width"),
    [("demo-language", "h.{}.attn.c_proj", 24), ("demo-vision", "layers.{}.attention.o_proj", 24)],
)
def test_surgery_on_the_bundled_models_with_their_heads(name, projection, width):
    model = load_with_head(BUNDLED_MODELS[name])
    if model.modality == "text":
        inputs = {"input_ids": torch.arange(2, 30)[None]}
    else:
        inputs = {"pixel_values": torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)}
    module = "h.{}.attn#0" if model.modality == "text" else "layers.{}.attention#0"
    for layer, head in ((0, 1), (2, 5)):
        with torch.inference_mode(), Edit(model.module, [SetOutput(module.format(layer), head)]):
            edited = model.whole(**inputs).logits
        linear = model.module.get_submodule(projection.format(layer))
        put_back = without_columns(linear, head * width, (head + 1) * width)
        with torch.inference_mode():
            surgery = model.whole(**inputs).logits
        put_back()
        assert (edited - surgery).abs().max() == 0
        with torch.inference_mode():
            assert (edited - model.whole(**inputs).logits).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["gpt2", "vit", "llama"])
def test_an_edit_for_some_rows_touches_only_these(name):
    model, inputs = zoo.make_model(name), batch(name, same=False)
    key = sites(model, inputs)[0].key
    plain = states(model, inputs)
    value = torch.linspace(-1, 1, 8)
    with Edit(model, [SetOutput(key, 2, value, rows=[1]), SetOutput(key, 0, rows=[3])]):
        edited = states(model, inputs)
    assert torch.equal(edited[[0, 2]], plain[[0, 2]])
    assert ((edited - plain).abs().amax(dim=(1, 2))[[1, 3]] > 1e-3).all()
    for row, change in ((1, SetOutput(key, 2, value)), (3, SetOutput(key, 0))):
        with Edit(model, [change]):
            assert torch.equal(states(model, inputs)[row], edited[row])


def test_an_edit_for_some_queries_touches_only_these_in_its_layer():
    model, inputs = zoo.make_model("vit"), batch("vit")
    first = sites(model, inputs)[0]
    queries = torch.arange(first.q.shape[2]) == 4
    value = torch.ones(8)
    change = SetOutput(first.key, 1, value, queries=queries)
    with torch.inference_mode(), Capture(model, keep_outputs=True) as capture, Edit(model, [change]):
        model(**inputs)
    expected = first.output.clone()
    expected[:, 4, 1] = 1.0
    assert torch.equal(capture.calls[0].output, expected), "a capture records the edited output"


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ["gpt2", "bert", "llama"])
def test_knocked_out_keys_get_nothing_and_the_others_their_softmax(name, implementation):
    model, inputs = zoo.make_model(name), batch(name, same=False)
    model.set_attn_implementation(implementation)
    plain = sites(model, inputs)[0]
    blocked = torch.zeros(N_TOKENS, N_TOKENS, dtype=torch.bool)
    blocked[:, 2] = True
    blocked[0] = True  # this query is left without a key
    edit = Edit(model, [Knockout(plain.key, 1, blocked, rows=[0, 3])])
    with torch.inference_mode(), edit, Capture(model, keep_outputs=True) as capture:
        model(**inputs)
    edited = capture.calls[0]
    weights = plain.attention().masked_fill(blocked, 0)
    weights = weights / weights.sum(-1, keepdim=True).clamp_min(1e-12)
    own = weights[:, 1] @ plain.v.repeat_interleave(4 // plain.v.shape[1], dim=1)[:, 1]
    for row in (0, 3):
        torch.testing.assert_close(edited.output[row, :, 1], own[row], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(edited.attention()[row, 1, 1:], weights[row, 1, 1:], atol=1e-6, rtol=1e-5)
        assert not edited.output[row, 0, 1].any()
    others = torch.ones(N_ROWS, 4, dtype=torch.bool)
    others[[0, 3], 1] = False
    difference = (edited.output - plain.output).abs().amax(dim=(1, 3))
    assert difference[others].max() < 1e-6
    torch.testing.assert_close(edited.attention()[others], plain.attention()[others], atol=1e-6, rtol=1e-5)


def test_all_heads_can_lose_a_key():
    model, inputs = zoo.make_model("bert"), batch("bert")
    key = sites(model, inputs)[1].key
    blocked = torch.zeros(N_TOKENS, N_TOKENS, dtype=torch.bool)
    blocked[:, 5] = True
    with torch.inference_mode(), Capture(model) as capture, Edit(model, [Knockout(key, None, blocked)]):
        model(**inputs)
    assert capture.calls[1].attention()[..., 5].abs().max() == 0
    assert capture.calls[0].attention()[..., 5].max() > 0.01


def test_gradients_by_the_gates_are_those_of_finite_differences():
    model = zoo.make_model("gpt2").double()  # Llama normalises in single precision whatever its weights are
    inputs = batch("gpt2", same=False)
    key = sites(model, inputs)[0].key
    direction = torch.randn(32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def loss(gates: torch.Tensor) -> torch.Tensor:
        with Edit(model, [Gate(key, gates)]):
            return (model(**inputs).last_hidden_state @ direction).sin().sum(dim=1)

    gates = torch.ones(N_ROWS, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(gates).sum(), gates)
    step = 1e-5
    with torch.no_grad():
        assert torch.equal(loss(torch.ones(4, dtype=torch.float64)), loss(torch.ones(N_ROWS, 4, dtype=torch.float64)))
        for head in range(4):
            moved = torch.zeros(4, dtype=torch.float64)
            moved[head] = step
            numeric = (loss(1 + moved) - loss(1 - moved)) / (2 * step)
            torch.testing.assert_close(gradient[:, head], numeric, atol=1e-6, rtol=1e-5)
    assert gradient.abs().min() > 1e-5


def test_shared_layers_are_edited_by_the_ordinal_of_the_call():
    model, inputs = zoo.make_model("albert"), batch("albert")
    first, second = sites(model, inputs)
    assert first.module_name == second.module_name
    with torch.inference_mode(), Capture(model, keep_outputs=True) as capture, Edit(model, [SetOutput(second.key, 0)]):
        model(**inputs)
    assert torch.equal(capture.calls[0].output, first.output)
    assert not capture.calls[1].output[:, :, 0].any()
    assert torch.equal(capture.calls[1].output[:, :, 1:], second.output[:, :, 1:])


def test_edits_nest_and_the_inner_one_ends_first():
    model, inputs = zoo.make_model("gpt2"), batch("gpt2")
    key = sites(model, inputs)[0].key
    with Edit(model, [SetOutput(key, 0)]):
        outer = states(model, inputs)
        with Edit(model, [SetOutput(key, 1)]):
            both = states(model, inputs)
        assert torch.equal(states(model, inputs), outer)
    with Edit(model, [SetOutput(key, 0), SetOutput(key, 1)]):
        assert torch.equal(states(model, inputs), both)


def test_everything_is_back_after_an_error():
    model, inputs = zoo.make_model("gpt2"), batch("gpt2")
    plain = states(model, inputs)
    n_hooks = sum(len(part._forward_pre_hooks) for part in model.modules())
    with (
        pytest.raises(UnknownName, match="heads 0 to 3; there is no head 4"),
        Edit(model, [SetOutput("h.0.attn#0", 4)]),
    ):
        model(**inputs)
    assert sum(len(part._forward_pre_hooks) for part in model.modules()) == n_hooks
    assert torch.equal(states(model, inputs), plain)


def test_what_cannot_be_edited_is_refused():
    model, inputs = zoo.make_model("gpt2"), batch("gpt2")
    with pytest.raises(UnknownName, match=r"no site .h\.7\.attn#0. in this GPT2Model"):
        Edit(model, [SetOutput("h.7.attn#0", 0)]).__enter__()
    with pytest.raises(CaptureRefused, match="was never made"), Edit(model, [SetOutput("h.0.attn#1", 0)]):
        states(model, inputs)
    with (
        pytest.raises(CaptureRefused, match="attends over 9 x 9 tokens"),
        Edit(model, [Knockout("h.0.attn#0", 0, torch.zeros(3, 3, dtype=torch.bool))]),
    ):
        states(model, inputs)


def test_other_models_are_untouched():
    model, other = zoo.make_model("gpt2", 0), zoo.make_model("gpt2", 1)
    inputs = batch("gpt2")
    plain = states(other, inputs)
    with Edit(model, [SetOutput("h.0.attn#0", 0)]):
        states(model, inputs)
        assert torch.equal(states(other, inputs), plain)


def test_two_threads_edit_the_same_model_each_for_itself():
    model, inputs = zoo.make_model("gpt2"), batch("gpt2")
    expected, found = {}, {0: [], 1: []}
    for head in found:
        with Edit(model, [SetOutput("h.0.attn#0", head)]):
            expected[head] = states(model, inputs)
    meet = threading.Barrier(2)

    def work(head: int) -> None:
        with Edit(model, [SetOutput("h.0.attn#0", head)]):
            for _ in range(20):
                meet.wait()
                found[head].append(states(model, inputs))

    threads = [threading.Thread(target=work, args=(head,)) for head in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for head, outputs in found.items():
        assert len(outputs) == 20
        # Two threads at once may round otherwise than one; another thread's edit would show a thousand times as much.
        for output in outputs:
            torch.testing.assert_close(output, expected[head], atol=1e-5, rtol=0)
    assert (expected[0] - expected[1]).abs().max() > 1e-2
