"""Residual states are the model's own hidden states, and what the MLP adds is what the MLP of that family returns."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from analysis.capture import ResidualTrace, make_plan, run_batch
from tests.capture import zoo

MLP = {
    "transformer.layer.{}.ffn": ("distilbert",),
    "encoder.albert_layer_groups.0.albert_layers.0.ffn_output": ("albert",),
    "h.{}.mlp": ("gpt2",),
    "layers.{}.mlp": (
        "gpt_neox", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "modernbert", "gpt_oss", "vit", "deit",
        "beit",
    ),
    "decoder.layers.{}.fc2": ("opt",),
    "block.{}.layer.1.DenseReluDense": ("t5",),
    "layers.{}.fc2": ("bart",),
    "encoder.layers.{}.mlp": ("clip_text", "siglip_text", "clip_vision", "siglip_vision"),
    "encoder.layer.{}.layer_scale2": ("dinov2", "dinov2_with_registers"),
    "encoder.layer.{}.output.dense": ("bert", "roberta", "electra"),
}  # fmt: skip
"""Written down from the models' own code, one place a family."""


def mlp_name(name: str, layer: int) -> str:
    return next(place for place, families in MLP.items() if name in families).format(layer)


def note(seen: list, module: torch.nn.Module, args: tuple, output) -> None:
    seen.append((output[0] if isinstance(output, tuple) else output).clone())


def trace(name: str, lengths=(12, 5, 9)):
    loaded = zoo.load(name)
    inputs = [zoo.make_input(name, n, seed=row) for row, n in enumerate(lengths)]
    plan = make_plan(loaded, inputs[0])
    with ResidualTrace(loaded.module, plan.sites) as residuals:
        captures = run_batch(loaded, plan, list(enumerate(inputs)), residuals=residuals)
    return loaded, inputs, captures, residuals.drain()


@pytest.mark.parametrize("name", sorted(zoo.MODELS))
def test_states_and_mlp_outputs_are_the_models_own(name: str) -> None:
    loaded, inputs, captures, (batch,) = trace(name)
    assert batch.n_tokens == tuple(len(of_input[0].allowed) for of_input in captures)
    for row, encoded in enumerate(inputs):
        seen, model = [], loaded.module
        places = dict.fromkeys(mlp_name(name, layer) for layer in range(2))
        hooks = [model.get_submodule(place).register_forward_hook(partial(note, seen)) for place in places]
        with torch.no_grad():
            own = model(**{k: torch.tensor(v)[None] for k, v in encoded.items()}, output_hidden_states=True)
        for hook in hooks:
            hook.remove()
        n = batch.n_tokens[row]
        assert len(batch.states) == 3
        assert len(batch.mlp_outputs) == len(seen) == 2
        for ours, theirs in zip(batch.states[:2], own.hidden_states, strict=False):
            np.testing.assert_allclose(ours[row, :n], theirs[0].numpy(), atol=2e-5, rtol=1e-5)
        for ours, theirs in zip(batch.mlp_outputs, seen, strict=True):
            np.testing.assert_allclose(ours[row, :n], theirs.numpy().reshape(n, -1), atol=2e-5, rtol=1e-5)


def test_the_last_state_is_the_one_behind_the_last_block_before_the_final_norm() -> None:
    loaded, inputs, _, (batch,) = trace("gpt2", (7,))
    with torch.no_grad():
        end = loaded.module(input_ids=torch.tensor(inputs[0]["input_ids"])[None]).last_hidden_state
        normed = loaded.module.ln_f(torch.tensor(batch.states[-1]))
    torch.testing.assert_close(normed, end, atol=1e-5, rtol=0)


def test_what_a_block_adds_is_its_attention_and_its_mlp() -> None:
    loaded, inputs, _, (batch,) = trace("gpt2", (7,))
    seen = []
    with torch.no_grad():
        hook = loaded.module.h[1].attn.register_forward_hook(lambda module, args, output: seen.append(output[0]))
        loaded.module(input_ids=torch.tensor(inputs[0]["input_ids"])[None])
        hook.remove()
    added = seen[0].numpy() + batch.mlp_outputs[1]
    np.testing.assert_allclose(batch.states[1] + added, batch.states[2], atol=1e-5)


def test_only_chosen_layers_and_nothing_left_behind() -> None:
    loaded = zoo.load("llama")
    plan = make_plan(loaded, zoo.make_input("llama")).keep({1})
    with ResidualTrace(loaded.module, plan.sites) as residuals:
        run_batch(loaded, plan, [(4, zoo.make_input("llama"))], residuals=residuals)
    (batch,) = residuals.drain()
    assert batch.input_ids == (4,)
    assert len(batch.states) == 2
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in loaded.module.modules())


def test_memory_is_used_again_and_not_before_it_is_given_back() -> None:
    loaded = zoo.load("gpt2")
    plan = make_plan(loaded, zoo.make_input("gpt2"))

    def states(seed: int) -> list:
        run_batch(loaded, plan, [(seed, zoo.make_input("gpt2", seed=seed))], residuals=residuals)
        return residuals.drain()

    with ResidualTrace(loaded.module, plan.sites) as residuals:
        first = states(1)
        before = [state.copy() for state in first[0].states]
        second = states(2)
        for state, then in zip(first[0].states, before, strict=True):
            np.testing.assert_array_equal(state, then)
        assert not np.shares_memory(first[0].states[0], second[0].states[0])
        residuals.release(first)
        third = states(3)
        of_first = [*first[0].states, *first[0].mlp_outputs]
        assert all(any(np.shares_memory(state, old) for old in of_first) for state in third[0].states)
        residuals.release([*second, *third])
        n_buffers = len(residuals._buffers._free)
        residuals.release(states(4))
        assert len(residuals._buffers._free) == n_buffers
        assert not residuals._buffers._lent
