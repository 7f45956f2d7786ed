"""One sequence of a run whose inputs are several, read as a run of its own."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.store.reading import Reader
from analysis.types import Site


class OneSequence:
    """The tokens of one sequence, and the sites whose keys they are; all else is the run's own.

    Positions count from the first token of the sequence in each input. Whatever a `Reader` gives of these sites in the
    order of their keys is in the order of these tokens.

    Args:
        run: A run, or one that is being written.
        sequence: One of `Reader.sequences`.
    """

    def __init__(self, run: Reader, sequence: str) -> None:
        self.run, self.sequence = run, sequence
        self.rows = run.rows_of(sequence)

    @property
    def sites(self) -> list[Site]:
        """Sites whose keys are tokens of the sequence."""
        return [site for site in self.run.sites if site.key_sequence == self.sequence]

    def tokens(self) -> pd.DataFrame:
        """One row a token of the sequence."""
        own = self.run.tokens().iloc[self.rows]
        return own.assign(position=own.groupby("input_id").cumcount()).reset_index(drop=True)

    def inputs(self) -> pd.DataFrame:
        """One row an input; its tokens are those of the sequence."""
        return self.run.inputs().assign(n_tokens=list(self.run.lengths_of(self.sequence).values()))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.run, name)


def each_sequence(run: Reader) -> list[Reader | OneSequence]:
    """A run by its sequences: itself where its inputs are one."""
    names = dict.fromkeys(site.key_sequence for site in run.sites)
    return [OneSequence(run, name) if name else run for name in names]


def of_stack(run: Reader, stack: str | None) -> Reader | OneSequence:
    """A run as the keys of one stack see it; of the first stack where none, or an unknown one, is named."""
    site = next((site for site in run.sites if site.stack_label == stack), run.sites[0])
    return OneSequence(run, site.key_sequence) if site.key_sequence else run
