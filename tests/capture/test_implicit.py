"""The implicit attention of state-space layers, against the published formula written out and the layers themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
import transformers as hf

from analysis.capture import Capture, make_plan
from analysis.capture import alone as alone_module
from analysis.capture.scans import find_scans
from analysis.errors import CaptureRefused
from analysis.models import LoadedModel

_SIZES = dict(vocab_size=99, hidden_size=16, state_size=4, num_hidden_layers=2)
_SPLIT = dict(num_heads=4, head_dim=8, n_groups=2, chunk_size=8)
MODELS: dict[str, Callable[[], hf.PreTrainedModel]] = {
    "mamba": lambda: hf.MambaModel(hf.MambaConfig(**_SIZES, time_step_rank=4)),
    "falcon_mamba": lambda: hf.FalconMambaModel(hf.FalconMambaConfig(**_SIZES, time_step_rank=4)),
    "mamba2": lambda: hf.Mamba2Model(hf.Mamba2Config(**_SIZES, **_SPLIT)),
}
N_TOKENS = 13


def _make(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    model = MODELS[name]().eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            parameter.normal_(0, 0.25)
    return model


def _ids(n_tokens: int = N_TOKENS) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(3, 99, (2, n_tokens)))


def _scans(model: torch.nn.Module) -> list:
    with torch.no_grad(), Capture(model, keep_outputs=True, implicit=True) as capture:
        model(_ids(), use_cache=False)
    return capture.calls


@pytest.mark.parametrize("name", MODELS)
def test_times_the_inputs_it_is_the_scans_own_output(name: str) -> None:
    for call in _scans(_make(name)):
        weights, gap = call.alone.attention_and_difference()
        assert gap < 1e-5
        assert float(weights.min()) < -1e-3
        assert float(weights.max()) > 1e-3
        assert not bool(torch.triu(weights, 1).any())
        torch.testing.assert_close(weights, call.attention())


def test_a_mamba_layer_is_made_of_it() -> None:
    """out_proj((alpha u + D u) * silu(gate)) is what the mixer gives, u being its convolved inputs."""
    model = _make("mamba")
    mixer, seen = model.layers[0].mixer, []
    hooks = [mixer.register_forward_hook(lambda part, args, kwargs, output: seen.append((args, kwargs, output)),
                                         with_kwargs=True)]  # fmt: skip
    call = _scans(model)[0]
    hooks[0].remove()
    (args, kwargs, output), scan = seen[0], call.alone
    states = args[0] if args else kwargs["hidden_states"]
    gate = mixer.in_proj(states).chunk(2, dim=-1)[1]
    channels = range(scan.n_heads)
    mixed = torch.einsum("bcij,bjc->bic", scan.matrices(channels), scan.u[..., 0])
    ours = mixer.out_proj((mixed + mixer.D * scan.u[..., 0]) * torch.nn.functional.silu(gate))
    torch.testing.assert_close(ours, output[0] if isinstance(output, tuple) else output, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["mamba", "mamba2"])
def test_it_is_the_published_formula(name: str) -> None:
    """alpha_ij = C_i (prod_{k=j+1..i} exp(Delta_k A)) Delta_j B_j, written out for one channel or head."""
    scan, head = _scans(_make(name))[1].alone, 3
    step, group = scan.step[0, :, head].double(), head * scan.b.shape[2] // scan.n_heads
    expected = np.zeros((N_TOKENS, N_TOKENS))
    for i in range(N_TOKENS):
        for j in range(i + 1):
            decay = torch.ones(scan.b.shape[-1], dtype=torch.float64)
            for k in range(j + 1, i + 1):
                decay = decay * torch.exp(step[k] * scan.decay[head].double())
            expected[i, j] = float(
                (scan.c[0, i, group].double() * decay * step[j] * scan.b[0, j, group].double()).sum()
            )
    np.testing.assert_allclose(scan.matrices([head])[0, 0].numpy(), expected, atol=1e-6)


def test_channels_are_shown_as_means_of_groups() -> None:
    scan = _scans(_make("mamba"))[0].alone
    assert (scan.n_heads, scan.n_shown) == (32, 8)
    torch.testing.assert_close(scan.attention()[:, 2], scan.matrices(range(8, 12)).mean(dim=1))


def test_outputs_stay_and_everything_is_put_back() -> None:
    model = _make("mamba2")
    ((file, name),) = find_scans(model)
    before, plain = getattr(file, name), model(_ids(), use_cache=False).last_hidden_state
    others: list = []
    with Capture(model, implicit=True) as capture:
        assert torch.equal(model(_ids(), use_cache=False).last_hidden_state, plain)
        thread = threading.Thread(target=lambda: others.append(model(_ids(), use_cache=False)))
        thread.start()
        thread.join()
    assert others
    assert len(capture.calls) == 2  # of this thread's pass alone
    assert getattr(file, name) is before
    with Capture(model) as without:
        model(_ids(), use_cache=False)
    assert not without.calls


def test_longer_inputs_are_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone_module, "MOST_TOKENS", 8)
    loaded = LoadedModel(_make("mamba"), None, "tiny", "none", "text", "mamba", 1, 64, "float32", "cpu")
    with pytest.raises(CaptureRefused, match="inputs of up to 8 tokens, and the longest here has 13: give shorter"):
        make_plan(loaded, {"input_ids": _ids()[0].numpy()})
