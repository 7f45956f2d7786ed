"""The seam: what a `Capture` records, what it leaves alone, and that everything is back afterwards."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
import transformers as hf
from transformers.modeling_utils import AttentionInterface

from analysis.capture import Capture
from analysis.capture.certificate import largest_difference
from analysis.types import Band
from tests.capture import zoo

ORIGINAL = AttentionInterface.get_interface


def tokens(name: str = "bert", n_tokens: int = 8, seed: int = 0) -> dict[str, torch.Tensor]:
    return {key: torch.tensor(value)[None] for key, value in zoo.make_input(name, n_tokens, seed).items()}


def hooks_of(model: torch.nn.Module) -> int:
    return sum(len(part._forward_pre_hooks) + len(part._forward_hooks) for part in model.modules())


@pytest.fixture(autouse=True)
def everything_is_back() -> None:
    yield
    assert AttentionInterface.get_interface is ORIGINAL


def test_records_shapes_names_and_the_models_own_implementation() -> None:
    model = zoo.make_model("llama")
    with Capture(model) as capture:
        model(**tokens())
    assert model.config._attn_implementation == "sdpa"
    first, second = capture.calls
    assert first.implementation == "sdpa"
    assert first.q.shape == (1, 4, 8, 8)
    assert first.k.shape == first.v.shape == (1, 2, 8, 8), "grouped keys are not repeated"
    assert (first.site.key, first.site.label) == ("layers.0.self_attn#0", "text.dec.self.0")
    assert second.site.label == "text.dec.self.1"
    assert (first.site.n_heads, first.site.n_kv_heads, first.site.band) == (4, 2, Band(right=0))
    assert first.site.scale == pytest.approx(8**-0.5)
    rows = first.attention().sum(-1)
    torch.testing.assert_close(rows, torch.ones_like(rows))


def test_keys_are_recorded_after_the_rotary_embedding() -> None:
    model = zoo.make_model("llama")
    same = {"input_ids": torch.full((1, 6), 7)}
    with Capture(model) as capture:
        model(**same)
    keys = capture.calls[0].k[0, 0]
    lengths = keys.norm(dim=-1)
    torch.testing.assert_close(lengths, lengths[:1].expand(6))
    assert (keys[0] - keys[3]).abs().max() > 0.1, "equal tokens must be rotated apart by their positions"


def test_eager_attention_ignores_the_causal_flag_and_sdpa_does_not() -> None:
    model = zoo.make_model("bert")
    inputs = {"input_ids": tokens()["input_ids"]}
    for layer in model.encoder.layer:
        layer.attention.self.is_causal = True
    with torch.no_grad(), Capture(model, keep_outputs=True) as capture:
        model(**inputs)
        model.set_attn_implementation("eager")
        model(**inputs)
    fused, own = capture.calls[0], capture.calls[2]
    assert float(fused.attention()[0, 0, 0, 1:].max()) == 0
    assert float(own.attention()[0, 0, 0, 1:].max()) > 0
    torch.testing.assert_close(own.attention(), own.own_weights)
    for call in (fused, own):
        torch.testing.assert_close((call.attention() @ call.v).transpose(1, 2), call.output)


def test_sinks_take_mass_out_of_the_rows() -> None:
    model = zoo.make_model("gpt_oss")
    with Capture(model) as capture:
        model(**tokens("gpt_oss"))
    call = capture.calls[0]
    assert call.site.has_sink_logits
    assert call.sink_logits.shape == (4,)
    score = float(call.q[0, 0, 0] @ call.k[0, 0, 0]) * call.scale
    sink = float(call.sink_logits[0])
    expected = 1 / (1 + np.exp(sink - score))
    assert expected < 0.5
    assert float(call.attention()[0, 0, 0].sum()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "bands"),
    [
        ("mistral", [Band(4, 0), Band(4, 0)]),
        ("gemma3", [Band(4, 0), Band(None, 0)]),
        ("modernbert", [Band(), Band(3, 3)]),
        ("bert", [Band(), Band()]),
        ("clip_text", [Band(None, 0), Band(None, 0)]),
    ],
)
def test_bands_are_read_from_the_real_mask(name: str, bands: list[Band]) -> None:
    model = zoo.make_model(name)
    with Capture(model) as capture:
        model(**tokens(name, 12))
    assert [call.site.band for call in capture.calls] == bands


def test_shared_weights_are_told_apart_by_call_ordinal() -> None:
    model = zoo.make_model("albert")
    with Capture(model) as capture:
        model(**tokens())
    keys = [call.site.key for call in capture.calls]
    assert [key.rsplit("#", 1)[1] for key in keys] == ["0", "1"]
    assert len({key.rsplit("#", 1)[0] for key in keys}) == 1
    assert [call.site.label for call in capture.calls] == ["text.enc.self.0", "text.enc.self.1"]


def test_two_passes_have_the_same_names_and_different_pass_numbers() -> None:
    model = zoo.make_model("bert")
    with Capture(model) as capture:
        model(**tokens(seed=1))
        model(**tokens(seed=2))
    assert [call.forward_pass for call in capture.calls] == [0, 0, 1, 1]
    assert [call.site.label for call in capture.calls] == ["text.enc.self.0", "text.enc.self.1"] * 2
    assert [call.site.key for call in capture.calls[:2]] == [call.site.key for call in capture.calls[2:]]


def test_encoder_decoder_has_three_towers_and_cross_attention_is_known_at_equal_lengths() -> None:
    torch.manual_seed(0)
    model = zoo._bart().eval()
    ids = torch.randint(3, 99, (1, 6))
    with torch.no_grad(), Capture(model) as capture:
        model(input_ids=ids, decoder_input_ids=ids)
    assert [call.site.label for call in capture.calls] == [
        "text.enc.self.0",
        "text.enc.self.1",
        "text.dec.self.0",
        "text.dec.cross.0",
        "text.dec.self.1",
        "text.dec.cross.1",
    ]


def test_two_towers_of_one_model_have_their_own_modality() -> None:
    torch.manual_seed(0)
    model = zoo._clip(hf.CLIPConfig, hf.CLIPModel).eval()
    with torch.no_grad(), Capture(model) as capture:
        model(**tokens(), pixel_values=torch.randn(1, 3, 32, 32))
    labels = {call.site.label for call in capture.calls}
    assert labels == {"text.enc.self.0", "text.enc.self.1", "vision.enc.self.0", "vision.enc.self.1"}


def test_another_model_run_inside_the_block_is_not_recorded() -> None:
    mine, other = zoo.make_model("bert"), zoo.make_model("gpt2")
    with Capture(mine) as capture:
        other(**tokens())
        mine(**tokens())
    assert {call.module_name.split(".")[0] for call in capture.calls} == {"encoder"}


def test_captures_nest_and_each_sees_its_own_model() -> None:
    bert, gpt2 = zoo.make_model("bert"), zoo.make_model("gpt2")
    with Capture(bert) as outer:
        with Capture(gpt2) as inner:
            bert(**tokens())
            gpt2(**tokens())
        bert(**tokens())
    assert (len(outer.calls), len(inner.calls)) == (4, 2)


def test_two_models_in_two_threads_at_once_and_a_third_thread_untouched() -> None:
    models = {name: zoo.make_model(name) for name in ("bert", "gpt2")}
    alone, together, failures = {}, {}, []
    for name, model in models.items():
        with torch.no_grad(), Capture(model) as capture:
            model(**tokens())
        alone[name] = [call.attention() for call in capture.calls]
    start = threading.Barrier(3)

    def run(name: str) -> None:
        try:
            with torch.no_grad(), Capture(models[name]) as capture:
                start.wait(timeout=20)
                for _ in range(20):
                    models[name](**tokens())
            together[name] = capture.calls
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in models]
    for thread in threads:
        thread.start()
    start.wait(timeout=20)
    with torch.no_grad():
        models["bert"](**tokens())  # this thread has no capture open: it must not be recorded
    for thread in threads:
        thread.join()
    assert not failures
    for name, calls in together.items():
        assert len(calls) == 40
        for index, call in enumerate(calls):
            torch.testing.assert_close(call.attention(), alone[name][index % 2])


def test_an_error_in_mid_forward_puts_everything_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model = zoo.make_model("bert")
    n_hooks = hooks_of(model)
    broken = model.encoder.layer[1].intermediate
    monkeypatch.setattr(broken, "forward", lambda *_: (_ for _ in ()).throw(RuntimeError("broken layer")))
    with pytest.raises(RuntimeError, match="broken layer"), Capture(model) as capture:
        model(**tokens())
    assert len(capture.calls) == 2
    assert AttentionInterface.get_interface is ORIGINAL
    assert hooks_of(model) == n_hooks
    monkeypatch.undo()
    recorded = len(capture.recorded)
    model(**tokens())
    assert len(capture.recorded) == recorded, "a closed capture must not record"


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradient_checkpointing_records_every_call_once(use_reentrant: bool) -> None:
    torch.manual_seed(0)
    model = hf.LlamaModel(hf.LlamaConfig(**zoo._LLAMA, attention_dropout=0.0)).train()
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    model.enable_input_require_grads()
    with Capture(model) as capture:
        model(**tokens(), use_cache=False).last_hidden_state.sum().backward()
    assert [call.key for call in capture.calls] == ["layers.0.self_attn#0", "layers.1.self_attn#0"]
    assert model.layers[0].self_attn.q_proj.weight.grad is not None


def test_attention_can_be_differentiated() -> None:
    model = zoo.make_model("bert").requires_grad_(True)
    with Capture(model) as capture:
        model(**tokens())
    capture.calls[0].attention()[0, 0, 0, 1].backward()
    assert float(model.encoder.layer[0].attention.self.query.weight.grad.abs().max()) > 0


def test_outputs_of_a_causal_language_model_with_cache_are_untouched() -> None:
    torch.manual_seed(0)
    model = hf.LlamaForCausalLM(hf.LlamaConfig(**zoo._LLAMA)).eval()
    ids = tokens()
    plain = model.generate(**ids, max_new_tokens=4, do_sample=False)
    with Capture(model) as capture:
        captured = model.generate(**ids, max_new_tokens=4, do_sample=False)
    assert largest_difference(plain, captured) == 0
    last = capture.calls[-1]
    assert last.q.shape[2] == 1
    assert last.attention().shape == (1, 4, 1, 11)
    torch.testing.assert_close(last.attention().sum(-1), torch.ones(1, 4, 1))


def test_two_towers_of_one_kind_have_their_own_stack() -> None:
    class Pair(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = zoo.make_model("bert"), zoo.make_model("bert", seed=1)

        def forward(self, **inputs: torch.Tensor) -> None:
            self.first(**inputs)
            self.second(**inputs)

    with Capture(pair := Pair()) as capture:
        pair(**tokens())
    labels = [call.site.label for call in capture.calls]
    assert labels == ["text.enc.self.0", "text.enc.self.1", "text.enc2.self.0", "text.enc2.self.1"]
    assert capture.calls[2].site.key == "second.encoder.layer.0.attention.self#0"
