"""A config of any class with small numbers put in, which fit together as the class wants them."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

from analysis.coverage.fields import MOST_LAYERS, Sizes, TokenIds, small
from analysis.coverage.own import OWN


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
