"""The seam: while a `Capture` is open, every attention call of its model is recorded on its way.

transformers asks `AttentionInterface.get_interface` for the attention function on every forward. The wrapper here
hands out that same function, recorded: the model's own implementation runs on its own arguments, so outputs stay
bit-equal, and the arguments (queries and keys after rotary embedding, keys not repeated) are kept. What goes round
the interface is found by its operations (`analysis.capture.optrace`); each call says by which route it was reached.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.modeling_utils import AttentionInterface

from analysis.capture import attention as formula
from analysis.capture.alone import Alone, call_of_scan
from analysis.capture.implicit import Scan
from analysis.capture.optrace import OpTrace
from analysis.capture.scans import listening
from analysis.capture.sites import CallNames, name_sites
from analysis.capture.traced import Observed, TracedCall, call_fields, count_heads
from analysis.errors import CaptureRefused
from analysis.types import Site

_open: ContextVar[tuple[Capture, ...]] = ContextVar("open captures of this context", default=())
open_edits: ContextVar[tuple[Changer, ...]] = ContextVar("open edits of this context", default=())
_lock = threading.Lock()
_n_open = 0
_original: Callable | None = None


@dataclass(eq=False)
class Call:
    """One attention call: the arguments the model's own function received.

    Attributes:
        module_name: Qualified name of the attention module.
        ordinal: How often that module had called before in the same forward pass.
        forward_pass: Which forward pass of the model, from 0.
        q: Queries after rotary embedding, [batch, head, query, d_head].
        k: Keys after rotary embedding, not repeated for grouped queries, [batch, kv_head, key, d_head].
        v: Values, [batch, kv_head, key, d_value].
        mask: As the model gave it: boolean (True = attend), additive, or None.
        scale: Factor on q·k.
        is_causal: The kernel hides later keys by itself (only without a mask).
        is_cross: Keys come from another sequence.
        window: Sliding window the kernel applies by itself, else None.
        implementation: The model's own attention implementation, as in ``sdpa``.
        output: What the model's own function returned, [batch, query, head, d_value]; kept on request.
        own_weights: The weights it returned with it, if it does and they were asked for.
        route: As in `Site.route`.
        observed: The scores and weights that the model computed, where the operations were traced.
        alone: The attention, where there are no queries and keys: `q`, `k` and `v` then have no width. For a scan it is
            a `Scan`, which also gives the matrix of any channel.
    """

    module_name: str
    ordinal: int
    forward_pass: int
    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None
    scale: float | Tensor
    is_causal: bool
    is_cross: bool
    implementation: str
    window: int | None = None
    softcap: float | None = None
    sink_logits: Tensor | None = None
    position_bias: Tensor | None = None
    output: Tensor | None = None
    own_weights: Tensor | None = None
    route: str = "interface"
    observed: Observed | None = None
    alone: Alone | None = None
    site: Site = field(default=None, repr=False)  # type: ignore[assignment]  # named when `Capture.calls` is read

    @property
    def key(self) -> str:
        """``encoder.layer.3.attention.self#0``: qualified module name and call ordinal."""
        return f"{self.module_name}#{self.ordinal}"

    def attention(self) -> Tensor:
        """Weights after the softmax, [batch, head, query, key], fp32, in 0..1; computed when called.

        Rows sum to 1; with learned sinks to less, the rest being the sink's mass. That of a scan is signed.
        """
        if self.alone is not None:
            return self.alone.attention()
        if self.observed is not None:
            return self.observed.weights.float()
        return self.recomputed()

    def recomputed(self) -> Tensor:
        """`attention` from queries, keys and what else was recorded, also where the model's own weights were seen."""
        return formula.attention(**self._arguments(), sink_logits=self.sink_logits)

    def attention_of(self, rows: Tensor, head: int) -> Tensor:
        """`attention` of one head on some inputs of the batch, [row, query, key]."""
        if self.observed is not None:
            return self.observed.weights[rows, head].float()
        return formula.attention_of_head(rows, head, **self._arguments(), sink_logits=self.sink_logits)

    def scores(self) -> Tensor:
        """Scaled q·k before the softmax with bias and mask applied, [batch, head, query, key], fp32."""
        if self.observed is not None:
            return self.observed.scores.float()
        return formula.masked_scores(**self._arguments())

    def allowed(self) -> tuple[Tensor, bool]:
        """Who may attend to whom, [1 or batch, 1 or head, query, key], and whether the mask carries a bias."""
        arguments = self._arguments()
        return formula.allowed_keys(arguments["mask"], self.is_causal, self.q.shape[2], self.k.shape[2], self.q.device)

    def _arguments(self) -> dict[str, Any]:
        if self.mask is not None and not isinstance(self.mask, Tensor):
            raise CaptureRefused(
                f"The {self.implementation} attention hides its mask in a {type(self.mask).__name__}: "
                'load the model with attn_implementation="sdpa" or "eager".'
            )
        mask = self.mask
        if self.window is not None:
            mask = _with_window(mask, self.window, self.q.shape[2], self.k.shape[2], self.q.device)
        return {
            "q": self.q,
            "k": self.k,
            "scale": self.scale,
            "mask": mask,
            "is_causal": self.is_causal,
            "position_bias": self.position_bias,
            "softcap": self.softcap,
        }


