"""What a model's forward takes, and the numbers of its config that an input must fit."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


class Takes:
    """The arguments of a model's forward, its config with all parts, and a seeded source of random tensors.

    Attributes:
        names: Arguments by name.
        required: Those without a default.
    """

    def __init__(self, model: torch.nn.Module, seed: int = 0) -> None:
        self.model, self.config = model, getattr(model, "config", None)
        parameters = inspect.signature(model.forward).parameters.values()
        self.names = {each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
        self.required = {each.name for each in parameters if each.name in self.names and each.default is each.empty}
        self._generator = torch.Generator().manual_seed(seed)

    def number(self, *names: str, default: Any = None) -> Any:
        """The first of these fields that the config or one of its parts has."""
        for part in self.parts():
            for name in names:
                value = _read(part, name)
                if value is not None and not isinstance(value, bool):
                    return value
        return default

    def parts(self) -> Iterator[Any]:
        """The config, then its nested configs, depth first."""
        return _parts(self.config)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator)

    def integers(self, least: int, most: int, *shape: int) -> Tensor:
        """Whole numbers from `least` to `most - 1`."""
        return torch.randint(least, max(most, least + 1), shape, generator=self._generator)

    def words(self, count: int) -> Tensor:
        """Random token ids, none of them special. Shape: batch of 1, tokens."""
        special = {
            value
            for part in self.parts()
            for name, value in _fields(part)
            if isinstance(value, int) and ("token" in name or name.endswith("_id"))
        }
        common = [token for token in range(3, min(self._vocabulary(), 150)) if token not in special]
        return torch.tensor(common)[self.integers(0, len(common), 1, count)]

    def _vocabulary(self) -> int:
        try:
            return self.model.get_input_embeddings().num_embeddings
        except Exception:  # models without one table of embeddings say so in many ways
            return self.number("vocab_size", default=100)


def _parts(config: Any) -> Iterator[Any]:
    yield config
    for _, value in _fields(config):
        if hasattr(value, "to_dict") and hasattr(value, "model_type"):
            yield from _parts(value)


def _fields(config: Any) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in vars(config).items() if not name.startswith("_")] if config else []


def _read(config: Any, name: str) -> Any:
    try:
        return getattr(config, name, None)
    except Exception:  # fields that differ from layer to layer refuse to be read
        return None
