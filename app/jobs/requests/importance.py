"""How much each head of a run matters: what is to be measured, in words and as a command line. No streamlit in here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from analysis.errors import UserError
from analysis.pipeline.head_importance.variant import Variant

_RUN_ID = re.compile(r"[A-Za-z0-9][\w.-]*")

OF_TEXTS = (Variant(), Variant("mean"))
OF_IMAGES = (
    *OF_TEXTS, Variant(part="cls"), Variant(part="patches"), Variant(ring=0), Variant(ring=1), Variant(ring=2),
)  # fmt: skip
"""What the page offers."""

LIMIT = 50
"""Inputs that are measured."""


def in_words(variant: Variant) -> str:
    """For a list: ``head set to zero, CLS row only``."""
    if variant.ring is not None:
        return f"head kept from patches at distance {variant.ring}"
    rows = {None: "", "cls": ", CLS row only", "patches": ", patch rows only"}[variant.part]
    return ("head set to zero" if variant.mode == "zero" else "head replaced by its mean") + rows


def waiting(metrics: Iterable[str], is_text: bool) -> list[Variant]:
    """What the page offers and the run has not measured."""
    measured = set(metrics)
    return [
        variant
        for variant in (OF_TEXTS if is_text else OF_IMAGES)
        if not any(f"ablation_{tokens}_change{variant.suffix}" in measured for tokens in ("token", "patch"))
    ]


def measured_words(facts: Mapping[str, Any]) -> str:
    """What was measured, on what, and how far the gradient estimate agrees, in a sentence or two.

    Args:
        facts: Of an add-on; see `analysis.pipeline.head_importance.published`.
    """
    variant = Variant(facts["mode"], facts["part"], facts["ring"])
    against = f", held against {facts['truth']}" if facts.get("truth") else ""
    told = [f"Measured with the {in_words(variant)}, on {facts['n_inputs']:,} inputs{against}."]
    figures = facts.get("agreement", {}).get(f"ablation_loss{variant.suffix}", {})
    if "all_heads" in figures:
        inside = f", {figures['within_layers']:.2f} inside layers" if "within_layers" in figures else ""
        told.append(
            "The size of the change of loss ranks heads like the gradient estimate with a rank correlation of "
            f"{figures['all_heads']:.2f} over all heads{inside}."
        )
    return " ".join([*told, *facts.get("notes", [])])


@dataclass(frozen=True)
class ImportanceRequest:
    """A measurement that is to be added to a finished run.

    Attributes:
        view: Where its results stand.
        model: Folder of the model, for a run made with a model from a folder.
        data: The images, for a run of images that do not come with the project.
    """

    run_id: str
    mode: str = "zero"
    part: str | None = None
    ring: int | None = None
    limit: int = LIMIT
    model: str | None = None
    data: str | None = None

    view = "heads"
    busy = "The importance of heads of run"
    doing = "Taking heads away, one after the other"
    makes_run = False
    stopping = "Stopping: the inputs measured so far are kept."
    kept = "What was measured is kept: started again, it goes on from there."

    @property
    def variant(self) -> Variant:
        """What is done to a head."""
        return Variant(self.mode, self.part, self.ring)

    @property
    def title(self) -> str:
        """Of its card."""
        return f"Importance of the heads of {self.run_id}, {in_words(self.variant)}"

    def arguments(self) -> list[str]:
        """The command's arguments, each value bound to its option.

        Raises:
            UserError: A value no command could use.
        """
        self.variant.check("vision")
        if not _RUN_ID.fullmatch(self.run_id):
            raise UserError(f"“{self.run_id[:80]}” is no run whose heads can be measured.")
        said = ["importance", self.run_id, f"--limit={int(self.limit)}"]
        more = {**asdict(self.variant), "model": self.model, "data": self.data}
        return said + [f"--{name}={value}" for name, value in more.items() if value is not None]
