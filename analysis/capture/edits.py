"""Interventions at the seam that records: change what an attention function returns, or what it is given.

The softmax itself is never touched: a head's output is replaced or multiplied, or a mask keeps queries from keys or
weighs them otherwise, and the model's own function does the rest. Every change names the rows of the batch it is for,
so that one batch can hold the same input many times over, with another head changed in each.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.capture import attention as formula
from analysis.capture.changes import Change, Gate, Knockout, Redistribute, SetOutput
from analysis.capture.interface import as_named, hides_later_keys, install, open_edits, uninstall, with_mask
from analysis.capture.masking import check_head, edited_mask, rows_of
from analysis.capture.sites import CallNames
from analysis.errors import CaptureRefused, UnknownName

__all__ = ["Change", "Edit", "Gate", "Knockout", "Redistribute", "SetOutput"]


class Edit:
    """Change attention calls of one model for as long as the ``with`` block lasts.

    Other models and other threads are untouched, and everything is put back on exit, also after an error. Edits may be
    nested; the outer one's changes are made first. A `Capture` that is open too, on either side, records the call as
    it took place: with the edited mask and the edited output.

    Args:
        model: The model whose site keys are meant: the tower that was captured, also where it runs inside a larger one.
        changes: Made in this order.

    Raises:
        UnknownName: A change names a module that the model lacks (on entering) or a head that the site lacks.
        CaptureRefused: The site's attention cannot be changed so; or, on leaving, one that never called.

    Example:
        >>> with Edit(model, [SetOutput("h.0.attn#0", head=2)]):
        ...     model(**inputs)
    """

    def __init__(self, model: torch.nn.Module, changes: Sequence[Change]) -> None:
        self.model = model
        self._names = CallNames(model)
        self._by_site: dict[str, list[Change]] = {}
        for change in changes:
            self._by_site.setdefault(change.site, []).append(change)
        self._made: set[str] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Edit:
        known = {name for name, _ in self.model.named_modules()}
        for site in self._by_site:
            if site.rsplit("#", 1)[0] not in known:
                raise UnknownName(f"There is no site {site!r} in this {type(self.model).__name__}.")
        install()
        self._hook = self.model.register_forward_pre_hook(self._begin_pass)
        self._token = open_edits.set((*open_edits.get(), self))
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        open_edits.reset(self._token)
        self._hook.remove()
        uninstall()
        missed = sorted(set(self._by_site) - self._made)
        if kind is None and self._names.n_passes and missed:
            raise CaptureRefused(
                f"The edit of {', '.join(missed[:3])} was never made: no attention call of this name went through the "
                "attention interface of transformers."
            )

    def changes(self, module: object) -> list[Change]:
        """The changes for this call of a module; the seam asks once a call."""
        if module not in self._names:
            return []
        name, ordinal = self._names.next_call(module)
        site = f"{name}#{ordinal}"
        if site in self._by_site:
            self._made.add(site)
        return self._by_site.get(site, [])

    def edit_arguments(
        self, changes: list[Change], implementation: str, is_own_eager: bool, args: tuple, kwargs: dict
    ) -> tuple[tuple, dict]:
        """The same arguments, with a mask that also blocks what is knocked out and weighs what is redistributed."""
        of_mask = [change for change in changes if isinstance(change, Knockout | Redistribute)]
        if not of_mask:
            return args, kwargs
        given = as_named(args, kwargs)
        mask = given.get("attention_mask")
        if "flash" in implementation or not (mask is None or isinstance(mask, Tensor)):
            raise CaptureRefused(
                f"The {implementation} attention takes no mask by head and key: load the model with "
                'attn_implementation="sdpa" or "eager" to change what keys get.'
            )
        hides_later = hides_later_keys(implementation, is_own_eager, given)
        is_additive = is_own_eager or implementation == "eager"
        return with_mask(args, kwargs, edited_mask(of_mask, given, hides_later, is_additive))

    def edit_result(self, changes: list[Change], args: tuple, kwargs: dict, result: Any) -> Any:
        """What the attention function returned, with outputs set and gated."""
        changes = [change for change in changes if not isinstance(change, Redistribute)]
        if not changes:
            return result
        is_pair = isinstance(result, tuple)
        output = result[0] if is_pair else result
        if output.ndim != 4:
            raise CaptureRefused(
                f"{changes[0].site} returns its output as {tuple(output.shape)}; "
                "expected batch, query, head and d_value."
            )
        if not all(isinstance(change, Gate) for change in changes):
            output = output.clone()
        for change in changes:
            if isinstance(change, Gate):
                check_head(change.site, change.values.shape[-1] - 1, output.shape[2])
                values = change.values.reshape(-1, 1, change.values.shape[-1], 1)
                output = output * values.to(output.device, output.dtype)
            elif isinstance(change, SetOutput):
                check_head(change.site, change.head, output.shape[2])
                _set(output, change)
            else:
                _silence_blind(output, change, as_named(args, kwargs)["attention_mask"])
        return (output, *result[1:]) if is_pair else output

    def _begin_pass(self, module: torch.nn.Module, args: tuple) -> None:
        if self in open_edits.get():
            self._names.begin_pass()


def _set(output: Float[Tensor, "batch query head d_value"], change: SetOutput) -> None:
    rows = rows_of(change.rows, output.shape[0], output.device)
    queries = torch.arange(output.shape[1], device=output.device)
    if change.queries is not None:
        queries = queries[change.queries.to(output.device)]
    value = 0.0 if change.value is None else change.value.to(output.device, output.dtype)
    output[rows[:, None], queries[None, :], change.head] = value


def _silence_blind(output: Float[Tensor, "batch query head d_value"], change: Knockout, mask: Tensor) -> None:
    """Zero where the knock-out left a query no key: kernels differ there between NaN, zero and a mean of all values."""
    rows = rows_of(change.rows, output.shape[0], output.device)
    heads = torch.arange(output.shape[2]) if change.head is None else torch.tensor([change.head])
    heads = heads.to(output.device)
    allowed, _ = formula.allowed_keys(mask[rows][:, heads], False, *mask.shape[2:], mask.device)
    is_blind = ~allowed.any(dim=-1) & change.blocked.any(dim=-1).to(mask.device)
    if not bool(is_blind.any()):
        return
    for place, head in enumerate(heads.tolist()):
        for row, blind in zip(rows.tolist(), is_blind[:, place], strict=True):
            output[row, blind, head] = 0.0
