"""Windows of a vision model put back on the picture: which place of which window is which patch.

Some models attend within windows of a stage's grid, rolled and padded, and have the windows of an input behind each
other in their batch axis. Where each place comes from is found by what runs: on an image of noise every row that an
attention module is given is an exact copy of a row of the stage's states, and of one only; rows that are copies of
none are padding.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analysis.capture.interface import Call, Capture
from analysis.models import LoadedModel, forward_module, stage_layouts, stage_name

HIDDEN_WEIGHT = 1e-20
"""Models hide places across the seam of a rolled window by adding as little as -100: such weights count as hidden."""

RECENT = 8
"""States of one shape that are remembered: what a module is given is a copy of one of the last."""


@dataclass(frozen=True)
class Windows:
    """How one site's windows lie on one size of image.

    Attributes:
        sequence: The stage; see `stage_name`.
        order: The patch of the stage's grid, row by row, that each place of each window is; -1 for padding.
        n_tokens: Patches of the grid.
    """

    sequence: str
    order: Int[np.ndarray, "window place"]
    n_tokens: int

    @property
    def n_windows(self) -> int:
        return len(self.order)

    def lists(self, rows: Float[np.ndarray, "block head place ..."]) -> Float[np.ndarray, "input head patch ..."]:
        """Rows of windows as rows of patches."""
        n_inputs = len(rows) // self.n_windows
        flat = np.moveaxis(rows.reshape(n_inputs, self.n_windows, *rows.shape[1:]), 1, 2)
        flat = flat.reshape(n_inputs, rows.shape[1], -1, *rows.shape[3:])
        places = np.empty(self.n_tokens, dtype=np.int64)
        order = self.order.ravel()
        places[order[order >= 0]] = np.flatnonzero(order >= 0)
        return flat[:, :, places]

    def squares(self, blocks: np.ndarray) -> np.ndarray:
        """``[block, head, place, place]`` as ``[input, head, patch, patch]``: nothing between two windows."""
        n_inputs = len(blocks) // self.n_windows
        whole = np.zeros((n_inputs, blocks.shape[1], self.n_tokens, self.n_tokens), dtype=blocks.dtype)
        for number, block in enumerate(blocks):
            order = self.order[number % self.n_windows]
            real = np.flatnonzero(order >= 0)
            whole[number // self.n_windows][:, order[real][:, None], order[real]] = block[:, real[:, None], real]
        return whole


def allowed_places(call: Call, weights: Float[Tensor, "block head query key"]) -> Bool[np.ndarray, "block 1 query key"]:
    """Who may attend to whom within each window."""
    allowed, _ = call.allowed()
    return (allowed.any(dim=1, keepdim=True) & (weights > HIDDEN_WEIGHT).any(dim=1, keepdim=True)).cpu().numpy()


def in_stages(calls: dict[str, Call], windows: dict[str, Windows]) -> None:
    """Name the sites of windowed calls by their stage: ``vision.stage1.self.0``, their depth counted within it."""
    depths: Counter[str] = Counter()
    for key, call in calls.items():
        if key in windows:
            sequence = windows[key].sequence
            depth, stack = depths[sequence], sequence.replace(" ", "")
            depths[sequence] += 1
            call.site = replace(
                call.site, stack=stack, depth=depth, label=f"{call.site.modality}.{stack}.{call.site.role}.{depth}",
                query_sequence=sequence, key_sequence=sequence,
            )  # fmt: skip


_known: WeakKeyDictionary[Any, dict[tuple[int, ...], dict[str, Windows]]] = WeakKeyDictionary()


def find_windows(loaded: LoadedModel, inputs: dict[str, Tensor]) -> dict[str, Windows]:
    """How the windows of every site lie on images of this size, by site key; found once a size.

    Sites whose rows are no copies of a stage's states are missing. Empty for models without stages.
    """
    pixels = inputs.get("pixel_values")
    if pixels is None or pixels.ndim != 4 or not loaded.has_stages:
        return {}
    of_model = _known.setdefault(loaded.module, {})
    size = tuple(pixels.shape[1:])
    if size not in of_model:
        of_model[size] = _find(loaded, pixels)
    return of_model[size]


def _find(loaded: LoadedModel, pixels: Tensor) -> dict[str, Windows]:
    layouts = stage_layouts(loaded.module, *pixels.shape[-2:])
    stages = {layout.rows * layout.columns: stage_name(number) for number, layout in enumerate(layouts)}
    noise = torch.randn(pixels[:1].shape, generator=torch.Generator().manual_seed(0)).to(pixels)
    recent: dict[tuple[int, int], deque[Tensor]] = {}
    given: dict[str, Tensor] = {}
    found: dict[str, Windows] = {}

    def remember(module: torch.nn.Module, args: Any, output: Any) -> None:
        for tensor in _tensors(output):
            if tensor.ndim == 3 and len(tensor) == 1 and tensor.shape[1] in stages:
                recent.setdefault(tuple(tensor.shape[1:]), deque(maxlen=RECENT)).append(tensor[0])

    def receive(name: str, module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        first = next((tensor for tensor in _tensors((*args, *kwargs.values())) if tensor.ndim == 3), None)
        if first is not None:
            given[name] = first

    def take(call: Call) -> None:
        parts = call.module_name.split(".")
        for length in range(len(parts), 0, -1):
            rows = given.get(".".join(parts[:length]))
            if rows is not None and rows.shape[:2] == (call.q.shape[0], call.q.shape[2]):
                break
        else:
            return
        for (n_tokens, width), states in recent.items():
            for state in reversed(states) if width == rows.shape[-1] else ():
                order = _order(rows, state)
                if order is not None:
                    found[call.key] = Windows(stages[n_tokens], order, n_tokens)
                    return

    hooks = []
    try:
        for name, part in loaded.module.named_modules():
            hooks.append(part.register_forward_pre_hook(partial(receive, name), with_kwargs=True))
            hooks.append(part.register_forward_hook(remember))
        with Capture(loaded.module, on_call=take):
            forward_module(loaded.module, {"pixel_values": noise})
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _order(
    rows: Float[Tensor, "window place width"], state: Float[Tensor, "patch width"]
) -> Int[np.ndarray, "window place"] | None:
    """Which row of `state` each of `rows` is a copy of, -1 for none; None unless each is there exactly once and all
    that is of none is alike."""
    keys = [row.tobytes() for row in state.float().cpu().numpy()]
    numbers = {key: number for number, key in enumerate(keys)}
    places = [row.tobytes() for row in rows.reshape(-1, rows.shape[-1]).float().cpu().numpy()]
    order = np.array([numbers.get(key, -1) for key in places])
    padding = {key for key, number in zip(places, order) if number < 0}
    is_whole = len(numbers) == len(keys) and np.array_equal(np.sort(order[order >= 0]), np.arange(len(keys)))
    return order.reshape(rows.shape[:2]) if is_whole and len(padding) <= 1 else None


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
