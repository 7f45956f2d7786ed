"""What a model writes by itself is captured with what it was given: one exact pass, its own tokens marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import analysis
from analysis.errors import InputError, ModelError, UserError
from analysis.metrics import METRICS, AttentionMap
from analysis.metrics.tokens import Tokens
from analysis.models import BUNDLED_MODELS
from tests.model_folders import save_tiny_llama

TEXTS = ("When Mary and John went to the store, John gave a drink to", "The cat", "The dog")
N_NEW = 9


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> analysis.Run:
    folder = tmp_path_factory.mktemp("generation")
    (folder / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    return analysis.extract(
        model="demo-language", data=folder / "texts.txt", out_dir=folder, projection=(), generate=N_NEW
    )


@pytest.fixture(scope="module")
def own() -> list[tuple[list[int], int, tuple[torch.Tensor, ...]]]:
    """Of each text: all token ids, how many were given, and the model's own attention in one pass over the whole."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = BUNDLED_MODELS["demo-language"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    found = []
    for text in TEXTS:
        given = tokenizer(text, return_tensors="pt").input_ids
        with torch.inference_mode():
            whole = model.generate(given, do_sample=False, max_new_tokens=N_NEW)
            if whole[0, -1] == model.generation_config.eos_token_id:
                whole = whole[:, :-1]
            attentions = model(whole, output_attentions=True).attentions
        found.append((whole[0].tolist(), given.shape[1], attentions))
    return found


def test_the_written_tokens_are_those_of_generate_and_are_marked(run: analysis.Run, own: list) -> None:
    tokens = run.tokens()
    for input_id, (ids, n_given, _) in enumerate(own):
        of_input = tokens[tokens["input_id"] == input_id]
        assert of_input["written"].tolist() == [False] * n_given + [True] * (len(ids) - n_given)
        text = run.sql("SELECT text FROM inputs WHERE input_id = ?", [input_id])["text"][0]
        assert text.startswith(TEXTS[input_id])
        for row in of_input[of_input["written"]].itertuples():
            assert text[row.char_start : row.char_end].strip() == row.text.strip()
    assert tokens["written"].sum() > N_NEW
    assert any("goes on" in note or "went on" in note for note in run.manifest["notes"])


def test_attention_is_that_of_one_pass_over_the_whole(run: analysis.Run, own: list) -> None:
    for input_id, (_, _, attentions) in enumerate(own):
        for site, weights in zip(run.sites, attentions, strict=True):
            ours = np.stack([run.attention(site, head, input_id) for head in range(site.n_heads)])
            np.testing.assert_allclose(ours, weights[0].numpy(), atol=2e-3)


def test_the_lookback_ratio_is_the_published_one(run: analysis.Run, own: list) -> None:
    scores = run.head_input_scores("lookback_ratio")
    for input_id, (_, n_given, attentions) in enumerate(own):
        for depth, weights in enumerate(attentions):
            for head in range(weights.shape[1]):
                rows = weights[0, head, n_given:].numpy()
                ratios = []
                for step, row in enumerate(rows):
                    context, new = row[:n_given].mean(), row[n_given : n_given + step + 1].mean()
                    ratios.append(context / (context + new))
                where = (scores["input_id"] == input_id) & (scores["head"] == head)
                value = scores[where & (scores["site"] == run.sites[depth].key)]["value"].iloc[0]
                assert value == pytest.approx(np.mean(ratios), abs=1e-4)


def test_the_ratio_by_hand_and_of_even_attention() -> None:
    written = Tokens(written=np.array([[False, False, True, True]]))
    allowed = np.tril(np.ones((4, 4), dtype=bool))
    rows = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.3, 0.3, 0.4, 0], [0.1, 0.3, 0.2, 0.4]])
    found = METRICS["lookback_ratio"].compute(AttentionMap.of_one(rows[None], allowed, written))
    assert found.counts.tolist() == [[False, False, True, True]]
    assert found.value[0, 0, 2:].tolist() == pytest.approx([0.3 / 0.7, 0.2 / 0.5])
    even = allowed / allowed.sum(-1, keepdims=True)
    found = METRICS["lookback_ratio"].compute(AttentionMap.of_one(even[None], allowed, written))
    assert found.value[0, 0, 2:].tolist() == pytest.approx([0.5, 0.5])


def test_what_cannot_go_on_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("The cat", encoding="utf-8")
    texts = {"data": tmp_path / "texts.txt", "out_dir": tmp_path, "generate": 4}
    with pytest.raises(ModelError, match="saved without the head that writes text"):
        analysis.extract(model=save_tiny_llama(tmp_path / "llama"), **texts)
    with pytest.raises(UserError, match=r"can write 1 to 512 tokens behind each text; got 600\."):
        analysis.extract(model="demo-language", **{**texts, "generate": 600})
    with pytest.raises(InputError, match="leaves no room for 128 to write"):
        analysis.extract(model="demo-language", **{**texts, "generate": 128})
    with pytest.raises(ModelError, match="writes no text: leave --generate out"):
        analysis.extract(model="demo-vision", data="demo-scenes", out_dir=tmp_path, generate=4)
    assert not list(tmp_path.glob("*.partial"))
