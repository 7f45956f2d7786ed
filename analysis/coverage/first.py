"""The tiny model and the input of one type that are used: the first that run together, the fullest input first."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from analysis.coverage.example import examples
from analysis.coverage.media import MEDIA
from analysis.coverage.tiny import first_line, tiny_models
from analysis.errors import ModelError
from analysis.models.forward import forward_module

PATIENCE_S = 12.0
"""No further model or input of a type is tried after this."""


def tiny_model_and_input(model_type: str, seed: int = 0) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    """A tiny random model of one type, with an input it runs on.

    A model that takes images or sounds is given them if one of its tiny forms runs with them, and text alone if not.
    Its weights are drawn large, so that attention is far from uniform; if its outputs are then not finite, it keeps
    its own initialisation.

    Returns:
        The model, in eval mode and without gradients, and batch tensors by argument name.

    Raises:
        ModelError: None of its tiny forms runs, or its outputs are never finite, with the first reason.
    """
    reasons: list[str] = []
    end = poorer = None
    for sharp in (True, False):
        for model in tiny_models(model_type, seed, sharp=sharp):
            for inputs in examples(model, seed):
                end = end or time.monotonic() + PATIENCE_S
                if time.monotonic() > end:
                    break
                try:
                    finite = is_finite(forward_module(model, inputs))
                except Exception as error:  # any model may raise anything
                    reasons.append(f"{first_line(error)} (given {', '.join(inputs) or 'nothing'})")
                    continue
                if not finite:
                    reasons.append("its outputs are not finite")
                elif not _takes_media(model) or set(inputs) & set(MEDIA):
                    return model, inputs
                else:
                    poorer = poorer or (model, inputs)
        if poorer:
            return poorer
        if "its outputs are not finite" not in reasons:
            break
    raise ModelError(f"{model_type} does not run: {reasons[0] if reasons else 'no input is known for what it takes'}")


def is_finite(output: Any) -> bool:
    """Whether all floating-point tensors in a model's output are finite; masks of minus infinity are not outputs."""
    if isinstance(output, Tensor):
        return not output.is_floating_point() or bool(torch.isfinite(output).all())
    if isinstance(output, dict):
        return all(is_finite(value) for value in output.values())
    if isinstance(output, (list, tuple)):
        return all(is_finite(value) for value in output)
    return True


def _takes_media(model: torch.nn.Module) -> bool:
    import inspect

    return bool(set(inspect.signature(model.forward).parameters) & set(MEDIA))
