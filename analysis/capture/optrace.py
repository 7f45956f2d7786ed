"""Attention calls found by what is computed: ``softmax(f(q k^T)) v``, in models that go round the attention interface.

While an `OpTrace` is open, torch hands it every operation of this thread. It runs the operation as it is, and follows
the product of two activations through scaling, masks, biases and changes of shape to a softmax, and from there to the
product with the values. What it hands on are tensors that the model itself computed, the weights too: nothing about
the model's formula has to be known. Kernels that do all of it at once (`scaled_dot_product_attention`,
`multi_head_attention_forward`) are read from their arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from analysis.capture.attention import BLOCKED
from analysis.capture.multi_head import of_multi_head
from analysis.capture.traced import TracedCall


@dataclass(frozen=True)
class _Trail:
    """A product of queries and keys on its way to the values.

    The tensor it belongs to has its query and key axes anywhere; the tensors kept here have them last, behind the
    other axes in that tensor's order.

    Attributes:
        row: Axis of the queries in the tensor followed.
        column: Axis of the keys in it.
        scale: Factor on q·k so far, up to the cap where there is one; None once something else happened.
        cap: What a tanh was multiplied by since; None without one.
        parked: The shape the tensor has to get back before anything but numbers may change: scores of patches are
            spread over rows and columns to have position scores added, and gathered again.
    """

    q: Tensor
    k: Tensor
    product: Tensor
    row: int
    column: int
    scale: float | None = 1.0
    cap: float | None = None
    scores: Tensor | None = None
    weights: Tensor | None = None
    parked: torch.Size | None = None

    def moved(self, move: Callable[[Tensor], Tensor], row: int, column: int) -> _Trail:
        """The trail after a change of the leading axes, made to every tensor."""
        names = ("q", "k", "product", "scores", "weights")
        changed = {name: move(tensor) for name in names if (tensor := getattr(self, name)) is not None}
        return replace(self, **changed, row=row, column=column)

    def exchanged(self) -> _Trail:
        """Queries and keys in each other's place, before the softmax says which is which."""
        return replace(
            self, q=self.k, k=self.q, product=self.product.transpose(-1, -2), row=self.column, column=self.row
        )

    def arranged(self, tensor: Tensor) -> Tensor:
        """A tensor that is laid out as the one followed, with its query and key axes last."""
        others = [axis for axis in range(tensor.ndim) if axis not in (self.row, self.column)]
        return tensor.detach().permute(*others, self.row, self.column)

    @property
    def is_last(self) -> bool:
        """Queries and keys are the last two axes of the tensor followed."""
        return {self.row, self.column} == {self.product.ndim - 2, self.product.ndim - 1}


