"""A tiny random model of any type in transformers, from its own config class with small numbers put in.

No table of families: numbers are chosen by the names that config fields have in common (`fields`), in nested configs
too, and a model that does not build or run with one set is tried with the next.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch

from analysis.coverage.fields import MOST_LAYERS, Sizes, TokenIds, small
from analysis.errors import ModelError

MOST_PARAMETERS = 60_000_000
"""Larger models are not built: their type needs numbers that no rule here gives."""

WAYS = (
    Sizes(),
    Sizes(fills=True),
    Sizes(width=64, d_head=16),
    Sizes(equal_stages=True),
    Sizes(n_kv_heads=4),
    Sizes(keeps=("head_dim",)),
    Sizes(keeps=("channels", "hidden_sizes")),
    Sizes(keeps=("hidden",)),
    Sizes(keeps=("hidden", "image")),
    Sizes(only=("layers", "vocab")),
)
"""Ways to make a config small, the smallest first."""

OWN: dict[str, dict[str, Any]] = {
    "align": {"projection_dim": 64},
    "autoformer": {"prediction_length": 4, "context_length": 16},
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
    "seggpt": {"image_size": [128, 64]},
    "t5gemma2_text": {"dropout_rate": 0.0},
    "time_series_transformer": {"prediction_length": 4, "context_length": 16},
    "tvp": {"visual_prompt_size": 8},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2},
}
"""Numbers of single types, where the class has no default that builds (a forecast length, a rotary split, a kind for
each layer, experts, special tokens) or numbers that must agree in a way only that type knows."""


def tiny_models(model_type: str, seed: int = 0, *, sharp: bool = True) -> Iterator[torch.nn.Module]:
    """Tiny models of one type, made in different ways, the smallest first; each may or may not run.

    Args:
        model_type: A key of `transformers.CONFIG_MAPPING`.
        seed: Of the weights.
        sharp: Draw weights that make attention far from uniform, instead of the model's own initialisation.

    Yields:
        Models in eval mode, without gradients.

    Raises:
        ModelError: None can be built, with why the first could not.
    """
    import transformers

    kind = transformers.CONFIG_MAPPING[model_type]
    errors: list[Exception] = []
    for sizes in WAYS:
        try:
            model = _build(tiny_config(kind, sizes), seed)
        except Exception as error:  # any config or model class may raise anything
            errors.append(error)
            continue
        yield sharpened(model, seed) if sharp else model
    if len(errors) == len(WAYS):
        raise ModelError(f"{model_type} cannot be built small: {first_line(errors[0])}") from errors[0]


def sharpened(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Random weights large enough that attention is far from uniform, so that a wrong scale would show."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim >= 2 and parameter.is_floating_point():
            fan_in = parameter.shape[1:].numel() if parameter.ndim > 2 else parameter.shape[-1]
            parameter.normal_(0, 1.4 * max(fan_in, 1) ** -0.5, generator=generator)
    return model


def tiny_config(kind: type, sizes: Sizes, ids: TokenIds | None = None, default: Any = None) -> Any:
    """A config of this class with small numbers, in its nested configs too.

    Args:
        kind: A config class of transformers.
        sizes: How small.
        ids: Special tokens named so far; the parts of one config share them.
        default: What to shrink; the class's own defaults if not given.
    """
    ids = ids or TokenIds()
    plain = kind()
    default = plain if default is None else default
    parameters = inspect.signature(kind.__init__).parameters
    given: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name == "self" or _is_read_only(kind, name):
            continue
        value = _value(default, name, parameter)
        if _is_config(value):
            given[name] = _own_backbone() if _wants_timm(value) else tiny_config(type(value), sizes, ids, value)
        elif name == "backbone_config" and _wants_timm(value):
            given[name] = _own_backbone()
        elif parameter.default is not None or not _same(value, _read(plain, name)) or (value is None and sizes.fills):
            shrunk = small(name, value, sizes, ids)
            if shrunk is not value or not _same(value, parameter.default):
                given[name] = shrunk
    _fit_layer_lists(given, default, parameters, kind)
    _fit_heads(given, default)
    _fit_rotary(given, default, parameters)
    _fit_windows(given, default)
    _fit_outputs(given, default, plain)
    _fit_stages(given, default)
    given.update(OWN.get(getattr(kind, "model_type", ""), {}))
    return kind(**given)


def _is_read_only(kind: type, name: str) -> bool:
    found = getattr(kind, name, None)
    return isinstance(found, property) and found.fset is None


def _value(default: Any, name: str, parameter: inspect.Parameter) -> Any:
    return _read(default, name, parameter.default)


def _read(config: Any, name: str, otherwise: Any = None) -> Any:
    try:
        return getattr(config, name, otherwise)
    except Exception:  # fields that differ from layer to layer refuse to be read
        return otherwise


def _is_config(value: Any) -> bool:
    return hasattr(value, "to_dict") and hasattr(value, "model_type")


def _same(value: Any, other: Any) -> bool:
    with contextlib.suppress(Exception):
        return bool(value == other)
    return False


def _fit_layer_lists(given: dict[str, Any], default: Any, parameters: Any, kind: type) -> None:
    """Lists with an entry for each layer get one for each layer that is left: every kind of layer once."""
    name = next((name for name in ("num_hidden_layers", "num_layers", "n_layers", "n_layer") if name in given), None)
    if name is None:
        return
    lists = {}
    for field in parameters:
        value = _value(default, field, parameters[field])
        if isinstance(value, (list, tuple)) and len(value) == _read(default, name) and not _is_read_only(kind, field):
            lists[field] = value
    kinds = {field: list(dict.fromkeys(value)) for field, value in lists.items() if isinstance(value[0], str)}
    out = _read(default, "out_indices") or ()
    given[name] = min(max([given[name], len(out), *map(len, kinds.values())]), MOST_LAYERS)
    for field, value in lists.items():
        some = kinds.get(field, list(value))
        given[field] = type(value)(some[place % len(some)] for place in range(given[name]))


def _fit_heads(given: dict[str, Any], default: Any) -> None:
    """Keys are grouped only where the defaults group them; heads of a state space fill its width."""
    for keys, queries in (("num_key_value_heads", "num_attention_heads"), ("n_kv_heads", "n_heads")):
        if {keys, queries} <= given.keys() and _read(default, keys) == _read(default, queries):
            given[keys] = given[queries]
    for heads, width, expand in (
        ("mamba_n_heads", "mamba_d_head", "mamba_expand"),
        ("num_heads", "head_dim", "expand"),
    ):
        if hasattr(default, expand) and heads in given and width in given and "hidden_size" in given:
            inner = int(getattr(default, expand) * given["hidden_size"])
            given[width] = inner // given[heads]
            if getattr(default, "mamba_d_ssm", None) is not None:
                given["mamba_d_ssm"] = inner


def _fit_outputs(given: dict[str, Any], default: Any, plain: Any) -> None:
    """A backbone hands out as many feature maps as it was asked for, from the layers that are left."""
    out = _read(default, "out_indices")
    if out and out != _read(plain, "out_indices"):
        n_layers = given.get("num_hidden_layers")
        out = out if n_layers is None else range(n_layers - len(out) + 1, n_layers + 1)
        given["out_indices"] = list(out)


def _fit_stages(given: dict[str, Any], default: Any) -> None:
    """Each stage of convolutions reads what the one before it wrote."""
    stem, written = _read(default, "stem_channels"), given.get("hidden_sizes")
    if stem and written and "stage_out_channels" in vars(default):
        given["stage_out_channels"], given["stage_mid_channels"] = list(written), list(written)
        given["stage_in_channels"] = [stem[-1], *written[:-1]]


def _fit_windows(given: dict[str, Any], default: Any) -> None:
    """Windows in pixels hold whole groups of merged patches; windows in patches fit the last, smallest stage."""
    names = ("window_size", "patch_size", "spatial_merge_size", "depths", "image_size")
    window, patch, merge, depths, image = (given.get(name, _read(default, name)) for name in names)
    if "window_size" not in given or not isinstance(patch, int):
        return
    if merge is not None:
        given["window_size"] = 2 * merge * patch
    elif isinstance(depths, (list, tuple)) and isinstance(image, int):
        given["image_size"] = window * patch * 2 ** (len(depths) - 1)


def _wants_timm(value: Any) -> bool:
    found = value.get("model_type") if isinstance(value, dict) else getattr(value, "model_type", None)
    return found == "timm_backbone"


def _own_backbone() -> Any:
    """A small ResNet in place of one from timm, which gives the same four feature maps."""
    import transformers

    stages = ["stage1", "stage2", "stage3", "stage4"]
    return transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32, 64, 128], depths=[1, 1, 1, 1], layer_type="basic", out_features=stages
    )


def _fit_rotary(given: dict[str, Any], default: Any, parameters: Any) -> None:
    rope = getattr(default, "rope_parameters", None)
    if (
        "rope_parameters" in parameters
        and isinstance(rope, dict)
        and "rope_theta" in rope
        and rope["rope_theta"] is None
    ):
        given["rope_parameters"] = {**rope, "rope_theta": 10_000.0}


def _build(config: Any, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    with _at_most(MOST_PARAMETERS):
        model = _model(config)
    model = model.float().eval().requires_grad_(False)
    _fit_sections(model)
    return model


def _model(config: Any) -> torch.nn.Module:
    """The base model of a config; where the automatic class refuses it, its own class on the part of it that fits."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    try:
        return transformers.AutoModel.from_config(config)
    except (AttributeError, ValueError):
        own = getattr(transformers, MODEL_MAPPING_NAMES[config.model_type], None)
        parts = [config, *(getattr(config, name) for name in config.sub_configs)]
        fitting = [part for part in parts if own is not None and type(part) is own.config_class]
        if not fitting:
            raise
        return own(fitting[0])


@contextlib.contextmanager
def _at_most(count: int) -> Iterator[None]:
    """Stop building as soon as a model has more parameters than this."""
    n_seen = 0

    def add(_module: Any, _name: str, parameter: Any) -> None:
        nonlocal n_seen
        n_seen += 0 if parameter is None else parameter.numel()
        if n_seen > count:
            raise ModelError(f"it would have more than {count / 1e6:.0f} million parameters")

    hook = torch.nn.modules.module.register_module_parameter_registration_hook(add)
    try:
        yield
    finally:
        hook.remove()


def _fit_sections(model: torch.nn.Module) -> None:
    """Rotary frequencies split between time, height and width: the parts must sum to all."""
    for module in model.modules():
        sections, frequencies = getattr(module, "mrope_section", None), getattr(module, "inv_freq", None)
        if isinstance(sections, (list, tuple)) and len(sections) == 3 and frequencies is not None:
            n_frequencies = frequencies.shape[-1]
            if sum(sections) != n_frequencies:
                third = n_frequencies // 3
                module.mrope_section = [n_frequencies - 2 * third, third, third]


def first_line(error: BaseException) -> str:
    """The first lines of an error's message, or its kind."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:200]
