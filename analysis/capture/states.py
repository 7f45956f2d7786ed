"""How far the states of a batch's rows lie from those of its first row, behind each block and at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


class StateChanges:
    """While open, compares the states of rows 1, 2, ... of one forward pass with those of row 0.

    The change of a token is the relative L2 distance, norm(edited - unedited) / norm(unedited); 0 = no change. Ours.

    Args:
        model: The tower.
        sites: For each row from 1 on, the key of the site whose block is looked at; None for no block.
        n_tokens: Tokens of a row. Blocks with states of another shape are left out.

    Attributes:
        behind_block: [row, token], at the output of the block that holds the site; NaN where no block is found.
        at_end: [row, token], at the last hidden state of the tower, behind its last normalisation where it has one.
    """

    def __init__(self, model: torch.nn.Module, sites: Sequence[str | None], n_tokens: int) -> None:
        self.model = model
        self.behind_block = np.full((len(sites), n_tokens), np.nan)
        self.at_end = np.full((len(sites), n_tokens), np.nan)
        self._rows: dict[tuple[str, int], list[int]] = {}
        for row, site in enumerate(sites):
            if site is None:
                continue
            module_name, ordinal = site.rsplit("#", 1)
            block = block_of(model, module_name)
            if block is not None:
                self._rows.setdefault((block, int(ordinal)), []).append(row)
        self._ordinals: Counter[str] = Counter()
        self._hooks: list[Any] = []

    def __enter__(self) -> StateChanges:
        for block in dict.fromkeys(block for block, _ in self._rows):
            module = self.model.get_submodule(block)
            self._hooks.append(module.register_forward_hook(partial(self._see_block, block)))
        self._hooks.append(self.model.register_forward_hook(self._see_end))
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _see_block(self, block: str, module: torch.nn.Module, args: tuple, output: Any) -> None:
        rows = self._rows.get((block, self._ordinals[block]), [])
        self._ordinals[block] += 1
        states = output[0] if isinstance(output, tuple) else output
        if rows and self._fits(states):
            self.behind_block[rows] = _relative(states[0], states[[row + 1 for row in rows]])

    def _see_end(self, module: torch.nn.Module, args: tuple, output: Any) -> None:
        states = getattr(output, "last_hidden_state", None)
        if states is None and isinstance(output, tuple):
            states = output[0]
        if self._fits(states):
            self.at_end[:] = _relative(states[0], states[1:])

    def _fits(self, states: Any) -> bool:
        n_rows, n_tokens = self.at_end.shape
        return isinstance(states, Tensor) and states.ndim == 3 and states.shape[:2] == (n_rows + 1, n_tokens)


def block_of(model: torch.nn.Module, module_name: str) -> str | None:
    """The name of the block that a module is in: its nearest ancestor in a list of modules; None without one."""
    parts = module_name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        if isinstance(model.get_submodule(".".join(parts[: end - 1])), torch.nn.ModuleList):
            return ".".join(parts[:end])
    return None


def _relative(
    base: Float[Tensor, "token d_model"], edited: Float[Tensor, "row token d_model"]
) -> Float[np.ndarray, "row token"]:
    base, edited = base.float(), edited.float()
    change = torch.linalg.vector_norm(edited - base, dim=-1) / torch.linalg.vector_norm(base, dim=-1)
    return change.cpu().numpy()
