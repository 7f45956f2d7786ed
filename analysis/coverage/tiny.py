"""A tiny random model of any type in transformers, from its own config class with small numbers put in.

No table of families: numbers are chosen by the names that config fields have in common (`fields`), in nested configs
too, and a model that does not build or run with one set is tried with the next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from analysis.coverage.config import tiny_config
from analysis.coverage.fields import Sizes
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
