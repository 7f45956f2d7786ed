"""Attention that goes round transformers' interface, found by what is computed, against what the model itself says."""

from __future__ import annotations

import threading

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from torch import Tensor, nn

from analysis.capture import Capture, make_plan
from analysis.capture.interface import Call
from analysis.capture.optrace import Unfused
from analysis.errors import CaptureRefused
from tests.capture import zoo
from tests.capture.test_plan import wrap

SIZES = dict(vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37)


def _sharp(model: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            parameter.data.normal_(0, 0.25)
    return model.eval().requires_grad_(False)


def _deberta() -> nn.Module:
    position = dict(relative_attention=True, pos_att_type=["c2p", "p2c"], position_buckets=8)
    return hf.DebertaV2Model(hf.DebertaV2Config(**SIZES, max_position_embeddings=64, **position))


TRACED = {
    "deberta-v2": _deberta,
    "xlnet": lambda: hf.XLNetModel(hf.XLNetConfig(vocab_size=99, d_model=32, n_layer=2, n_head=4, d_inner=37)),
    "bloom": lambda: hf.BloomModel(hf.BloomConfig(vocab_size=99, hidden_size=32, n_layer=2, n_head=4)),
    "mpt": lambda: hf.MptModel(hf.MptConfig(vocab_size=99, d_model=32, n_layers=2, n_heads=4, max_seq_len=64)),
    "gpt2, reordered": lambda: hf.GPT2Model(
        hf.GPT2Config(
            **zoo._TEXT, n_embd=32, n_layer=2, n_head=4, n_positions=64, reorder_and_upcast_attn=True,
            attn_implementation="eager",
        )
    ),
    "led": lambda: hf.LEDModel(
        hf.LEDConfig(
            vocab_size=99, d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=37, decoder_ffn_dim=37, attention_window=4,
        )
    ).decoder,
}  # fmt: skip
"""Types whose attention never passes the interface."""


@pytest.mark.parametrize("name", sorted(TRACED))
def test_traced_attention_is_the_models_own_and_queries_and_keys_give_it(name: str) -> None:
    model = _sharp(TRACED[name]())
    inputs = {"input_ids": torch.randint(3, 99, (2, 11), generator=torch.Generator().manual_seed(0))}
    plain = model(**inputs, output_attentions=True)
    with Capture(model) as capture:
        captured = model(**inputs)
    assert torch.equal(plain.last_hidden_state, captured.last_hidden_state)
    assert [call.route for call in capture.calls] == ["optrace"] * len(plain.attentions)
    for call, own in zip(capture.calls, plain.attentions, strict=True):
        torch.testing.assert_close(call.attention(), own, atol=1e-6, rtol=0)
        torch.testing.assert_close(call.recomputed(), own, atol=1e-5, rtol=0)
        assert float((own.amax(-1) - 1 / own.shape[-1]).mean()) > 0.03


def test_content_and_position_parts_of_a_biased_score_are_told_apart() -> None:
    model = _sharp(_deberta())
    with Capture(model) as capture:
        model(torch.arange(3, 14)[None])
    call = capture.calls[0]
    content = call.scale * call.q @ call.k.transpose(-1, -2)
    assert call.position_bias.abs().max() > 0.1
    torch.testing.assert_close(content + call.position_bias, call.scores(), atol=1e-5, rtol=0)


class _ByHand(nn.Module):
    """Attention written out in a way that models do; `weights` is what it computed last."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.num_heads = form, 4
        self.qkv = nn.Linear(32, 96)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, 8)).unbind(2)  # [batch, token, head, d_head]
        return getattr(self, f"_{self.form}")(q, k, v).flatten(-2)

    def _einsum(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.weights = (torch.einsum("bihd,bjhd->bhij", q, k) / 8**0.5).softmax(-1)
        return torch.einsum("bhij,bjhd->bihd", self.weights, v)

    def _heads_first_einsum(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights = torch.einsum("bihd,bjhd->ijbh", q, k).mul(0.3).softmax(dim=1)
        self.weights = weights.permute(2, 3, 0, 1)
        return torch.einsum("ijbh,bjhd->bihd", weights, v)

    def _in_place(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (each.transpose(1, 2).reshape(-1, each.shape[1], 8) for each in (q, k, v))
        scores = torch.bmm(q, k.transpose(1, 2))
        scores /= 8**0.5
        scores += torch.arange(scores.shape[-1]) * 0.1
        scores.masked_fill_(torch.ones(scores.shape[-2:]).triu(1).bool(), -torch.inf)
        weights = F.dropout(F.softmax(scores, dim=-1, dtype=torch.float32).type_as(q), 0.1, self.training)
        self.weights = weights.unflatten(0, (-1, 4))
        return torch.bmm(weights, v).unflatten(0, (-1, 4)).transpose(1, 2)

    def _capped(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        scores = 3.0 * torch.tanh(q @ k.mT * 8**-0.5 / 3.0)
        self.weights = torch.softmax(scores, -1)
        return (self.weights @ v).transpose(1, 2)

    def _cosine(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        factor = torch.tensor([5.0, 10.0, 20.0, 1.0])[:, None, None]
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * factor
        self.weights = scores.softmax(dim=-1)
        return torch.matmul(self.weights, v).transpose(1, 2)

    def _values_first(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        weights = torch.matmul(k, q.transpose(-1, -2)).mul(0.2).softmax(dim=-2)  # keys down, queries across
        self.weights = weights.transpose(-1, -2)
        return torch.matmul(v.transpose(-1, -2), weights).transpose(-1, -2).transpose(1, 2)

    def _baddbmm(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (each.transpose(1, 2).reshape(-1, each.shape[1], 8) for each in (q, k, v))
        slope = torch.arange(k.shape[1], dtype=torch.float32).expand(len(q), 1, -1)
        scores = torch.baddbmm(slope, q, k.transpose(1, 2), beta=-0.3, alpha=8**-0.5)
        weights = scores.softmax(-1)
        self.weights = weights.unflatten(0, (-1, 4))
        return torch.bmm(weights, v).unflatten(0, (-1, 4)).transpose(1, 2)

    def _spread_over_patches(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (each.transpose(1, 2).reshape(-1, each.shape[1], 8) for each in (q, k, v))
        scores = (q * 8**-0.5) @ k.transpose(-2, -1)
        by_row, by_column = q.new_tensor([0.0, 1.0]), q.new_tensor([0.5, 0.0, -0.5])
        scores = scores.view(-1, 2, 3, 2, 3) + by_row[:, None] + by_column[None, :]  # six patches: two rows of three
        weights = scores.view(-1, 6, 6).softmax(dim=-1)
        self.weights = weights.unflatten(0, (-1, 4))
        output = (weights @ v).unflatten(0, (-1, 4)).transpose(1, 2)
        return output

    def _at_least(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        scores = q @ k.mT * 0.3 + torch.full((6, 6), torch.finfo(q.dtype).min).triu(1)
        scores = torch.max(scores, torch.tensor(torch.finfo(scores.dtype).min))
        self.weights = scores.softmax(-1)
        return (self.weights @ v).transpose(1, 2)

    def _kernel(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        self.weights = None  # the kernel does not show them
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.5).transpose(1, 2)


FORMS = (
    "spread_over_patches",
    "einsum",
    "heads_first_einsum",
    "in_place",
    "capped",
    "cosine",
    "values_first",
    "baddbmm",
    "kernel",
    "at_least",
)


def _call_of(form: str) -> tuple[Call, Tensor, Tensor]:
    """The one call of a module, the weights it computed and what it returned as [batch, token, head, d_head]."""
    module = _sharp(_ByHand(form))
    x = torch.randn(3, 6, 32, generator=torch.Generator().manual_seed(2))
    with Capture(module, keep_outputs=True) as capture:
        output = module(x)
    (call,) = capture.calls
    weights = module.weights
    if weights is None:
        causal = torch.ones(6, 6, dtype=torch.bool).tril()
        q, k, _ = module.qkv(x).unflatten(-1, (3, 4, 8)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT * 0.5).masked_fill(~causal, -torch.inf).softmax(-1)
    return call, weights, output.unflatten(-1, (4, 8))


@pytest.mark.parametrize("form", FORMS)
def test_every_way_to_write_attention_is_read_right(form: str) -> None:
    call, own, output = _call_of(form)
    assert call.q.shape == call.k.shape == call.v.shape == (3, 4, 6, 8)
    torch.testing.assert_close(call.attention(), own, atol=1e-6, rtol=0)
    torch.testing.assert_close(call.recomputed(), own, atol=1e-6, rtol=0)
    torch.testing.assert_close((call.attention() @ call.v).transpose(1, 2), output, atol=1e-5, rtol=0)
    torch.testing.assert_close(call.output, output, atol=1e-6, rtol=0)


def test_scale_cap_and_mask_are_told() -> None:
    assert _call_of("einsum")[0].scale == pytest.approx(8**-0.5)
    capped = _call_of("capped")[0]
    assert (capped.scale, capped.softcap) == (pytest.approx(8**-0.5), 3.0)
    masked = _call_of("in_place")[0]
    assert torch.equal(masked.mask[0, 0], torch.ones(6, 6, dtype=torch.bool).tril())
    assert masked.position_bias[0, 0, 5].tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5], abs=1e-5)


@pytest.mark.parametrize("norm_first", [True, False])
def test_plain_torch_transformer(norm_first: bool) -> None:
    model = _sharp(nn.Transformer(32, 4, 2, 2, 64, batch_first=True, norm_first=norm_first))
    source, target = torch.randn(2, 9, 32), torch.randn(2, 5, 32)
    hidden = torch.zeros(2, 9, dtype=torch.bool)
    hidden[1, 7:] = True
    causal = nn.Transformer.generate_square_subsequent_mask(5)
    given = dict(tgt_mask=causal, src_key_padding_mask=hidden, memory_key_padding_mask=hidden, tgt_is_causal=True)
    seen: list[tuple[nn.Module, tuple, dict]] = []
    attentions = [part for part in model.modules() if isinstance(part, nn.MultiheadAttention)]
    hooks = [part.register_forward_pre_hook(lambda *given: seen.append(given), with_kwargs=True) for part in attentions]
    with Capture(model) as capture:
        output = model(source, target, **given)
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(output, model(source, target, **given), atol=1e-5, rtol=0)
    with Unfused():
        assert torch.equal(output, model(source, target, **given))
    assert [call.is_cross for call in capture.calls] == [False, False, False, True, False, True]
    for call, (module, args, kwargs) in zip(capture.calls, seen, strict=True):
        _, own = module(*args, **{**kwargs, "need_weights": True, "average_attn_weights": False})
        torch.testing.assert_close(call.attention(), own, atol=1e-6, rtol=0)
        torch.testing.assert_close(call.recomputed(), own, atol=1e-5, rtol=0)


def test_a_vit_of_timm() -> None:
    timm = pytest.importorskip("timm")
    model = _sharp(timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=0))
    with Capture(model, keep_outputs=True) as capture:
        model(torch.randn(1, 3, 64, 64))
    assert len(capture.calls) == 12
    for call in capture.calls:
        torch.testing.assert_close((call.attention() @ call.v).transpose(1, 2), call.output, atol=1e-5, rtol=0)


def test_what_the_interface_records_is_not_found_twice() -> None:
    model = zoo.make_model("gpt2")
    for implementation in ("eager", "sdpa"):
        model.set_attn_implementation(implementation)
        with Capture(model) as capture:
            model(torch.arange(3, 12)[None])
        assert [call.route for call in capture.calls] == ["interface"] * 2


def test_products_that_are_no_attention_are_left_alone() -> None:
    class Router(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.experts = nn.Parameter(torch.randn(32, 4)), nn.Parameter(torch.randn(4, 32))

        def forward(self, x: Tensor) -> Tensor:
            return torch.matmul(x, self.gate).softmax(-1) @ self.experts

    with Capture(Router()) as capture:
        capture.model(torch.randn(2, 5, 32))
    assert not capture.calls


def test_a_call_whose_formula_is_another_is_left_out_with_the_reason() -> None:
    class Squared(_ByHand):
        def _squared(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (each.transpose(1, 2) for each in (q, k, v))
            return (torch.clamp(q @ k.mT, -0.1, 0.1).softmax(-1) @ v).transpose(1, 2)

    class Embedded(nn.Module):
        main_input_name, config = "input_ids", hf.PretrainedConfig()

        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.attention = nn.Embedding(99, 32), Squared("squared")

        def forward(self, input_ids: Tensor) -> Tensor:
            return self.attention(self.embedding(input_ids))

    with pytest.raises(CaptureRefused, match="something else than a scale, a cap, a bias or a mask"):
        make_plan(wrap(_sharp(Embedded())), zoo.make_input("bert"))


def test_an_error_in_mid_forward_leaves_no_trace() -> None:
    model = _sharp(_deberta())
    with pytest.raises(IndexError), Capture(model):
        model(torch.tensor([[5, 5000]]))
    assert torch._C._len_torch_function_stack() == 0
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_two_threads_capture_two_kinds_at_once() -> None:
    traced, passed = _sharp(_deberta()), zoo.make_model("llama")
    ids = torch.arange(3, 14)[None]
    passed.set_attn_implementation("eager")
    own = {
        name: model(ids, output_attentions=True).attentions for name, model in (("traced", traced), ("passed", passed))
    }
    passed.set_attn_implementation("sdpa")
    worst: dict[str, float] = {}
    both_inside = threading.Barrier(2, timeout=60)

    def run(name: str, model: nn.Module) -> None:
        differences = []
        with torch.inference_mode(), Capture(model) as capture:
            both_inside.wait()
            for _ in range(10):
                model(ids)
        assert len(capture.calls) == 20
        for index, call in enumerate(capture.calls):
            differences.append(float((call.attention() - own[name][index % 2]).abs().max()))
        worst[name] = max(differences)

    threads = [threading.Thread(target=run, args=pair) for pair in (("traced", traced), ("passed", passed))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(worst) == {"traced", "passed"}
    assert max(worst.values()) < 1e-5
