"""Numbers of single types, for what no rule on field names can know."""

from __future__ import annotations

from typing import Any

OWN: dict[str, dict[str, Any]] = {
    "align": {"projection_dim": 64},
    "autoformer": {"prediction_length": 4, "context_length": 16},
    "bamba": {"attn_layer_indices": [1]},
    "blt": {"encoder_hash_byte_group_vocab": 64},
    "clvp_encoder": {"hidden_size": 128},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]},
            "full_attention": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]},
        },
    },
    "emu3": {
        "vocabulary_map": {
            "<image>": 159,
            "<|extra_200|>": 150,
            **{f"<|visual token {place:06d}|>": place + 10 for place in range(128)},
        }
    },
    "chameleon": {
        "vocabulary_map": {"<image>": 159, **{f"IMGIMGA{letter}Z": 100 + place for place, letter in enumerate("BCDE")}}
    },
    "deepseek_ocr2_text": {"mlp_layer_types": ["dense", "sparse"]},
    "depth_pro": {"patch_size": 64},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "efficientnet": {"width_coefficient": 0.1, "hidden_dim": 128},
    "ernie4_5_vl_moe_text": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    },
    "esm": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32},
    "funnel": {"architectures": ["FunnelModel"]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granite4_vision": {"deepstack_layer_map": [(-2, 0), (-1, 1)]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"]},
    "hunyuan_vl_text": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 1, 1]}},
    "informer": {"prediction_length": 4, "context_length": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "moonshine_streaming": {"num_key_value_heads": 4},
    "lw_detr": {"projector_scale_factors": [1.0]},
    "omdet-turbo": {
        "apply_layernorm_after_vision_backbone": False,
        "backbone_config": {
            "model_type": "swin",
            "embed_dim": 16,
            "depths": [1, 1, 1, 1],
            "num_heads": [2, 2, 2, 2],
            "window_size": 4,
            "image_size": 128,
            "out_indices": [2, 3, 4],
        },
    },
    "perceiver": {"d_latents": 64},
    "qwen2_5_omni_thinker": {"vision_start_token_id": 140, "vision_end_token_id": 141, "audio_start_token_id": 142},
    "qwen3_omni_moe_thinker": {"vision_start_token_id": 140, "vision_end_token_id": 141, "audio_start_token_id": 142},
    "qwen4_exp_text": {
        "indexer_budget": 8,
        "indexer_compress_ratio": 2,
        "indexer_n_heads": 4,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
    },
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "sam2_hiera_det_model": {"hidden_size": 96},
    "sam3_lite_text_text_model": {"num_hidden_layers": 3},
    "seggpt": {"image_size": [128, 64]},
    "t5gemma2_text": {"dropout_rate": 0.0},
    "time_series_transformer": {"prediction_length": 4, "context_length": 16},
    "tvp": {"visual_prompt_size": 8},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2},
}
"""Numbers of single types, where the class has no default that builds (a forecast length, a rotary split, a kind for
each layer, experts, special tokens) or numbers that must agree in a way only that type knows."""
