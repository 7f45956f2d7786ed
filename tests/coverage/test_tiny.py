"""Tiny models of many types are built by rules on field names, and the rules do what they say."""

import pytest
import torch
import transformers

from analysis.coverage.config import tiny_config
from analysis.coverage.fields import VOCABULARY, Sizes, TokenIds, small
from analysis.coverage.first import is_finite, tiny_model_and_input
from analysis.coverage.tiny import MOST_PARAMETERS, sharpened, tiny_models
from analysis.errors import ModelError
from analysis.models.forward import forward_module

# One type of each kind of input: what it must have been given.
KINDS = {
    "gpt2": {"input_ids"},
    "llama": {"input_ids"},
    "deepseek_v3": {"input_ids"},
    "mamba": {"input_ids"},
    "t5": {"input_ids", "decoder_input_ids"},
    "vit": {"pixel_values"},
    "swin": {"pixel_values"},
    "whisper": {"input_features", "decoder_input_ids"},
    "wav2vec2": {"input_values"},
    "clip": {"input_ids", "pixel_values"},
    "llava": {"input_ids", "pixel_values"},
    "qwen2_5_vl": {"input_ids", "pixel_values", "image_grid_thw", "mm_token_type_ids"},
    "gemma4_vision": {"pixel_values", "pixel_position_ids"},
    "time_series_transformer": {"past_values", "future_values"},
    "lxmert": {"input_ids", "visual_feats"},
}


@pytest.mark.parametrize("model_type", KINDS)
def test_a_type_runs_small_and_finite_on_all_that_it_takes(model_type):
    model, inputs = tiny_model_and_input(model_type)
    assert KINDS[model_type] <= set(inputs)
    assert not model.training
    assert sum(parameter.numel() for parameter in model.parameters()) < 3_000_000 < MOST_PARAMETERS
    assert is_finite(forward_module(model, inputs))


def test_a_text_holds_one_placeholder_for_each_token_the_model_makes_of_its_image():
    model, inputs = tiny_model_and_input("llava")
    n_tokens = (64 // 8) ** 2  # image and patch size of the tiny vision tower, which drops its CLS
    assert model.config.vision_config.image_size == 64
    assert model.config.vision_config.patch_size == 8
    assert int((inputs["input_ids"] == model.config.image_token_id).sum()) == n_tokens


def test_an_image_changes_what_a_vision_language_model_says():
    model, inputs = tiny_model_and_input("qwen2_vl")
    other = {**inputs, "pixel_values": inputs["pixel_values"].flip(0)}
    with_one, with_other = (forward_module(model, each).last_hidden_state[:, -1] for each in (inputs, other))
    assert (with_one - with_other).abs().max() > 1e-4


def test_the_same_seed_makes_the_same_model_and_input():
    (one, given), (other, given_again) = tiny_model_and_input("bert"), tiny_model_and_input("bert")
    assert all(torch.equal(given[name], given_again[name]) for name in given)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))
    third, _ = tiny_model_and_input("bert", seed=1)
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), third.parameters()))


def test_attention_of_sharpened_weights_is_far_from_uniform():
    model, inputs = tiny_model_and_input("bert")
    model.set_attn_implementation("eager")
    attention = forward_module(model, inputs, output_attentions=True).attentions[0]
    assert attention.max() > 3 / attention.shape[-1]


def test_numbers_are_chosen_by_name_and_only_shrink():
    sizes, ids = Sizes(), TokenIds()
    assert small("hidden_size", 4096, sizes, ids) == 32
    assert small("hidden_size", 16, sizes, ids) == 16
    assert small("num_key_value_heads", 8, sizes, ids) == 2
    assert small("num_attention_heads", [3, 6, 12], sizes, ids) == [4, 4, 4]
    assert small("hidden_sizes", (96, 192, 384), sizes, ids) == (32, 64, 128)
    assert small("stem_channels", [3, 32, 64], sizes, ids)[0] == 3
    assert small("hidden_act", "gelu", sizes, ids) == "gelu"
    assert small("hidden_size", 4096, Sizes(keeps=("hidden",)), ids) == 4096
    assert small("hidden_size", 4096, Sizes(only=("layers",)), ids) == 4096
    assert small("num_experts", None, sizes, ids) is None
    assert small("num_experts", None, Sizes(fills=True), ids) == 4


def test_special_tokens_get_distinct_ids_in_the_small_vocabulary():
    sizes, ids = Sizes(), TokenIds()
    image, video = (small(f"{kind}_token_id", 151_655, sizes, ids) for kind in ("image", "video"))
    assert len({image, video}) == 2
    assert max(image, video) < VOCABULARY
    assert small("image_token_id", 151_655, sizes, ids) == image
    assert small("bos_token_id", 1, sizes, ids) == 1


def test_each_kind_of_layer_is_kept_once():
    config = tiny_config(transformers.CONFIG_MAPPING["gemma3_text"], Sizes())
    assert config.num_hidden_layers == len(config.layer_types)
    assert set(config.layer_types) == {"sliding_attention", "full_attention"}


def test_keys_are_grouped_only_where_the_type_groups_them():
    grouped, plain = (tiny_config(transformers.CONFIG_MAPPING[kind], Sizes()) for kind in ("mistral", "gemma"))
    assert (grouped.num_attention_heads, grouped.num_key_value_heads) == (4, 2)
    assert plain.num_attention_heads == plain.num_key_value_heads


def test_weights_are_drawn_with_a_spread_by_what_they_read():
    layer = torch.nn.Linear(400, 300).requires_grad_(False)
    sharpened(layer, seed=0)
    assert layer.weight.std() == pytest.approx(1.4 / 400**0.5, rel=0.02)


def test_a_type_whose_library_is_missing_says_which():
    with pytest.raises(ModelError, match="timm"):
        next(iter(tiny_models("timm_wrapper")))
