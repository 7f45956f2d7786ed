"""One input through a model many times at once, another head changed in each row of the batch, and what that does.

Row 0 of every batch is the model as it is: what is compared was computed side by side, so that a change that does
nothing gives a difference of exactly 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from analysis.capture.answers import Question, compare_answers, has_truth, judged, n_answers, targets_of
from analysis.capture.batch import pad
from analysis.capture.edits import Change, Edit, Gate, Knockout, SetOutput
from analysis.capture.interface import Call, Capture
from analysis.capture.states import StateChanges
from analysis.models import CLASS, HeadedModel, forward_module
from analysis.types import Site

BATCH_TOKENS = 2048
"""Tokens of a batch, over all its rows."""

BATCH_LOGIT_BYTES = 64 * 2**20
"""Logits of a batch in fp32; several times this is needed to compare distributions."""

Head = tuple[Site, int]


@dataclass(frozen=True)
class Ablation:
    """What is done to a head.

    Attributes:
        means: What heads give instead, [head, d_value] by site key; None for zero.
        queries: Only at these queries; None for all.
        blocked: Instead of replacing the output, keep queries from keys.
    """

    means: Mapping[str, Float[np.ndarray, "head d_value"]] | None = None
    queries: Bool[np.ndarray, " query"] | None = None
    blocked: Bool[np.ndarray, "query key"] | None = None

    def change(self, site: Site, head: int, row: int) -> Change:
        """The change of one head in one row of a batch."""
        if self.blocked is not None:
            return Knockout(site.key, head, torch.from_numpy(self.blocked), [row])
        value = None if self.means is None else torch.from_numpy(self.means[site.key][head])
        queries = None if self.queries is None else torch.from_numpy(self.queries)
        return SetOutput(site.key, head, value, [row], queries)


def ablate(
    model: HeadedModel, question: Question, heads: Sequence[Head], ablation: Ablation
) -> Iterator[dict[str, Float[np.ndarray, " head"]]]:
    """Change each head in turn and measure what becomes of the model's answer and of its states.

    Args:
        heads: Each is changed alone.

    Yields:
        For the next heads of `heads`, as many as fit a batch: ``loss`` (nats more than unedited, on the truth),
        ``probability`` (of the truth, lost, -1..1), ``divergence`` (Jensen-Shannon, bits, 0..1), ``flips`` (share of
        judged predictions whose likeliest answer is another, 0..1); and per group of tokens ``<group>_change`` and
        ``<group>_change_block`` (relative L2 distance of the states at the end and behind the layer's own block, 0
        and up). Means over what is judged; what the model or the input does not give is NaN.
    """
    size = rows_per_batch(model, question.n_tokens)
    for start in range(0, len(heads), size):
        yield _ablate_batch(model, question, heads[start : start + size], ablation)


def rows_per_batch(model: HeadedModel, n_tokens: int) -> int:
    """Heads that are changed in one batch of an input of this length; the unedited row comes on top."""
    n_logits = {None: 1, CLASS: 1}.get(model.predicts, n_tokens) * n_answers(model)
    return max(min(BATCH_TOKENS // n_tokens, BATCH_LOGIT_BYTES // (4 * n_logits)) - 1, 1)


def gate_gradients(
    model: HeadedModel, question: Question, sites: Sequence[Site]
) -> dict[str, Float[np.ndarray, " head"]]:
    """The derivative of the loss by a gate on each head's output, at 1 where the gate does nothing.

    Returns:
        Per site key and head, with its sign; empty where the model has no head or the truth is not known.

    Source: Michel, Levy, Neubig (2019), "Are Sixteen Heads Really Better than One?", section 4.1.
    """
    if not has_truth(model, question):
        return {}
    with torch.enable_grad():
        gates = {site.key: torch.ones(site.n_heads, device=model.device, requires_grad=True) for site in sites}
        inputs, _ = pad(model, [question.tensors])
        with Edit(model.module, [Gate(key, values) for key, values in gates.items()]):
            logits = forward_module(model.whole, inputs, gradients=True).logits
        log_p = judged(logits, question)[0]
        targets = targets_of(log_p, question)
        loss = -log_p.gather(1, targets[:, None]).mean()
        gradients = torch.autograd.grad(loss, list(gates.values()))
    return {key: gradient.float().cpu().numpy() for key, gradient in zip(gates, gradients, strict=True)}


def sum_outputs(
    model: HeadedModel, question: Question, sites: Sequence[Site], queries: Bool[np.ndarray, " query"] | None = None
) -> tuple[dict[str, Float[np.ndarray, "head d_value"]], int]:
    """The outputs of every head summed over the queries of one input, fp64, and how many queries these were."""
    keys = {site.key for site in sites}
    sums: dict[str, np.ndarray] = {}
    chosen = torch.ones(question.n_tokens, dtype=torch.bool) if queries is None else torch.from_numpy(queries)

    def take(call: Call) -> None:
        if call.key in keys:
            sums[call.key] = call.output[0, chosen.to(call.output.device)].double().sum(dim=0).cpu().numpy()

    inputs, _ = pad(model, [question.tensors])
    with Capture(model.module, keep_outputs=True, on_call=take, trace=False):
        forward_module(model.module, inputs)
    return sums, question.n_tokens if queries is None else int(queries.sum())


def _ablate_batch(
    model: HeadedModel, question: Question, heads: Sequence[Head], ablation: Ablation
) -> dict[str, np.ndarray]:
    inputs, _ = pad(model, [question.tensors])
    inputs = {name: value.expand(len(heads) + 1, *value.shape[1:]) for name, value in inputs.items()}
    changes = [ablation.change(site, head, row) for row, (site, head) in enumerate(heads, start=1)]
    states = StateChanges(model.module, [site.key for site, _ in heads], question.n_tokens)
    with Edit(model.module, changes), states:
        output = forward_module(model.whole, inputs)
    measured = {}
    for name, tokens in question.groups.items():
        measured[f"{name}_change"] = states.at_end[:, tokens].mean(axis=1)
        measured[f"{name}_change_block"] = states.behind_block[:, tokens].mean(axis=1)
    if model.predicts is not None and not question.judges_nothing:
        with torch.inference_mode():
            measured |= compare_answers(judged(output.logits, question), question)
    return measured