class Unfused(TorchFunctionMode):
    """Follow nothing: torch's fused encoder layers stand back for any such mode, in this thread alone, so that a pass
    under this one runs the operations that a trace will see."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return func(*args, **(kwargs or {}))


class OpTrace(TorchFunctionMode):
    """Watch the operations of this thread and hand on every attention call found among them.

    Args:
        take: Given each call as soon as its output is there.
        parameters: Of the model; a product with one is a linear layer, not attention.
    """

    def __init__(self, take: Callable[[TracedCall], None], parameters: Iterator[Tensor]) -> None:
        super().__init__()
        self._take = take
        self._weights_at = {parameter.untyped_storage().data_ptr() for parameter in parameters}
        self._trails: Any = WeakTensorKeyDictionary()
        self._is_paused = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Look away for a while: somebody else records what happens."""
        before, self._is_paused = self._is_paused, True
        try:
            yield
        finally:
            self._is_paused = before

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        follow = None if self._is_paused else _FOLLOW.get(name)
        if follow is None:
            return func(*args, **kwargs)
        if name.startswith("__i") or (name.endswith("_") and not name.endswith("__")):
            self._keep_before_change(args[0])
        result = func(*args, **kwargs)
        follow(self, func, args, kwargs, result)
        return result

    def _keep_before_change(self, tensor: Any) -> None:
        """An operation in place is about to change a tensor whose memory a trail looks at."""
        trail = self._trail_of(tensor)
        if trail is not None and trail.scores is None:
            self._trails[tensor] = replace(trail, product=trail.product.clone())

    def _trail_of(self, value: Any) -> _Trail | None:
        return self._trails.get(value) if isinstance(value, Tensor) else None

    def _set(self, result: Tensor, trail: _Trail | None) -> None:
        if trail is not None:
            self._trails[result] = trail
        else:  # an operation in place may have ended a trail
            self._trails.pop(result, None)

    # Where trails begin and end: products.

    def _on_product(self, func: Any, args: tuple, kwargs: dict, result: Any) -> None:
        given = [*args, *kwargs.values()]
        first, second = given[:2][:: -1 if func.__name__ == "__rmatmul__" else 1]
        if not isinstance(first, Tensor) or not isinstance(second, Tensor) or min(first.ndim, second.ndim) < 2:
            return
        trail, other = self._trail_of(first), self._trail_of(second)
        if trail is not None and trail.weights is not None and trail.column == first.ndim - 1:
            self._end(trail, second, result)
        elif other is not None and other.weights is not None and other.column == second.ndim - 2:
            self._end(other, first.transpose(-1, -2), result.transpose(-1, -2))
        else:
            self._begin(first, second.transpose(-1, -2), result)

    def _on_baddbmm(self, func: Any, args: tuple, kwargs: dict, result: Tensor) -> None:
        names = ("input", "batch1", "batch2")
        given = {**dict(zip(names, args)), **kwargs}
        q, k = given["batch1"], given["batch2"].transpose(-1, -2)
        product = torch.matmul(q, k.transpose(-1, -2))  # never computed by itself
        self._begin(q, k, result, product, float(given.get("alpha", 1)))

    def _begin(self, q: Tensor, k: Tensor, result: Tensor, product: Tensor | None = None, scale: float = 1.0) -> None:
        """Note what may become scores; the query axis is the last but one of the result, the key axis the last."""
        self._set(result, None)
        if result.ndim < 2 or not result.is_floating_point() or k.untyped_storage().data_ptr() in self._weights_at:
            return
        lead = result.shape[:-2]
        self._set(
            result,
            _Trail(
                q.expand(*lead, *q.shape[-2:]),
                k.expand(*lead, *k.shape[-2:]),
                result.detach() if product is None else product,
                result.ndim - 2,
                result.ndim - 1,
                scale,
            ),
        )

    def _end(self, trail: _Trail, v: Tensor, output: Tensor) -> None:
        """Weights met values; `v` is [..., key, d_value] and `output` [..., query, d_value]."""
        lead = trail.product.shape[:-2]
        if v.shape[-2] != trail.k.shape[-2] or tuple(output.shape[:-1]) != (*lead, trail.q.shape[-2]):
            return
        scale, cap = trail.scale, trail.cap
        self._take(
            TracedCall(
                q=trail.q,
                k=trail.k,
                v=v.expand(*lead, *v.shape[-2:]),
                output=output,
                scale=scale if scale is None or cap is None else scale * cap,
                softcap=cap,
                product=trail.product,
                scores=trail.scores,
                weights=trail.weights,
            )
        )

    def _on_einsum(self, func: Any, args: tuple, kwargs: dict, result: Tensor) -> None:
        operands = args[1:] if len(args) != 2 or isinstance(args[1], Tensor) else tuple(args[1])
        if not isinstance(args[0], str) or len(operands) != 2 or not all(isinstance(each, Tensor) for each in operands):
            return
        equation = args[0].replace(" ", "")
        if "->" not in equation or "." in equation:
            return
        operand_axes, out = equation.split("->")
        first, second = operand_axes.split(",")
        if any(len(set(axes)) != len(axes) for axes in (first, second, out)):
            return
        for axes, tensor, other_axes, other in (
            (first, operands[0], second, operands[1]),
            (second, operands[1], first, operands[0]),
        ):
            trail = self._trail_of(tensor)
            if trail is not None and trail.weights is not None:
                return self._end_summed(trail, axes, other, other_axes, result, out)
        return self._begin_summed(first, operands[0], second, operands[1], out, result)

    def _begin_summed(self, first: str, q: Tensor, second: str, k: Tensor, out: str, result: Tensor) -> None:
        """An einsum of two operands that is a batch of products of vectors."""
        self._set(result, None)
        summed = [axis for axis in first if axis in second and axis not in out]
        row = [axis for axis in first if axis in out and axis not in second]
        column = [axis for axis in second if axis in out and axis not in first]
        if (len(summed), len(row), len(column)) != (1, 1, 1) or set(first) | set(second) != {*out, *summed}:
            return
        lead = [axis for axis in out if axis not in (row[0], column[0])]
        if k.untyped_storage().data_ptr() in self._weights_at:
            return
        trail = _Trail(
            _by_axes(q, first, [*lead, row[0], summed[0]]),
            _by_axes(k, second, [*lead, column[0], summed[0]]),
            result,
            out.index(row[0]),
            out.index(column[0]),
        )
        self._set(result, replace(trail, product=trail.arranged(result)))

    def _end_summed(self, trail: _Trail, axes: str, v: Tensor, v_axes: str, result: Tensor, out: str) -> None:
        row, column = axes[trail.row], axes[trail.column]
        lead = [axis for axis in axes if axis not in (row, column)]
        width = [axis for axis in v_axes if axis not in axes]
        is_product = column in v_axes and column not in out and len(width) == 1 and {*lead, row, width[0]} == set(out)
        if is_product and row not in v_axes:
            values = _by_axes(v, v_axes, [*(axis for axis in lead if axis in v_axes), column, width[0]])
            for place, axis in enumerate(lead):
                values = values if axis in v_axes else values.unsqueeze(place)
            self._end(trail, values, _by_axes(result, out, [*lead, row, width[0]]))

    # What happens on the way.

    def _on_scaling(self, func: Any, args: tuple, kwargs: dict, result: Tensor) -> None:
        given = [*args, *kwargs.values()]
        place = 0 if self._trail_of(given[0]) is not None else 1
        trail = self._trail_of(given[place]) if len(given) > place else None
        if trail is None or len(given) < 2:
            return
        other, is_division = given[1 - place], "div" in func.__name__
        if is_division and (place == 1 or func.__name__.startswith("__r")):
            return self._set(result, None)
        if (number := _as_number(other)) is not None:
            factor = 1 / number if is_division and number else number
            trail = _scaled(trail, factor)
        elif trail.scores is None:
            trail = _scaled_by_tensor(trail, 1 / other if is_division else other)
        self._set(result, _fitted(trail, given[place], result))

    def _on_addition(self, func: Any, args: tuple, kwargs: dict, result: Tensor) -> None:
        given = [*args, *kwargs.values()]
        place = 0 if self._trail_of(given[0]) is not None else 1
        trail = self._trail_of(given[place]) if len(given) > place else None
        if trail is None:
            return
        is_difference = "sub" in func.__name__
        if is_difference and (place == 1 or func.__name__ in ("__rsub__", "rsub")):
            return self._set(result, None)
        self._set(result, _fitted(trail, given[place], result))

    def _on_same(self, func: Any, args: tuple, kwargs: dict, result: Any) -> None:
        """Operations that leave numbers as they are, or change only some: masks, copies, dropout of a model at rest."""
        tensor = next((each for each in (*args, *kwargs.values()) if self._trail_of(each) is not None), None)
        if tensor is not None and isinstance(result, Tensor):
            self._set(result, _fitted(self._trails[tensor], tensor, result))

    def _on_clamp(self, func: Any, args: tuple, kwargs: dict, result: Tensor) -> None:
        trail = self._trail_of(args[0])
        if trail is not None and isinstance(result, Tensor) and result.shape == args[0].shape:
            changes = result is args[0] or not self._is_kept(args[0], result)
            self._set(result, replace(trail, scale=None) if changes else trail)

    @staticmethod
    def _is_kept(before: Tensor, after: Tensor) -> bool:
        """A limit that only what a mask hides has run into leaves the scores as they are."""
        return bool(((before == after) | (before <= BLOCKED)).all())

    def _on_tanh(self, func: Any, args: tuple, kwargs: dict, result: Tensor) -> None:
        trail = self._trail_of(args[0])
        if trail is not None:
            is_first = trail.scores is None and trail.cap is None
            self._set(result, replace(trail, cap=1.0) if is_first else replace(trail, scale=None))

    def _on_permutation(self, func: Any, args: tuple, kwargs: dict, result: Tensor) -> None:
        trail = self._trail_of(args[0])
        if trail is None or trail.parked is not None:
            return
        # Axes of different length tell by the shape of the result where each one went.
        marked = torch.empty(tuple(range(2, args[0].ndim + 2)), device="meta")
        order = [size - 2 for size in func(marked, *args[1:], **kwargs).shape]
        others = [axis for axis in range(args[0].ndim) if axis not in (trail.row, trail.column)]
        lead = [others.index(axis) for axis in order if axis in others]
        count = len(lead)
        self._set(
            result,
            trail.moved(
                lambda tensor: tensor.permute(*lead, count, count + 1),
                order.index(trail.row),
                order.index(trail.column),
            ),
        )

    def _on_reshape(self, func: Any, args: tuple, kwargs: dict, result: Tensor) -> None:
        trail = self._trail_of(args[0])
        if trail is None:
            return
        before, after = args[0].shape, result.shape
        if trail.parked is not None:
            return self._set(result, replace(trail, parked=None) if after == trail.parked else None)
        if trail.is_last and trail.scores is None and before[:-2] == after[: len(before) - 2] != after[:-2]:
            return self._set(result, replace(trail, parked=before))
        if not trail.is_last or len(after) < 2 or before[-2:] != after[-2:]:
            return self._set(result, None)
        shift, lead = len(after) - len(before), after[:-2]
        move = _widened(lead) if result.numel() != args[0].numel() else _relaid(lead)
        self._set(result, trail.moved(move, trail.row + shift, trail.column + shift))

    def _on_softmax(self, func: Any, args: tuple, kwargs: dict, result: Tensor) -> None:
        scores = args[0] if args else kwargs.get("input")
        trail = self._trail_of(scores)
        if trail is None or trail.scores is not None or trail.parked is not None:
            return
        axis = kwargs.get("dim", args[1] if len(args) > 1 else -1)
        axis = axis % scores.ndim if isinstance(axis, int) else -1
        if axis == trail.row:
            trail = trail.exchanged()
        if axis == trail.column:
            kept = scores.clone() if result is scores else scores
            self._set(result, replace(trail, scores=trail.arranged(kept), weights=trail.arranged(result)))

    # Kernels.

    def _on_kernel(self, func: Any, args: tuple, kwargs: dict, result: Tensor) -> None:
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
        given = {**dict(zip(names, args)), **kwargs}
        q, scale = given["query"], given.get("scale")
        self._take(
            TracedCall(
                q=q,
                k=given["key"],
                v=given["value"],
                output=result,
                scale=q.shape[-1] ** -0.5 if scale is None else float(scale),
                mask=given.get("attn_mask"),
                is_causal=bool(given.get("is_causal", False)),
            )
        )

    def _on_multi_head(self, func: Any, args: tuple, kwargs: dict, result: Any) -> None:
        self._take(of_multi_head(func, args, kwargs))


