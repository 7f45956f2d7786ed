"""The tiny model and the input of one type that are used: the first that run together, the fullest input first."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from analysis.coverage.example import examples
from analysis.coverage.media import MEDIA
from analysis.coverage.tiny import first_line, tiny_models
from analysis.errors import ModelError
from analysis.models.forward import forward_module

PATIENCE_S = 4.0
"""After this no further tiny form of a type is tried; every input of the first form is."""


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
    for sharp in (True, False):
        poorer = None
        for model, inputs in _tries(model_type, seed, sharp):
            try:
                finite = is_finite(forward_module(model, inputs))
            except Exception as error:  # any model may raise anything
                reasons.append(f"{first_line(error)} (given {', '.join(inputs) or 'nothing'})")
                continue
            if not finite:
                reasons.append(_NOT_FINITE)
            elif not _takes_media(model) or set(inputs) & set(MEDIA):
                return model, inputs
            else:
                poorer = poorer or (model, inputs)
        if poorer:
            return poorer
        if _NOT_FINITE not in reasons:
            break
    raise ModelError(f"{model_type} does not run: {reasons[0] if reasons else 'no input is known that it takes'}")


_NOT_FINITE = "its outputs are not finite"


def _tries(model_type: str, seed: int, sharp: bool) -> Iterator[tuple[torch.nn.Module, dict[str, Tensor]]]:
    end = None
    for place, model in enumerate(tiny_models(model_type, seed, sharp=sharp)):
        end = end or time.monotonic() + PATIENCE_S
        for inputs in examples(model, seed):
            if place and time.monotonic() > end:
                return
            yield model, inputs
        if time.monotonic() > end:
            return


def is_finite(output: Any) -> bool:
    """Whether no floating-point tensor of a model's output overflows; minus infinity is how some types pad them."""
    if isinstance(output, Tensor):
        return not output.is_floating_point() or bool((output < torch.inf).all())
    if isinstance(output, dict):
        return all(is_finite(value) for value in output.values())
    if isinstance(output, (list, tuple)):
        return all(is_finite(value) for value in output)
    return True


def _takes_media(model: torch.nn.Module) -> bool:
    return bool(set(inspect.signature(model.forward).parameters) & set(MEDIA))
