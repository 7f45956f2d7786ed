"""What is asked of a model about one input, and how its answers in the rows of a batch differ from those in row 0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analysis.capture.batch import Encoded
from analysis.models import HeadedModel

TOP = 5
"""Answers that count as the likeliest ones."""


@dataclass(frozen=True)
class Question:
    """One input, and what of the model's answer is judged.

    Attributes:
        tensors: The encoded input, without batch axis.
        n_tokens: Tokens that attention sees.
        positions: Tokens whose predictions are judged; None where the model gives one class for the whole input.
        targets: The true token at each of `positions`, or the true class, -1 where nobody knows it; None: the class
            that the unedited model finds likeliest.
        groups: Name to tokens whose states are compared.
    """

    tensors: Encoded
    n_tokens: int
    positions: Int[np.ndarray, " judged"] | None = None
    targets: Int[np.ndarray, " judged"] | None = None
    groups: Mapping[str, Bool[np.ndarray, " token"]] = field(default_factory=dict)

    @property
    def judges_nothing(self) -> bool:
        """True for an input too short for a prediction to be judged."""
        return self.positions is not None and not len(self.positions)


@dataclass(frozen=True)
class LargestChange:
    """The prediction of an input that an edit changed most, and the answers in it whose probability changed most.

    Attributes:
        position: The token whose prediction it is; None for a class of the whole input.
        truth: Number of the true token or class; None where nobody knows it.
        kl_bits: Divergence of this prediction, KL(before || after).
        answers: Numbers of tokens or classes, the largest change first.
        before: Their probabilities in the unedited model.
        after: Their probabilities in the edited one.
    """

    position: int | None
    truth: int | None
    kl_bits: float
    answers: Int[np.ndarray, " answer"]
    before: Float[np.ndarray, " answer"]
    after: Float[np.ndarray, " answer"]


def compare_answers(
    log_p: Float[Tensor, "row judged answer"], question: Question
) -> dict[str, Float[np.ndarray, " row_less_one"]]:
    """Loss, probability, divergence and flips of every row against row 0; see `analysis.capture.ablation.ablate`."""
    base, edited = log_p[0], log_p[1:]
    true_base, true_edited = _log_p_of_truth(log_p, question)
    measured = {
        "loss": true_base - true_edited,
        "probability": true_base.exp() - true_edited.exp(),
        "divergence": js_divergence(base, edited),
        "flips": (edited.argmax(dim=-1) != base.argmax(dim=-1)).float(),
    }
    return {name: values.mean(dim=1).cpu().numpy() for name, values in measured.items()}


def before_and_after(
    log_p: Float[Tensor, "row judged answer"], question: Question
) -> dict[str, Float[np.ndarray, "row_less_one moment"]]:
    """Each measure in row 0, which is the same for all, and in every other row.

    Returns:
        Means over what is judged: ``loss`` (nats, on the truth), ``probability`` (of the truth, 0..1),
        ``top_1_right`` (share whose likeliest answer is the truth, where it is known), ``kl_bits`` (KL of row 0 from
        the row, 0 and up), ``divergence_bits`` (Jensen-Shannon, 0..1), ``flips`` (share whose likeliest answer is
        another than in row 0) and ``top_5_kept`` (share of the likeliest `TOP` answers of row 0 that are still among
        them). NaN where the truth is not known.
    """
    base, edited = log_p[0], log_p[1:]
    true_base, true_edited = _log_p_of_truth(log_p, question)
    top_base, top_edited = base.argmax(dim=-1), edited.argmax(dim=-1)
    nothing = torch.zeros_like(true_base)
    measured = {
        "loss": (-true_base, -true_edited),
        "probability": (true_base.exp(), true_edited.exp()),
        "kl_bits": (nothing, kl_divergence(base, edited)),
        "divergence_bits": (nothing, js_divergence(base, edited)),
        "flips": (nothing, (top_edited != top_base).float()),
        "top_5_kept": (nothing + 1, _kept(base, edited)),
    }
    if question.targets is not None:
        truth, unknown = targets_of(base, question), true_base * 0
        measured["top_1_right"] = (top_base == truth) + unknown, (top_edited == truth) + unknown
    # Both moments are added up in the same way, so that what did not change differs by 0 exactly.
    return {
        name: torch.stack([before.expand_as(after), after], dim=1).mean(dim=2).cpu().numpy()
        for name, (before, after) in measured.items()
    }


def largest_change(
    base: Float[Tensor, "judged answer"], edited: Float[Tensor, "judged answer"], question: Question
) -> LargestChange:
    """The prediction with the largest divergence of two rows, and its `TOP` answers that changed most."""
    divergence = kl_divergence(base, edited)
    at = int(divergence.argmax())
    before, after = base[at].exp(), edited[at].exp()
    answers = (after - before).abs().topk(min(TOP, len(before))).indices
    truth = -1 if question.targets is None else int(question.targets[at])
    return LargestChange(
        position=None if question.positions is None else int(question.positions[at]),
        truth=None if truth < 0 else truth,
        kl_bits=float(divergence[at]),
        answers=answers.cpu().numpy(),
        before=before[answers].cpu().numpy(),
        after=after[answers].cpu().numpy(),
    )


def js_divergence(log_p: Float[Tensor, "*rest answer"], log_q: Float[Tensor, "*more answer"]) -> Float[Tensor, "*more"]:
    """Jensen-Shannon divergence in bits, 0 (the same) to 1 (nothing in common), of two log distributions.

    Source: Lin (1991), "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory 37 (1).
    """
    log_middle = torch.logaddexp(log_p, log_q) - math.log(2)
    halves = log_p.exp() * (log_p - log_middle) + log_q.exp() * (log_q - log_middle)
    return (halves.nan_to_num(0.0).sum(dim=-1) / (2 * math.log(2))).clamp(0, 1)


def kl_divergence(log_p: Float[Tensor, "*rest answer"], log_q: Float[Tensor, "*more answer"]) -> Float[Tensor, "*more"]:
    """KL(p || q) in bits, 0 (the same) and up, of two log distributions."""
    parts = log_p.exp() * (log_p - log_q)
    return (parts.nan_to_num(0.0, posinf=math.inf).sum(dim=-1) / math.log(2)).clamp_min(0)


def judged(logits: Tensor, question: Question) -> Float[Tensor, "row judged answer"]:
    """Log distributions of the predictions that are judged."""
    if question.positions is None:
        logits = logits[:, None]
    else:
        logits = logits[:, torch.from_numpy(question.positions).to(logits.device)]
    return torch.log_softmax(logits.float(), dim=-1)


def targets_of(log_p: Float[Tensor, "judged answer"], question: Question) -> Int[Tensor, " judged"]:
    """The truth of each prediction, -1 where nobody knows it; else the likeliest answer of these distributions."""
    if question.targets is None:
        return log_p.argmax(dim=-1)
    return torch.from_numpy(question.targets).to(log_p.device)


def has_truth(model: HeadedModel, question: Question) -> bool:
    """True where a loss can be told: the model has a head, and every prediction that is judged its truth."""
    if model.predicts is None or question.judges_nothing:
        return False
    return question.targets is None or bool((question.targets >= 0).all())


def n_answers(model: HeadedModel) -> int:
    """Width of the logits; 1 without a head."""
    if model.predicts is None or model.class_names:
        return max(len(model.class_names), 1)
    config: Any = model.whole.config
    return getattr(config, "vocab_size", None) or config.get_text_config().vocab_size


def _log_p_of_truth(
    log_p: Float[Tensor, "row judged answer"], question: Question
) -> tuple[Float[Tensor, " judged"], Float[Tensor, "row_less_one judged"]]:
    """Log probability of the truth in row 0 and in the others, NaN where it is not known."""
    base, edited = log_p[0], log_p[1:]
    targets = targets_of(base, question)
    at = targets.clamp_min(0)[:, None]
    unknown = torch.where(targets < 0, math.nan, 0.0)
    return base.gather(1, at)[:, 0] + unknown, edited.gather(2, at.expand(len(edited), -1, 1))[..., 0] + unknown


def _kept(
    base: Float[Tensor, "judged answer"], edited: Float[Tensor, "row judged answer"]
) -> Float[Tensor, "row judged"]:
    n_top = min(TOP, base.shape[-1])
    before, after = base.topk(n_top).indices, edited.topk(n_top).indices
    return (before[None, :, :, None] == after[:, :, None, :]).any(dim=-1).float().mean(dim=-1)
