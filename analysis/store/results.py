"""What is computed from a run: maps, their fidelity, scores of heads. Written into a run or into an add-on of it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float

from analysis.errors import RunError, UnknownName
from analysis.store.database import Database
from analysis.store.frames import arrow_table
from analysis.types import KEY, QUERY, Site


class ResultsWriter(ABC):
    """The ``put_`` calls that a run and an add-on have in common. Each is one transaction and may be repeated."""

    database: Database

    def expect(self, n_bytes: int) -> None:
        """How much will be written in all, as far as it is known: for the sentence where the disk is full."""
        self.database.expected_bytes = n_bytes

    @property
    @abstractmethod
    def sites(self) -> list[Site]:
        """The sites of the run."""

    @abstractmethod
    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """input_id and position of every token, in token-table order."""

    @abstractmethod
    def point_rows(self, site: Site) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the token table that a site's queries and its keys belong to."""

    @abstractmethod
    def projection_name(self, method: str, target: str, dims: int, seed: int, aligned: bool = False) -> str:
        """A name for a new map that no other map of the run has."""

    def put_projection(
        self, name: str, method: str, target: str, dims: int, seed: int, parameters: Mapping[str, Any]
    ) -> str:
        """Record a map and what made it.

        Args:
            name: What to call it; empty for a name made of method, dimensions and target. Names are unique in a run.
            method: The name in `PROJECTIONS`.
            target: ``attention`` or ``without_sinks``.
            dims: 2 or 3.
            seed: Of the method.
            parameters: Everything else that made it; ``aligned`` among them tells two maps apart.

        Returns:
            The projection's id, for `put_coordinates` and for readers. A map with the same method, target, dimensions,
            seed and alignment is already there after an interrupted run: its id comes back, and its heads are in
            `done_heads`.
        """
        aligned = bool(parameters.get("aligned"))
        alike = self.database.execute(
            "SELECT projection_id, parameters FROM projections WHERE method = ? AND target = ? AND dims = ? "
            "AND seed = ?",
            [method, target, dims, seed],
        )
        if same := [made for made, stored in alike if bool(json.loads(stored).get("aligned")) == aligned]:
            return same[0]
        chosen = self.projection_name(name or method, target, dims, seed, aligned)
        values = [chosen, method, target, dims, seed, json.dumps(dict(parameters), default=_plain), _now()]
        with self.database.transaction():
            self.database.execute(
                "INSERT INTO projections SELECT coalesce(max(projection), 0) + 1, ?, ?, ?, ?, ?, ?, ? FROM projections",
                values,
            )
        return chosen

    def done_heads(self, projection_id: str) -> set[tuple[str, int]]:
        """Site key and head of every head whose coordinates are stored."""
        keys = {site.index: site.key for site in self.sites}
        rows = self.database.execute(
            "SELECT DISTINCT site, head FROM coordinates WHERE projection = ?", [self._number(projection_id)]
        )
        return {(keys[site], head) for site, head in rows}

    def put_coordinates(
        self,
        projection_id: str,
        site_key: str,
        head: int,
        queries: Float[np.ndarray, "query dims"],
        keys: Float[np.ndarray, "key dims"],
    ) -> None:
        """Store where one head's points are; repeated, it replaces them.

        Raises:
            RunError: Not one row per token of the site's sequences, or a coordinate that is not a finite number.
        """
        input_ids, positions = self.points()
        site, number = self._site(site_key), self._number(projection_id)
        points = np.concatenate([np.asarray(queries), np.asarray(keys)]).astype(np.float32)
        sides = self.point_rows(site)
        if (len(queries), len(keys)) != tuple(map(len, sides)):
            raise RunError(
                f"{len(queries)} queries and {len(keys)} keys came for {site_key} head {head}; "
                f"the run has {len(sides[0])} and {len(sides[1])} tokens for them."
            )
        rows_of_points = np.concatenate(sides)
        if not np.isfinite(points).all():
            raise RunError(f"The map {projection_id} of {site_key} head {head} has coordinates that are not finite.")
        n_rows = len(points)
        rows = {
            "projection": np.full(n_rows, number, np.int16),
            "site": np.full(n_rows, site.index, np.int16),
            "head": np.full(n_rows, head, np.int16),
            "input_id": input_ids[rows_of_points],
            "position": positions[rows_of_points],
            "kind": pa.DictionaryArray.from_arrays(np.repeat(np.int8([0, 1]), list(map(len, sides))), [QUERY, KEY]),
            **{axis: np.ascontiguousarray(points[:, place]) for place, axis in enumerate("xyz"[: points.shape[1]])},
        }
        with self.database.transaction():
            self._forget("coordinates", number, site.index, head)
            self.database.insert("coordinates", pa.table(rows))

    def layout(self, projection_id: str, site_key: str, head: int) -> tuple[np.ndarray, np.ndarray]:
        """What `put_coordinates` stored of one head: queries and keys ``[token, dims]`` in token-table order."""
        site, number = self._site(site_key), self._number(projection_id)
        found = (
            self.database.cursor()
            .execute(
                "SELECT x, y, z, kind FROM coordinates WHERE projection = ? AND site = ? AND head = ? "
                "ORDER BY kind, input_id, position",
                [number, site.index, head],
            )
            .fetchnumpy()
        )
        axes = [np.ma.filled(found[axis].astype(np.float32), np.nan) for axis in "xyz"]
        places = np.stack([axis for axis in axes if not np.isnan(axis).all()], axis=1)
        is_query = found["kind"] == QUERY
        return places[is_query], places[~is_query]

    def put_head_parameters(self, projection_id: str, site_key: str, head: int, parameters: Mapping[str, Any]) -> None:
        """Store what made one head's map, as JSON with arrays as lists; repeated, it replaces it."""
        site, number = self._site(site_key), self._number(projection_id)
        values = [number, site.index, head, json.dumps(dict(parameters), default=_plain)]
        with self.database.transaction():
            self._forget("head_maps", number, site.index, head)
            self.database.execute("INSERT INTO head_maps VALUES (?, ?, ?, ?)", values)

    def put_fidelity(self, projection_id: str, site_key: str, head: int, measures: Mapping[str, float]) -> None:
        """Store the fidelity figures of one head's map; repeated, it replaces them."""
        site, number = self._site(site_key), self._number(projection_id)
        rows = pa.table(
            {
                "projection": np.full(len(measures), number, np.int16),
                "site": np.full(len(measures), site.index, np.int16),
                "head": np.full(len(measures), head, np.int16),
                "measure": list(measures),
                "value": np.array([float(value) for value in measures.values()], dtype=np.float64),
            }
        )
        with self.database.transaction():
            self._forget("fidelity", number, site.index, head)
            self.database.insert("fidelity", rows)

    def put_thumbnail(self, projection_id: str, stack_label: str, png: bytes, cell_px: int) -> None:
        """Store the sprite of a stack's heads; repeated, it replaces it."""
        number = self._number(projection_id)
        with self.database.transaction():
            self.database.execute(
                "DELETE FROM thumbnails WHERE projection = ? AND stack_label = ?", [number, stack_label]
            )
            self.database.execute("INSERT INTO thumbnails VALUES (?, ?, ?, ?)", [number, stack_label, cell_px, png])

    def put_head_scores(self, scores: pd.DataFrame) -> None:
        """Store metric, site, head, value, ci_low, ci_high, null, n; a metric replaces its old rows."""
        self._put_scores("head_scores", scores)

    def put_head_input_scores(self, scores: pd.DataFrame) -> None:
        """Store scores per input: metric, site, head, input_id, value, null; a metric replaces its old ones."""
        self._put_scores("head_input_scores", scores)

    def put_token_scores(self, scores: pd.DataFrame) -> None:
        """Store scores per token: metric, site, head, input_id, position, value; a metric replaces its old ones."""
        self._put_scores("token_scores", scores)

    def put_head_profiles(self, profiles: pd.DataFrame) -> None:
        """Store profile, site, head, x, y, value, null, n (see `TableReader.head_profiles`); a profile replaces its
        old rows."""
        self._put_scores("head_profiles", profiles, "profile")

    def put_head_places(self, places: pd.DataFrame) -> None:
        """Store heads arranged by likeness: arrangement, site, head, x, y, cluster; one replaces its old rows."""
        self._put_scores("head_places", places, "arrangement")

    def put_sinks(self, sinks: pd.DataFrame) -> None:
        """Store the table of `analysis.sinks.find_sinks`; repeated, it replaces the old one."""
        with self.database.transaction():
            self.database.execute("DELETE FROM sinks")
            self.database.insert("sinks", self.score_rows(sinks))

    def put_sink_cuts(self, cuts: pd.DataFrame) -> None:
        """Store cut, input_id, measure, before, after (see `SinkTables.sink_cuts`); a cut replaces its old rows."""
        with self.database.transaction():
            for name in dict.fromkeys(cuts["cut"]):
                self.database.execute("DELETE FROM sink_cuts WHERE cut = ?", [name])
            self.database.insert("sink_cuts", arrow_table(cuts))

    def _put_scores(self, table: str, scores: pd.DataFrame, kind: str = "metric") -> None:
        with self.database.transaction():
            for name in dict.fromkeys(scores[kind]):
                self.database.execute(f"DELETE FROM {table} WHERE {kind} = ?", [name])
            self.database.insert(table, self.score_rows(scores))

    def score_rows(self, scores: pd.DataFrame) -> pa.Table:
        """A frame of scores as rows of the file: site as its number, ``null`` as null_baseline."""
        return rows_of_scores(scores, self.sites)

    def _site(self, key: str) -> Site:
        for site in self.sites:
            if key in (site.key, site.label):
                return site
        raise UnknownName(f"There is no site {key!r}; known: {', '.join(site.key for site in self.sites)}.")

    def _number(self, projection_id: str) -> int:
        rows = self.database.execute("SELECT projection FROM projections WHERE projection_id = ?", [projection_id])
        if not rows:
            raise UnknownName(f"There is no map {projection_id!r} in this file; make it with put_projection first.")
        return rows[0][0]

    @cached_property
    def _present(self) -> dict[tuple[str, int], set[tuple[int, int]]]:
        return {}

    def _forget(self, table: str, projection: int, site: int, head: int) -> None:
        """Delete a head's rows, where there are any: each deletion reads the table."""
        if (table, projection) not in self._present:
            rows = self.database.execute(f"SELECT DISTINCT site, head FROM {table} WHERE projection = ?", [projection])
            self._present[table, projection] = set(rows)
        present = self._present[table, projection]
        if (site, head) not in present:
            present.add((site, head))
            return
        self.database.execute(
            f"DELETE FROM {table} WHERE projection = ? AND site = ? AND head = ?", [projection, site, head]
        )


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def rows_of_scores(scores: pd.DataFrame, sites: Sequence[Site]) -> pa.Table:
    """A frame of scores as rows of a file: site as its number, ``null`` as null_baseline.

    Raises:
        UnknownName: Scores of sites that are not among these.
    """
    numbers = {name: site.index for site in sites for name in (site.index, site.key, site.label)}
    scores = scores.rename(columns={"null": "null_baseline"})
    if scores["site"].dtype.kind == "i" and scores["site"].isin(list(numbers.values())).all():
        return arrow_table(scores.astype({"site": "int16"}))
    unknown = set(scores["site"].unique()) - set(numbers)
    if unknown:
        raise UnknownName(f"Scores came for unknown sites: {', '.join(map(str, sorted(unknown, key=str)))}.")
    return arrow_table(scores.assign(site=scores["site"].map(numbers).astype("int16")))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return value.tolist() if isinstance(value, np.ndarray) else str(value)
