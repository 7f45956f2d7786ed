"""Visual sinks and image-centric heads of an image and a text in one input, on a tiny LLaVA, by the published rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as hf

from analysis.capture import Capture, ResidualTrace
from analysis.sinks.image_centric import image_centric
from analysis.sinks.massive import VisualSinkRule, visual_sinks
from analysis.sinks.state_figures import state_figures

IMAGE_TOKEN = 98
N_PATCHES = 16


@pytest.fixture(scope="module")
def seen():
    """Attention and states of the language model, and the model's own hidden states, for one image and a question."""
    vision = hf.CLIPVisionConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37, image_size=32, patch_size=8
    )
    text = hf.LlamaConfig(
        vocab_size=99, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=37,
        max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(1)
    model = hf.LlavaForConditionalGeneration(
        hf.LlavaConfig(
            vision_config=vision, text_config=text, image_token_index=IMAGE_TOKEN, image_seq_length=N_PATCHES
        )
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.25)
    ids = torch.tensor([[1, 5, *[IMAGE_TOKEN] * N_PATCHES, 7, 8, 9, 10]])
    inputs = {"input_ids": ids, "pixel_values": torch.randn(1, 3, 32, 32)}
    with torch.inference_mode():
        with Capture(model) as capture:
            own = model(**inputs, output_hidden_states=True)
        sites = [call.site for call in capture.calls if call.site.modality == "text"]
        with ResidualTrace(model, sites) as trace:
            model(**inputs)
        trace.end_pass([0], {"": [ids.shape[1]]})
    (states,) = trace.drain()
    attention = [call.attention()[0].numpy() for call in capture.calls if call.site.modality == "text"]
    return attention, states, [state[0].numpy() for state in own.hidden_states], (ids[0] == IMAGE_TOKEN).numpy()


def test_visual_sinks_are_those_of_the_published_rule(seen):
    _, states, own, is_image = seen
    figures = {name: values[:, 0] for name, values in state_figures(states, [0]).items()}
    found = visual_sinks(figures, is_image, 32, VisualSinkRule(ratio=1.5, first_layer=1))
    some = 0
    for layer, hidden in enumerate(own[:-1]):
        dims = np.argsort(-np.abs(hidden[0]))[:2]
        phi = np.abs(hidden[:, dims]).max(axis=1) / np.sqrt((hidden**2).mean(axis=1))
        np.testing.assert_allclose(figures["massive_ratio"][layer], phi, rtol=1e-4, atol=1e-5)
        expected = (phi > 1.5) & is_image & (layer >= 1)
        assert found[layer].tolist() == expected.tolist()
        some += expected.sum()
    assert 0 < some < is_image.sum() * (len(own) - 1)


def test_image_centric_heads_are_those_of_the_published_rule(seen):
    attention, _, _, is_image = seen
    some = total = 0
    for weights in attention:
        sinks = np.tile(is_image & (np.arange(len(is_image)) % 5 == 0), (len(weights), 1))
        found = image_centric(weights, is_image, sinks)
        for head, of_head in enumerate(weights):
            for query, row in enumerate(of_head):
                share, part = row[is_image].sum(), row[is_image & sinks[head]].sum()
                assert found[head, query] == (share >= 0.2 and part / max(share, 1e-12) <= 0.5)
        some, total = some + found.sum(), total + found.size
    assert 0 < some < total
