"""Small numbers for the fields of any config, chosen by the names that configs of transformers have in common."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

VOCABULARY, IMAGE_SIZE, MOST_LAYERS = 160, 64, 4


@dataclass(frozen=True)
class Sizes:
    """One way to make a config small.

    Attributes:
        width: Hidden size; widths that grow from stage to stage start here and double.
        n_heads: Attention heads.
        n_kv_heads: Key-value heads, where a config groups them.
        d_head: Width of a head.
        equal_stages: Stages keep one width instead of doubling it.
        fills: Fields that are empty by default get the number of their name too.
        keeps: Fields whose name holds one of these words keep their default.
        only: If not empty, only fields whose name holds one of these words change.
    """

    width: int = 32
    n_heads: int = 4
    n_kv_heads: int = 2
    d_head: int = 8
    equal_stages: bool = False
    fills: bool = False
    keeps: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def changes(self, name: str) -> bool:
        """Whether a field of this name is made small."""
        if any(word in name for word in self.keeps):
            return False
        return not self.only or any(word in name for word in self.only)


class TokenIds:
    """Distinct small ids for the special tokens of a config and its parts, by their names."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def of(self, name: str) -> int:
        return self._known.setdefault(name, VOCABULARY - 1 - len(self._known))


_NUMBERS: list[tuple[str, str | int]] = [
    (r".*(num|n)_(key_value|kv)_heads|.*key_value_heads|multi_query_group_num|num_heads_kv", "n_kv_heads"),
    (r".*(attention_heads|num_heads|n_heads?|attn_heads|nhead|num_head|_heads)|num_attention_head", "n_heads"),
    (r"rotary_dim|rotary_emb_dim", "d_head/2"),
    (r"(.*_)?(head_dim|d_head|d_kv|kv_channels|attention_(head|key)_size|head_size|head_width|qk_head_dim)", "d_head"),
    (r"num_kv_shared_layers", 0),
    (r".*lora_rank|.*low_rank_dim", 16),
    (r"(.*_)?(num_hidden_layers|n_layers?|num_layers|layers|num_blocks|depth|n_block|num_.*layers)", 2),
    (
        r".*layer_period|full_attention_interval|.*sliding_window_pattern|interleave_moe_layer_step|global_attn_every.*",
        2,
    ),
    (r".*layer_offset", 1),
    (r"(.*_)?(intermediate_size|ffn_dim|d_ff|mlp_dim|n_inner|dim_feedforward|d_inner|ffn_hidden_size)", "2*width"),
    (r".*intermediate_.*size|.*ffn_embedding_dim|.*(mlp|ffn)_(hidden_)?(size|dim)|.*feedforward_dim", "2*width"),
    (r"(.*_)?vocab(ulary)?_size(_per_layer_input)?", VOCABULARY),
    (r"(.*_)?(max_position_embeddings|n_positions|max_sequence_length|n_ctx|seq_length|max_target_positions)", 128),
    (r"max_seq_len|max_2d_position_embeddings", 128),
    (r"max_source_positions", 64),
    (r"(.*_)?(image|img|input_image)_size|pretrained_img_size", IMAGE_SIZE),
    (r".*experts_per_tok(en)?|.*moe_k|.*top_k_experts|.*moe_topk|num_selected_experts|num_experts_per_token", 2),
    (r"(.*_)?(num_experts|n_routed_experts|num_local_experts|moe_num_experts|n_experts|num_experts_total)", 4),
    (r"n_group|topk_group|num_expert_group|first_k_dense_replace", 1),
    (r"(mamba_)?(d_state|state_size|ssm_state_size)|ssm_state_size", 8),
    (r"(mamba_)?n_groups", 1),
    (r"index_topk", 8),
    (r"num_queries|num_query_tokens|num_latents|resampler_n_latents", 10),
    (r"window_size", 4),
    (r"sliding_window|.*local_attention|attention_window_size|attention_chunk_size", 8),
    (r"num_conv_pos_embeddings|num_conv_pos_embedding_groups", 8),
    (r"(.*_)?(hidden_size|hidden_dim|d_model|embed_dim|n_embd|dim|embedding_size|embedding_dim|model_dim)", "width"),
    (
        r"width|(.*_)?(projection_dim|proj_dim|project_dim|out_dim|output_dim|fusion_hidden_size|encoder_channels)",
        "width",
    ),
    (r"(.*_)?(decoder_dim|encoder_dim|feature_size|emb_dim|d_embed|embed_size|hidden_channels|proj_size)", "width"),
    (r".*hidden_size_per_layer_input", 8),
    (r"upsample_groups", "width"),
    (r"hidden_size_global", "width"),
    (r"index_kpool", 4),
    (r"(encoder_)?hash_.*vocab|ngram_vocab_size_base", VOCABULARY),
    (r"codebook_size|num_embeddings", 128),
    (r"latent_channels|base_channels|hidden_channels", "width"),
    (r"n_filters|num_filters", 8),
    (r"mm_tokens_per_image", 16),
    (r".*query_num", 8),
    (r"adapter_(in|out|input|output)_(dim|size)", "width"),
    (r"(.*_)?(num_frames|frames_per_clip|fpc)", 4),
]
_COMPILED = [(re.compile(pattern), number) for pattern, number in _NUMBERS]
_PATCHES = re.compile(r"(.*_)?patch_size|patch_stride|temporal_patch_size")
_STAGE_WIDTHS = re.compile(
    r"(?!stage_|stem_)(.*_)?(hidden_sizes|embed_dims?|dims|channels|encoder_hidden_size|neck_hidden_sizes|conv_dim)"
)
_STAGE_LAYERS = re.compile(r"(.*_)?depths?|num_blocks|encoder_layers|layers|num_encoder_blocks|(.*_)?layer_counts")
_STAGE_HEADS = re.compile(r"(.*_)?(num_heads|num_attention_heads|heads)")
_INDICES = re.compile(r".*(index|indexes|indices|_layers_ids|out_layers).*|vision_feature_layer")
_TOKEN_ID = re.compile(r".*token_(id|index|idx)(_list)?")