def _by_axes(tensor: Tensor, axes: str, order: list[str]) -> Tensor:
    return tensor.detach().permute(*(axes.index(axis) for axis in order))


def _as_number(value: Any) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return float(value) if isinstance(value, Tensor) and value.numel() == 1 else None


def _scaled(trail: _Trail, factor: float) -> _Trail:
    if trail.scores is not None:
        return trail
    if trail.cap is not None:
        return replace(trail, cap=trail.cap * factor)
    return replace(trail, scale=None if trail.scale is None else trail.scale * factor)


def _scaled_by_tensor(trail: _Trail, factor: Tensor) -> _Trail:
    """A factor a head, or a query, is taken into the queries; any other makes the scores something else.

    A mask of zeros and ones leaves what it lets through as it is; what it hides shows as added to the scores.
    """
    ndim = trail.product.ndim
    if bool(((factor == 0) | (factor == 1)).all()):
        return trail
    factor = factor[(None,) * (ndim - factor.ndim)] if factor.ndim < ndim else factor
    if trail.parked is not None or trail.cap is not None or factor.ndim != ndim or factor.shape[trail.column] != 1:
        return replace(trail, scale=None)
    factor = trail.arranged(factor)
    return replace(trail, q=trail.q * factor, product=trail.product * factor)


