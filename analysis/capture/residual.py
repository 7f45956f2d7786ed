"""The residual state of every token in front of each block and behind the last, and what each block's MLP adds."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.types import BatchStates, Site


class ResidualTrace:
    """While open, keeps the states of one model's forward passes, one `BatchStates` a pass and tower.

    The MLP of a block is found by what runs: of the modules in the block that are no norm, hold none and are not part
    of the attention, the last one to finish with an output of the states' shape. Ours; it holds where the MLP ends a
    block, before or behind its norm. Outputs are those of the MLP itself, before a norm behind it.

    States are copied into memory that is used again once `release` gives it back: fresh pages for all layers of every
    batch would cost several times as much as the copy.

    Args:
        model: The tower.
        sites: Sites of the plan; self-attention whose block is not found, or whose states are not those of the tokens
            that attend, is left out with its whole tower.

    """

    def __init__(self, model: torch.nn.Module, sites: Sequence[Site]) -> None:
        self.model = model
        self._blocks: dict[str, dict[int, Site]] = {}
        for site in sites:
            name, ordinal = site.key.rsplit("#", 1)
            block = residual_block_of(model, name) if site.role == "self" else None
            if block is not None:
                self._blocks.setdefault(block, {})[int(ordinal)] = site
        self._sites = [site for site in sites if site.role == "self"]
        self._last = {site.stack_label: site.key for site in self._sites}
        self._hooks: list[Any] = []
        self._batches: list[BatchStates] = []
        self._buffers = _Buffers()
        self._begin()

    def __enter__(self) -> ResidualTrace:
        self._thread = threading.get_ident()
        for name, by_ordinal in self._blocks.items():
            block = self.model.get_submodule(name)
            self._hooks.append(block.register_forward_pre_hook(partial(self._enter_block, name), with_kwargs=True))
            self._hooks.append(block.register_forward_hook(partial(self._leave_block, name)))
            attention = next(iter(by_ordinal.values())).key.rsplit("#", 1)[0]
            for module in _may_be_mlp(block, attention.removeprefix(f"{name}.")):
                self._hooks.append(module.register_forward_hook(self._leave_part))
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def end_pass(self, input_ids: Sequence[int], n_tokens: Mapping[str, Sequence[int]]) -> None:
        """A forward pass is done: keep what it showed for `drain`.

        Args:
            input_ids: The inputs of the batch.
            n_tokens: Tokens of each, padding not counted, by sequence; see `Site.query_sequence`.
        """
        for stack in dict.fromkeys(site.stack_label for site in self._sites):
            sites = [site for site in self._sites if site.stack_label == stack]
            states = [self._before.get(site.key) for site in sites] + [self._behind.get(sites[-1].key)]
            of_inputs = tuple(n_tokens[sites[0].query_sequence])
            shape = len(input_ids), max(of_inputs)
            if any(state is None or state.ndim != 3 or state.shape[:2] != shape for state in states):
                continue
            outputs = [self._mlp.get(site.key) for site in sites]
            whole = all(output is not None and output.shape == states[0].shape for output in outputs)
            batch = BatchStates(stack, tuple(input_ids), of_inputs, states, outputs if whole else None)
            self._batches.append(batch)
        used = {id(array) for batch in self._batches for array in (*batch.states, *(batch.mlp_outputs or ()))}
        seen = (array for held in (self._before, self._behind, self._mlp) for array in held.values())
        self._buffers.give_back([array for array in seen if id(array) not in used])
        self._begin()

    def drain(self) -> list[BatchStates]:
        """What the passes since the last call showed; nothing of it is kept."""
        batches, self._batches = self._batches, []
        return batches

    def release(self, batches: Sequence[BatchStates]) -> None:
        """Nobody reads these any more: their memory is used again. May be called from another thread."""
        for batch in batches:
            self._buffers.give_back([*batch.states, *(batch.mlp_outputs or ())])

    def _begin(self) -> None:
        self._ordinals: Counter[str] = Counter()
        self._before: dict[str, np.ndarray] = {}
        self._behind: dict[str, np.ndarray] = {}
        self._mlp: dict[str, np.ndarray] = {}
        self._shape: torch.Size | None = None
        self._last_part: Tensor | None = None

    def _is_ours(self) -> bool:
        """False where another thread runs the same model meanwhile."""
        return threading.get_ident() == self._thread

    def _enter_block(self, name: str, module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        if not self._is_ours():
            return
        site = self._blocks[name].get(self._ordinals[name])
        states = args[0] if args else kwargs.get("hidden_states")
        self._shape, self._last_part = getattr(states, "shape", None), None
        if site is not None and isinstance(states, Tensor):
            self._before[site.key] = self._buffers.copy(states)

    def _leave_part(self, module: torch.nn.Module, args: tuple, output: Any) -> None:
        if not self._is_ours():
            return
        output = output[0] if isinstance(output, tuple) else output
        shape = self._shape
        if not isinstance(output, Tensor) or shape is None or output.shape[-1:] != shape[-1:]:
            return
        if output.numel() == shape.numel():  # some MLPs see all tokens of the batch as one list
            self._last_part = output.reshape(shape)

    def _leave_block(self, name: str, module: torch.nn.Module, args: tuple, output: Any) -> None:
        if not self._is_ours():
            return
        site = self._blocks[name].get(self._ordinals[name])
        self._ordinals[name] += 1
        states = output[0] if isinstance(output, tuple) else output
        if site is None:
            return
        if site.key == self._last[site.stack_label] and isinstance(states, Tensor):
            self._behind[site.key] = self._buffers.copy(states)
        if self._last_part is not None:
            self._mlp[site.key] = self._buffers.copy(self._last_part)
        self._last_part = None


def residual_block_of(model: torch.nn.Module, module_name: str) -> str | None:
    """The name of the block that an attention module is in: the nearest ancestor in a list of modules that holds more
    than attention and norms, so that its input and output are residual states; None without one."""
    parts = module_name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:end])
        if isinstance(model.get_submodule(".".join(parts[: end - 1])), torch.nn.ModuleList):
            inside = ".".join(parts[end:])
            if _may_be_mlp(model.get_submodule(name), inside):
                return name
    return None


def _may_be_mlp(block: torch.nn.Module, attention: str) -> list[torch.nn.Module]:
    """Modules with weights in a block that are no norm, hold none, and are not part of the attention: of the child of
    the block, or of a list in it, that the attention module is in."""
    parts = attention.split(".")
    end = 1
    while end < len(parts) and isinstance(block.get_submodule(".".join(parts[:end])), torch.nn.ModuleList):
        end += 1
    apart = ".".join(parts[:end])
    return [
        module
        for name, module in block.named_modules()
        if name and name != apart and not name.startswith(f"{apart}.") and _is_plain(module)
    ]


def _is_plain(module: torch.nn.Module) -> bool:
    has_weights = next(module.parameters(), None) is not None
    return has_weights and not any("norm" in type(part).__name__.lower() for part in module.modules())


class _Buffers:
    """Copies of tensors as fp32 arrays, in memory that is used again."""

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []
        self._lent: dict[int, np.ndarray] = {}
        self._largest = 0

    def copy(self, tensor: Tensor) -> np.ndarray:
        """The tensor as an array of its shape."""
        size = tensor.numel()
        self._largest = max(self._largest, size)
        buffer = self._free.pop() if self._free else None
        if buffer is None or len(buffer) < size:
            buffer = np.empty(self._largest, np.float32)
        copied = buffer[:size].reshape(tensor.shape)
        torch.from_numpy(copied).copy_(tensor.detach())
        self._lent[id(copied)] = buffer
        return copied

    def give_back(self, copies: Sequence[np.ndarray]) -> None:
        """These are not read any more."""
        self._free += [buffer for copied in copies if (buffer := self._lent.pop(id(copied), None)) is not None]