def small(name: str, value: Any, sizes: Sizes, ids: TokenIds) -> Any:
    """What a field gets in a tiny config; the very same object where no rule knows its name.

    Numbers only shrink. Lists keep their length and type.
    """
    if not sizes.changes(name) or isinstance(value, bool):
        return value
    if value is None:
        return _filled(name, sizes, ids) if sizes.fills else None
    if _TOKEN_ID.fullmatch(name):
        return ids.of(name) if isinstance(value, int) and value >= VOCABULARY else value
    if _PATCHES.fullmatch(name) and isinstance(value, (int, list, tuple)):
        return min(value, 8) if isinstance(value, int) else type(value)(_least(each, 8) for each in value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(each, int) for each in value):
        return _small_list(name, value, sizes)
    if isinstance(value, int):
        number = next((number for pattern, number in _COMPILED if pattern.fullmatch(name)), value)
        return value if number is value else min(_number(number, sizes), value)
    return value


def _filled(name: str, sizes: Sizes, ids: TokenIds) -> int | None:
    if re.fullmatch(r"(image|video|audio)_token_(id|index|idx)", name):
        return ids.of(name)
    rule = next((number for pattern, number in _COMPILED if pattern.fullmatch(name)), None)
    return None if rule is None else _number(rule, sizes)


def _number(rule: str | int, sizes: Sizes) -> int:
    if isinstance(rule, int):
        return rule
    return {
        "width": sizes.width,
        "2*width": 2 * sizes.width,
        "n_heads": sizes.n_heads,
        "n_kv_heads": sizes.n_kv_heads,
        "d_head": sizes.d_head,
        "d_head/2": sizes.d_head // 2,
    }[rule]


def _least(value: Any, most: int) -> Any:
    return min(value, most) if isinstance(value, int) else value


def _small_list(name: str, values: Any, sizes: Sizes) -> Any:
    kind, count = type(values), len(values)
    if _INDICES.fullmatch(name) and name != "out_indices":
        return kind([0, 1][: min(2, count)]) if all(value >= 0 for value in values) else kind([-1])
    if _STAGE_LAYERS.fullmatch(name):
        return kind([2] * count)
    if _STAGE_HEADS.fullmatch(name):
        return kind([min(sizes.n_heads, value) if value != 3 else sizes.n_heads for value in values])
    if _STAGE_WIDTHS.fullmatch(name):
        widths = [sizes.width * (1 if sizes.equal_stages else 2**place) for place in range(count)]
        if len(set(values)) == 1:
            return kind(widths[:1] * count)
        return kind(value if value <= 4 else width for value, width in zip(values, widths))
    if "image_size" in name or "img_size" in name:
        return kind([IMAGE_SIZE] * count)
    return values