def _fitted(trail: _Trail, tensor: Tensor, result: Tensor) -> _Trail | None:
    """The trail for the result of an operation on one tensor, which may have been broadcast against another."""
    if result.shape != tensor.shape:
        if trail.parked is not None or not trail.is_last or result.shape[-2:] != tensor.shape[-2:]:
            return None
        shift = result.ndim - tensor.ndim
        trail = trail.moved(_widened(result.shape[:-2]), trail.row + shift, trail.column + shift)
    return trail if trail.weights is None else replace(trail, weights=trail.arranged(result))


def _relaid(lead: torch.Size) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor.reshape(*lead, *tensor.shape[-2:])


def _widened(lead: torch.Size) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor.expand(*lead, *tensor.shape[-2:])


def _names(method: Callable, *names: str) -> dict[str, Callable]:
    return dict.fromkeys(names, method)


_FOLLOW: dict[str, Callable] = {
    **_names(OpTrace._on_product, "matmul", "__matmul__", "__rmatmul__", "bmm"),
    **_names(OpTrace._on_baddbmm, "baddbmm"),
    **_names(OpTrace._on_einsum, "einsum"),
    **_names(OpTrace._on_scaling, "mul", "mul_", "__mul__", "__rmul__", "__imul__", "multiply", "div", "div_"),
    **_names(OpTrace._on_scaling, "true_divide", "__truediv__", "__rtruediv__", "__itruediv__", "__div__", "divide"),
    **_names(OpTrace._on_addition, "add", "add_", "__add__", "__radd__", "__iadd__", "sub", "sub_", "__sub__"),
    **_names(OpTrace._on_addition, "__rsub__", "rsub", "__isub__"),
    **_names(OpTrace._on_same, "masked_fill", "masked_fill_", "where", "float", "to", "type_as", "type", "contiguous"),
    **_names(
        OpTrace._on_same, "clone", "detach", "dropout", "half", "bfloat16", "double", "nan_to_num", "alpha_dropout"
    ),
    **_names(OpTrace._on_clamp, "clamp", "clip", "clamp_min", "clamp_max", "clamp_", "clip_", "maximum", "minimum"),
    **_names(OpTrace._on_clamp, "max", "min"),
    **_names(OpTrace._on_tanh, "tanh", "tanh_"),
    **_names(OpTrace._on_permutation, "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"),
    **_names(OpTrace._on_reshape, "view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze", "expand"),
    **_names(OpTrace._on_reshape, "expand_as", "view_as", "reshape_as"),
    **_names(OpTrace._on_softmax, "softmax", "_softmax"),
    **_names(OpTrace._on_kernel, "scaled_dot_product_attention"),
    **_names(OpTrace._on_multi_head, "multi_head_attention_forward"),
}
