"""The implicit attention of state-space layers: what a selective scan does, written as a matrix of tokens by tokens.

A scan is linear in its inputs once its steps are known: ``y_i = sum_j alpha_ij u_j`` over tokens ``j <= i``, with

    alpha_ij = C_i exp(A sum_{k=j+1..i} Delta_k) Delta_j B_j

summed over the state. In Mamba every channel has an A of its own and so a matrix of its own; in Mamba-2 the channels of
a head share one: ``(C_i . B_j) exp(A sum Delta_k) Delta_j``. Weights are signed, and no softmax makes their rows sum
to 1. Skip connection, convolution and gate are not part of it.

Source: Ali, Zimerman and Wolf (2024), "The Hidden Attention of Mamba Models", eq. 11 and 12; Dao and Gu (2024),
"Transformers are SSMs", section 3 for Mamba-2. `Scan.differences` holds a matrix against the layer's own output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

MOST_TOKENS = 1024
"""A longer input has no implicit attention here: a matrix costs its square, times every channel and state."""

MOST_GROUPS = 8
"""Channels of a Mamba layer are shown in so many groups at most, each as the mean of its matrices."""


@dataclass(frozen=True)
class Scan:
    """One selective scan as the model ran it. A channel of Mamba is a head of width 1.

    Attributes:
        u: What the scan reads: behind the convolution.
        step: Delta, behind bias, softplus and limits.
        decay: A; one number for all of the state in Mamba-2.
        b: Input matrices; heads share those of their group.
        c: Output matrices; likewise.
        own: What the model's own scan gives for these arguments without skip connection and gate, on request.
    """

    u: Float[Tensor, "batch token head width"]
    step: Float[Tensor, "batch token head"]
    decay: Float[Tensor, "head state"]
    b: Float[Tensor, "batch token group state"]
    c: Float[Tensor, "batch token group state"]
    own: Float[Tensor, "batch token head width"] | None = None

    @property
    def n_tokens(self) -> int:
        return self.u.shape[1]

    @property
    def n_heads(self) -> int:
        """Matrices of their own: channels of Mamba, heads of Mamba-2."""
        return self.u.shape[2]

    @property
    def n_shown(self) -> int:
        """Heads as a run has them: those of Mamba-2; groups of channels next to each other in Mamba."""
        if self.u.shape[3] > 1:
            return self.n_heads
        return next(n for n in range(min(MOST_GROUPS, self.n_heads), 0, -1) if self.n_heads % n == 0)

    def matrices(self, heads: Sequence[int]) -> Float[Tensor, "batch chosen query key"]:
        """The matrices of some channels (Mamba) or heads (Mamba-2), fp32, 0 where the key is later."""
        part = self._only(list(heads))
        return torch.stack(list(part._rows()), dim=2)

    def attention(self) -> Float[Tensor, "batch shown query key"]:
        """The mean matrix of each shown head, fp32 and signed, 0 where the key is later."""
        return torch.stack([row.unflatten(1, (self.n_shown, -1)).mean(dim=2) for row in self._rows()], dim=2)

    def attention_and_difference(self) -> tuple[Float[Tensor, "batch shown query key"], float | None]:
        """`attention`, and the largest difference of every channel's matrix times `u` from `own`, as a share of its
        largest entry; None where that was not asked for."""
        shown, gap = [], 0.0
        for at, row in enumerate(self._rows()):
            shown.append(row.unflatten(1, (self.n_shown, -1)).mean(dim=2))
            if self.own is not None:
                ours = torch.einsum("bhj,bjhw->bhw", row, self.u.float())
                gap = max(gap, float(torch.nan_to_num((ours - self.own[:, at].float()).abs(), nan=torch.inf).max()))
        size = None if self.own is None else max(float(self.own.float().abs().max()), 1e-6)
        return torch.stack(shown, dim=2), None if size is None else gap / size

    def _only(self, heads: list[int]) -> Scan:
        groups = [head * self.b.shape[2] // self.n_heads for head in heads]
        return Scan(
            self.u[:, :, heads], self.step[:, :, heads], self.decay[heads], self.b[:, :, groups], self.c[:, :, groups]
        )

    def _rows(self) -> Iterator[Float[Tensor, "batch head key"]]:
        """One query after the other: its weight on every key, of every head."""
        elapsed = self.step.float().cumsum(dim=1)
        per_group = self.n_heads // self.b.shape[2]
        for at in range(self.n_tokens):
            since = (elapsed[:, at : at + 1] - elapsed[:, : at + 1]).transpose(1, 2)  # batch head key
            inputs = self.step[:, : at + 1].float().transpose(1, 2)
            b, c = self.b[:, : at + 1].float(), self.c[:, at].float()
            if self.decay.shape[1] == 1:
                products = torch.einsum("bgs,bjgs->bgj", c, b).repeat_interleave(per_group, dim=1)
                row = products * torch.exp(since * self.decay.float()) * inputs
            else:
                kept = torch.exp(since[..., None] * self.decay.float()[:, None])  # batch head key state
                products = (c[:, None] * b).transpose(1, 2).repeat_interleave(per_group, dim=1)
                row = (kept * products).sum(dim=-1) * inputs
            yield torch.nn.functional.pad(row, (0, self.n_tokens - at - 1))


def read_scan(function: Callable, given: dict[str, Any], keep_output: bool) -> Scan:
    """The scan that a model asks of its scan function with these arguments.

    Args:
        function: A function of the model file as `is_scan` knows it.
        given: Its arguments by name.
        keep_output: Ask the function once more, without skip connection and gate, for `Scan.own`.
    """
    own = None
    if keep_output:
        bare = {name: None for name in ("D", "z") if name in given}
        own = function(**{**given, **bare, **({"return_last_state": False} if "return_last_state" in given else {}),
                          **({"return_final_states": False} if "return_final_states" in given else {})})  # fmt: skip
    u, step, decay, b, c = (given[name] for name in ("hidden_states", "dt", "A", "B", "C"))
    bias = given.get("delta_bias", given.get("dt_bias"))
    is_by_channel = decay.ndim == 2
    if is_by_channel:  # Mamba has its tokens last
        u, step, b, c = u.transpose(1, 2)[..., None], step.transpose(1, 2), *(m.transpose(1, 2) for m in (b, c))
        b, c = b[:, :, None], c[:, :, None]
        own = None if own is None else own.transpose(1, 2)[..., None]
    step = step if bias is None else step + bias.to(step.dtype)
    if given.get("delta_softplus") or given.get("dt_softplus"):
        step = torch.nn.functional.softplus(step)
    if (limits := given.get("dt_limit")) is not None:
        step = step.clamp(min=limits[0], max=limits[1])
    return Scan(u, step, decay if is_by_channel else decay[:, None], b, c, own)
