"""Files of a run to take away: what is asked for, and the command line that writes them. No streamlit in here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis.errors import UserError
from analysis.pipeline.request import parse_numbers
from analysis.store.export import AttentionChoice

RUN, BUNDLE = "run", "bundle"
FORMATS: Mapping[str, str] = {
    "parquet": "Parquet", "csv": "CSV", "safetensors": "safetensors", BUNDLE: "a page", RUN: "the run itself",
}  # fmt: skip

_RUN_ID = re.compile(r"[A-Za-z0-9][\w.-]*")
_SITE = re.compile(r"[A-Za-z0-9][\w.-]*")
_FILE = "export.zip"


@dataclass(frozen=True)
class ExportRequest:
    """A run as one .zip of files.

    Attributes:
        format: One of `FORMATS`.
        sites: Labels of the sites whose attention matrices go along, empty for all of them; None for no attention, or
            in a bundle, which has that of all sites.
        inputs: Of these inputs, as in ``0-9,12``; empty for all, or in a bundle for as many as it takes.
        top_k: So many of the strongest weights of a query; 0 for all.
    """

    run_id: str
    format: str = "parquet"
    sites: tuple[str, ...] | None = None
    inputs: str = ""
    top_k: int = 0

    makes_run = False
    busy = "An export of run"
    doing = "Writing files"
    stopping = "Stopping: nothing of it will be left."
    kept = "Nothing of it is left."

    def __post_init__(self) -> None:
        if self.sites is not None:
            object.__setattr__(self, "sites", tuple(self.sites))

    @property
    def title(self) -> str:
        """Of its card."""
        if self.format in (RUN, BUNDLE):
            return f"{self.run_id} as {'it is' if self.format == RUN else FORMATS[BUNDLE]}"
        return f"{self.run_id} as {FORMATS.get(self.format, self.format)} files"

    def attention(self) -> AttentionChoice | None:
        """Whose attention goes along.

        Raises:
            UserError: The inputs cannot be read.
        """
        return None if self.sites is None else AttentionChoice(self.sites, self.chosen_inputs(), self.top_k or None)

    def chosen_inputs(self) -> list[int] | None:
        """`inputs` as numbers; None where nobody chose.

        Raises:
            UserError: They cannot be read.
        """
        return sorted(parse_numbers(self.inputs, "Inputs")) if self.inputs.strip() else None

    def arguments(self) -> list[str]:
        """The command's arguments but where to, each value bound to its option.

        Raises:
            UserError: A value no command could use.
        """
        if not _RUN_ID.fullmatch(self.run_id) or self.format not in FORMATS:
            raise UserError(f"Run “{self.run_id[:80]}” cannot be exported as “{self.format[:20]}”.")
        said = ["export", self.run_id, f"--format={self.format}"]
        if self.format == BUNDLE and self.chosen_inputs() is not None:
            return [*said, f"--inputs={self.inputs.strip()}"]
        if self.sites is None:
            return said
        if odd := [site for site in self.sites if not _SITE.fullmatch(site)]:
            raise UserError(f"“{odd[0][:80]}” is no attention site.")
        self.attention()
        said += [f"--inputs={self.inputs.strip()}"] if self.inputs.strip() else []
        said += [f"--top-k={int(self.top_k)}"] if self.top_k else []
        return [*said, "--attention", *self.sites]


def file_of(folder: Path) -> Path:
    """Where the job of this folder writes."""
    return folder / _FILE
