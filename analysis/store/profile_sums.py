"""What the profiles of heads are summed up from, batch by batch, while a run is being written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from analysis.store.database import Database

Sums = Mapping[tuple[str, int], Float[np.ndarray, "row bin"]]
"""By name of the profile and index of the site: arrays whose sums are those of all inputs."""


class ProfileSumTable:
    """The sums of all inputs stored so far. They are read once and kept; what is kept follows what is committed.

    Args:
        database: Of the run being written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @cached_property
    def held(self) -> dict[tuple[str, int], np.ndarray]:
        """What is stored."""
        return sums_of(self._database.execute("SELECT profile, site, n_rows, sums FROM profile_sums"))

    def plus(self, more: Sums) -> dict[tuple[str, int], np.ndarray]:
        """The sums with those of further inputs; nothing is stored."""
        whole = dict(self.held)
        for key, sums in more.items():
            whole[key] = whole[key] + sums if key in whole else sums
        return whole

    def replace(self, whole: Sums) -> None:
        """Store the sums, within the caller's transaction; `keep` them once it is committed."""
        self._database.execute("DELETE FROM profile_sums")
        self._database.insert("profile_sums", sum_rows(whole))

    def keep(self, whole: Sums) -> None:
        """What `replace` stored is committed."""
        self.held = dict(whole)

    def clear(self) -> None:
        """A finished run has none."""
        self._database.execute("DELETE FROM profile_sums")
        self.held = {}


def sum_rows(sums: Sums) -> pa.Table:
    """Sums as rows of the table ``profile_sums``."""
    return pa.table(
        {
            "profile": pa.array([name for name, _ in sums], pa.string()),
            "site": pa.array([site for _, site in sums], pa.int16()),
            "n_rows": pa.array([len(values) for values in sums.values()], pa.int32()),
            "sums": pa.array([np.ascontiguousarray(values, "<f8").tobytes() for values in sums.values()], pa.binary()),
        }
    )


def sums_of(rows: Iterable[tuple[str, int, int, bytes]]) -> dict[tuple[str, int], Float[np.ndarray, "row bin"]]:
    """The inverse of `sum_rows`: from its columns, row by row."""
    return {(name, site): np.frombuffer(sums, "<f8").reshape(n_rows, -1) for name, site, n_rows, sums in rows}