class Capture:
    """Record the attention calls of one model for as long as the ``with`` block lasts.

    Where an `analysis.capture.edits.Edit` is open too, whichever was opened first, calls are recorded as they took
    place: with the edited mask (so that `Call.attention` is that after the edit) and the edited output.

    Other models and other threads are untouched, and everything is put back on exit, also after an error.

    Args:
        model: A transformers model, or any module that holds one.
        keep_outputs: Also keep what each attention function returned.
        on_call: Given every call as it happens, which is then not kept: the tensors are still in the caches, and
            their memory is free for the next layer.
        trace: Also follow the model's operations, for attention that goes round the interface. Costs a few
            microseconds an operation; without it only calls of the interface are seen.
        implicit: Also record the scans of state-space layers, as calls whose attention is the implicit one; see
            `analysis.capture.implicit`.

    Example:
        >>> with Capture(model) as capture:
        ...     model(**inputs)
        >>> capture.calls[0].site.label, capture.calls[0].attention().shape
    """

    def __init__(
        self,
        model: torch.nn.Module,
        keep_outputs: bool = False,
        on_call: Callable[[Call], None] | None = None,
        trace: bool = True,
        implicit: bool = False,
    ) -> None:
        self.model = model
        self._implicit = implicit
        self._listening = ExitStack()
        self.keep_outputs = keep_outputs
        self.recorded: list[Call] = []
        self._take = self.recorded.append if on_call is None else on_call
        self._names = CallNames(model)
        self._is_cross: dict[int, bool] = {}
        self._hooks: list[Any] = []
        self._n_named = 0
        self._trace = OpTrace(self._record_traced, model.parameters()) if trace else None
        self._running: list[torch.nn.Module] = []

    @property
    def calls(self) -> list[Call]:
        """The recorded calls in order, each with its `Site`."""
        if self._n_named != len(self.recorded):
            for forward_pass in sorted({call.forward_pass for call in self.recorded}):
                calls = [call for call in self.recorded if call.forward_pass == forward_pass]
                for call, site in zip(calls, name_sites(calls, self.model), strict=True):
                    call.site = site
            self._n_named = len(self.recorded)
        return self.recorded

    def __enter__(self) -> Capture:
        try:
            self._hooks.append(self.model.register_forward_pre_hook(self._begin_pass))
            for module in self.model.modules():
                if (position := _other_sequence(type(module))) is not None:
                    note = functools.partial(self._note_cross, *position)
                    self._hooks.append(module.register_forward_pre_hook(note, with_kwargs=True))
                if self._trace is not None or self._implicit:
                    self._hooks.append(module.register_forward_pre_hook(self._begin_module))
                    self._hooks.append(module.register_forward_hook(self._end_module, always_call=True))
            if self._implicit:
                self._listening.enter_context(listening(self.model, self._record_scan, self.keep_outputs))
            install()
        except BaseException:
            self._listening.close()
            self._remove_hooks()
            raise
        self._token = _open.set((*_open.get(), self))
        if self._trace is not None:
            self._trace.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._trace is not None:
            self._trace.__exit__(*error)
        _open.reset(self._token)
        self._listening.close()
        uninstall()
        self._remove_hooks()

    def _remove_hooks(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _begin_pass(self, module: torch.nn.Module, args: tuple) -> None:
        if self in _open.get() and not _in_backward():
            self._names.begin_pass()
            self._running.clear()

    def _begin_module(self, module: torch.nn.Module, args: tuple) -> None:
        if self in _open.get():
            self._running.append(module)

    def _end_module(self, module: torch.nn.Module, args: tuple, result: Any) -> None:
        if self in _open.get() and self._running and self._running[-1] is module:
            self._running.pop()

    def _record_traced(self, traced: TracedCall) -> None:
        if _in_backward() or not self._running:
            return
        module = self._running[-1]
        name, ordinal = self._names.next_call(module)
        seen = self._is_cross.get(id(module)) if traced.is_cross is None else traced.is_cross
        self._take(
            Call(
                module_name=name,
                ordinal=ordinal,
                forward_pass=max(self._names.n_passes - 1, 0),
                is_cross=bool(seen),
                implementation="traced",
                route="optrace",
                **call_fields(traced, count_heads(self._running), self.keep_outputs),
            )
        )

    def _record_scan(self, scan: Scan) -> None:
        if _in_backward() or not self._running:
            return
        name, ordinal = self._names.next_call(self._running[-1])
        passes = max(self._names.n_passes - 1, 0)
        self._take(Call(module_name=name, ordinal=ordinal, forward_pass=passes, **call_of_scan(scan)))

    def _note_cross(self, name: str, position: int, module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        if self in _open.get():
            other = kwargs.get(name, args[position] if position < len(args) else None)
            own = args[0] if args else kwargs.get("hidden_states")
            self._is_cross[id(module)] = other is not None and other is not own

    def _record(self, implementation: str, is_own_eager: bool, args: tuple, kwargs: dict, result: Any) -> None:
        given = as_named(args, kwargs)
        module, q, mask = given["module"], given["query"], given.get("attention_mask")
        name, ordinal = self._names.next_call(module)
        is_flash = "flash" in implementation
        output, weights = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        self._take(
            Call(
                module_name=name,
                ordinal=ordinal,
                forward_pass=max(self._names.n_passes - 1, 0),
                q=q,
                k=given["key"],
                v=given["value"],
                mask=mask,
                is_causal=hides_later_keys(implementation, is_own_eager, given),
                is_cross=self._is_cross.get(id(module), False),
                implementation=implementation,
                window=given.get("sliding_window") if is_flash else None,
                **softmax_extras(given),
                output=output if self.keep_outputs else None,
                own_weights=weights if self.keep_outputs else None,
            )
        )


_POSITIONAL = ("module", "query", "key", "value", "attention_mask")


class Changer(Protocol):
    """What changes attention calls on their way: see `analysis.capture.edits`."""

    def changes(self, module: object) -> list[Any]:
        """The changes for this call of a module."""

    def edit_arguments(
        self, changes: list[Any], implementation: str, is_own_eager: bool, args: tuple, kwargs: dict
    ) -> tuple[tuple, dict]:
        """The arguments that the model's function is to get instead of its own."""

    def edit_result(self, changes: list[Any], args: tuple, kwargs: dict, result: Any) -> Any:
        """What the model is to get instead of what its function returned for these arguments."""


def as_named(args: tuple, kwargs: dict) -> dict[str, Any]:
    """The arguments of an attention function by name."""
    return {**dict(zip(_POSITIONAL, args)), **kwargs}


def with_mask(args: tuple, kwargs: dict, mask: Tensor) -> tuple[tuple, dict]:
    """The arguments of an attention function with another mask."""
    place = _POSITIONAL.index("attention_mask")
    if len(args) > place:
        return (*args[:place], mask, *args[place + 1 :]), kwargs
    return args, {**kwargs, "attention_mask": mask}


def softmax_extras(given: dict[str, Any]) -> dict[str, Any]:
    """What else makes the softmax of a call, as `analysis.capture.attention.attention` takes it."""
    scale = given.get("scaling")
    return {
        "scale": given["query"].shape[-1] ** -0.5 if scale is None else scale,
        "softcap": given.get("softcap"),
        "sink_logits": given.get("s_aux", given.get("sinks")),
        "position_bias": given.get("position_bias"),
    }


def hides_later_keys(implementation: str, is_own_eager: bool, given: dict[str, Any]) -> bool:
    """True when the kernel hides later keys by itself."""
    flag, mask = given.get("is_causal"), given.get("attention_mask")
    flag = getattr(given["module"], "is_causal", True) if flag is None else flag
    alone = mask is None or "flash" in implementation
    return bool(flag) and given["query"].shape[2] > 1 and not is_own_eager and alone


def _with_window(mask: Tensor | None, window: int, n_queries: int, n_keys: int, device: torch.device) -> Tensor:
    """The mask of a kernel that applies the sliding window by itself (flash attention; its mask is padding only)."""
    queries, keys = torch.arange(n_queries, device=device)[:, None], torch.arange(n_keys, device=device)[None, :]
    band = ((keys > queries - window) & (keys < queries + window))[None, None]
    return band if mask is None else band & mask.bool()[:, None, None, :]


@functools.cache
def _other_sequence(kind: type) -> tuple[str, int] | None:
    """The parameter by which this kind of module receives another sequence's states, and its position."""
    names = [name for name in inspect.signature(kind.forward).parameters if name != "self"]
    for name in ("key_value_states", "encoder_hidden_states"):
        if name in names:
            return name, names.index(name)
    return None


def _in_backward() -> bool:
    """True while autograd runs: gradient checkpointing then repeats forward calls that were recorded before."""
    return torch._C._current_graph_task_id() != -1


def install() -> None:
    """Put the seam in place; each call needs its `uninstall`."""
    global _n_open, _original
    with _lock:
        if _n_open == 0:
            _original = AttentionInterface.get_interface
            AttentionInterface.get_interface = _recording_get_interface(_original)
        _n_open += 1


def uninstall() -> None:
    """Take the seam away, when nobody else needs it."""
    global _n_open, _original
    with _lock:
        _n_open -= 1
        if _n_open == 0:
            AttentionInterface.get_interface = _original
            _original = None


@contextmanager
def _paused(captures: tuple[Capture, ...]) -> Iterator[None]:
    """What runs now is recorded by the interface: the traces of these captures look away."""
    with ExitStack() as stack:
        for capture in captures:
            if capture._trace is not None:
                stack.enter_context(capture._trace.paused())
        yield


def _recording_get_interface(original: Callable) -> Callable:
    @functools.wraps(original)
    def get_interface(self: AttentionInterface, attn_implementation: str, default: Callable) -> Callable:
        function = original(self, attn_implementation, default)
        captures, edits = _open.get(), open_edits.get()
        if not captures and not edits:
            return function

        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            module = args[0] if args else kwargs.get("module")
            kind = attn_implementation or "eager", function is default
            changes = [(edit, found) for edit in edits if (found := edit.changes(module))]
            for edit, found in changes:
                args, kwargs = edit.edit_arguments(found, *kind, args, kwargs)
            with _paused(captures):
                result = function(*args, **kwargs)
            for edit, found in changes:
                result = edit.edit_result(found, args, kwargs, result)
            for capture in captures:
                if module in capture._names and not _in_backward():
                    capture._record(*kind, args, kwargs, result)
            return result

        return recorded

    return get_interface
