"""The tables of a run as data frames: inputs, tokens, maps, scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from analysis.errors import RunError, UnknownName, first_line
from analysis.store.pictures import checked_png
from analysis.store.plan_tables import StoredPlan, read_plan, read_sites
from analysis.types import Site


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """What a column of the token table means.

    Attributes:
        name: Of the column.
        kind: ``sequential``, ``categorical`` or ``cyclic``.
        unit: A word for the axis; empty for categories.
        description: One sentence.
    """

    name: str
    kind: str
    unit: str = ""
    description: str = ""


class TableReader:
    """Reads everything of a run but its vectors. Safe to use from many threads.

    Args:
        cursor: Gives a connection of the calling thread's own, with the run's tables as its current database.
    """

    def __init__(self, cursor: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._cursor = cursor

    @cached_property
    def sites(self) -> list[Site]:
        """Every attention call, in forward order."""
        return read_sites(self._rows)

    def site(self, site: Site | str | int) -> Site:
        """The site of this key, label or index.

        Raises:
            UnknownName: There is none; the message lists the labels.
        """
        key = site.key if isinstance(site, Site) else site
        for known in self.sites:
            if key in (known.key, known.label) or (isinstance(key, int) and key == known.index):
                return known
        raise UnknownName(f"There is no site {str(key)[:100]!r}; known: {', '.join(s.label for s in self.sites)}.")

    def inputs(self) -> pd.DataFrame:
        """One row an input, without the bytes of images and sounds (see `image`, `sound`)."""
        columns = [name for name in self._columns("inputs") if name.lower() not in ("image", "thumbnail", "audio")]
        return self._frame(f"SELECT {', '.join(map(_name, columns))} FROM inputs ORDER BY input_id")

    def image(self, input_id: int) -> bytes:
        """The PNG of an input: what the model saw.

        Raises:
            UnknownName: No such input.
            RunError: The run is of texts, or what it holds is no PNG.
        """
        self._n_tokens(input_id)
        found = [name for name in self._columns("inputs") if name.lower() in ("image", "thumbnail")]
        if not found:
            raise RunError("The inputs of this run are texts: there is no image.")
        content = self._one(f"SELECT {_name(found[0])} FROM inputs WHERE input_id = ?", [input_id])[0]
        return checked_png(content, f"The image of input {input_id}")

    def sound(self, input_id: int) -> bytes:
        """The WAV of an input, at the rate at which the model heard it; empty where the run holds none.

        Raises:
            UnknownName: No such input.
        """
        self._n_tokens(input_id)
        if "audio" not in self._columns("inputs"):
            return b""
        return bytes(self._one("SELECT audio FROM inputs WHERE input_id = ?", [input_id])[0])

    def tokens(self) -> pd.DataFrame:
        """One row a token, in the order of every ``[point, ...]`` array of the run."""
        return self._frame("SELECT * FROM tokens ORDER BY input_id, position")

    def token_columns(self) -> dict[str, ColumnInfo]:
        """What can colour a token, in display order."""
        rows = self._rows("SELECT name, details FROM token_columns ORDER BY rank", ())
        known = set(ColumnInfo.__dataclass_fields__)
        return {
            name: ColumnInfo(
                **{"name": name, "kind": "categorical"} | {k: v for k, v in json.loads(details).items() if k in known}
            )
            for name, details in rows
        }

    def projections(self) -> pd.DataFrame:
        """The maps: projection_id, name (the same), method, target, dims, seed, parameters (JSON), created."""
        return self._frame(
            "SELECT projection_id, projection_id AS name, method, target, dims, seed, parameters, created "
            "FROM projections ORDER BY projection"
        )

    def coordinates(
        self,
        method: str | None = None,
        site: Site | str | None = None,
        head: int | None = None,
        projection: str | None = None,
    ) -> pd.DataFrame:
        """Where the points of a map are.

        Args:
            method: Name of the method, or of the map; the oldest map of that method is meant.
            site: Only this site.
            head: Only this head.
            projection: Name of the map (`projections`), instead of a method.

        Returns:
            site (key), head, input_id, position, kind (``query`` | ``key``), x, y, for 3-D z, and method, projection.

        Raises:
            UnknownName: No such map, site or head.
        """
        number, name, made_by, dims = self._projection(projection, method)
        axes = "x, y, z" if dims == 3 else "x, y"
        where, values = ["projection = ?"], [number]
        if site is not None:
            found = self.site(site) if head is None else self._head(site, head)
            where, values = [*where, "site = ?"], [*values, found.index]
        if head is not None:
            where, values = [*where, "head = ?"], [*values, head]
        frame = self._frame(
            f"SELECT site, head, input_id, position, kind, {axes} FROM coordinates WHERE {' AND '.join(where)}", values
        )
        return self._with_keys(frame).assign(method=made_by, projection=name)

    def places(self, projection: str, site: Site | str) -> Float[np.ndarray, "head kind token axis"]:
        """Where all points of a site are in a map: queries before keys, tokens in token-table order.

        Returns:
            NaN for tokens that have no such point, being of another sequence than the site's queries or keys.

        Raises:
            UnknownName: No such map or site, or the map leaves the site out.
            RunError: Points of the site are missing.
        """
        number, name, _, dims = self._projection(projection, None)
        found, n_tokens = self.site(site), sum(self._lengths.values())
        rows = self.query_rows(found), self.key_rows(found)
        n_points = len(rows[0]) + len(rows[1])
        frame = self._frame(
            f"SELECT {', '.join('xyz'[:dims])} FROM coordinates WHERE projection = ? AND site = ? "
            "ORDER BY head, kind = 'key', input_id, position",
            [number, found.index],
        )
        if frame.empty:
            raise UnknownName(f"The map {name} leaves {found.label} out.")
        if len(frame) != found.n_heads * n_points:
            raise RunError(
                f"The map {name} has {len(frame)} points of {found.label} where {found.n_heads * n_points} "
                "were expected; make the map again."
            )
        places = frame.to_numpy(dtype=np.float32).reshape(found.n_heads, n_points, dims)
        if n_points == 2 * n_tokens:
            return places.reshape(found.n_heads, 2, n_tokens, dims)
        whole = np.full((found.n_heads, 2, n_tokens, dims), np.nan, dtype=np.float32)
        whole[:, 0, rows[0]], whole[:, 1, rows[1]] = np.split(places, [len(rows[0])], axis=1)
        return whole

    def head_parameters(self, projection: str) -> pd.DataFrame:
        """What made each head's map: site (key), head, parameters (a dict of plain values).

        Raises:
            UnknownName: No such map.
        """
        frame = self._frame(
            "SELECT site, head, parameters FROM head_maps WHERE projection = ? ORDER BY site, head",
            [self._projection(projection, None)[0]],
        )
        return self._with_keys(frame.assign(parameters=[json.loads(text) for text in frame["parameters"]]))

    def fidelity(self, projection: str | None = None) -> pd.DataFrame:
        """Fidelity figures: projection, method, target, dims, site (key), head and one column a measure."""
        frame = self._frame(
            "SELECT p.projection_id AS projection, method, target, dims, site, head, measure, value "
            "FROM fidelity JOIN projections p USING (projection) WHERE ? IS NULL OR p.projection_id = ?",
            [projection, projection],
        )
        index = ["projection", "method", "target", "dims", "site", "head"]
        order = list(dict.fromkeys(frame["measure"]))
        wide = frame.pivot(index=index, columns="measure", values="value")[order].reset_index()
        wide.columns.name = None
        return self._with_keys(wide)

    def head_scores(self) -> pd.DataFrame:
        """metric, site (key), head, value, ci_low, ci_high, null, n."""
        return self._with_keys(
            self._frame(
                'SELECT metric, site, head, value, ci_low, ci_high, null_baseline AS "null", n '
                "FROM head_scores ORDER BY metric, site, head"
            )
        )

    def head_input_scores(
        self, metric: str | None = None, site: Site | str | None = None, head: int | None = None
    ) -> pd.DataFrame:
        """metric, site (key), head, input_id, value, null; of one metric, site or head when given."""
        return self._scores(
            'metric, site, head, input_id, value, null_baseline AS "null"', "head_input_scores", metric, site, head
        )

    def unsorted_scores(self, metric: str) -> pd.DataFrame:
        """The scores per input of one metric as they lie: site (index), head, input_id, value, null.

        For who goes through all of them: sorting them and naming their sites costs several times as much.
        """
        query = 'SELECT site, head, input_id, value, null_baseline AS "null" FROM head_input_scores WHERE metric = ?'
        return self._frame(query, [metric])

    def head_profiles(
        self, profile: str | None = None, site: Site | str | None = None, head: int | None = None
    ) -> pd.DataFrame:
        """How attention falls off with distance and direction: profile, site (key), head, x, y, value, null, n.

        The profiles, each a share of all attention, 0 to 1: ``offset`` (texts: x = query position less key position,
        1 being the token before), ``ring`` (images: x = Chebyshev distance in patches), ``aligned`` (images: x columns
        to the right and y rows below the query). `n` is how many pairs of query and key a value rests on.
        """
        return self._scores(
            'profile, site, head, x, y, value, null_baseline AS "null", n', "head_profiles", profile, site, head,
            kind="profile",
        )  # fmt: skip

    def head_places(self, arrangement: str | None = None) -> pd.DataFrame:
        """Heads arranged by likeness: arrangement, site (key), head, x, y, cluster (-1: in none)."""
        columns = "arrangement, site, head, x, y, cluster"
        return self._scores(columns, "head_places", arrangement, None, None, kind="arrangement")

    def token_scores(
        self, metric: str | None = None, site: Site | str | None = None, head: int | None = None
    ) -> pd.DataFrame:
        """metric, site (key), head, input_id, position, value; of one metric, site or head when given."""
        return self._scores("metric, site, head, input_id, position, value", "token_scores", metric, site, head)

    def thumbnail(self, projection_id: str, stack_label: str) -> bytes:
        """The sprite of a stack's heads under a map: a PNG, one row of cells a layer.

        Raises:
            UnknownName: There is none.
        """
        number = self._projection(projection_id, None)[0]
        rows = self._rows(
            "SELECT png FROM thumbnails WHERE projection = ? AND stack_label = ?", [number, str(stack_label)]
        )
        if not rows:
            raise UnknownName(f"The map {projection_id!r} has no thumbnails of {str(stack_label)[:100]!r}.")
        return checked_png(rows[0][0], f"The picture of the map {projection_id}")

    @cached_property
    def certificate(self) -> dict[str, Any]:
        """The parity certificate of the capture."""
        return self._plan.certificate

    @property
    def capture_plan(self) -> StoredPlan:
        """What was captured of every input: sites, key offsets, learned sinks and the certificate."""
        return self._plan

    @cached_property
    def _plan(self) -> StoredPlan:
        return read_plan(self._rows)

    @property
    def sequences(self) -> tuple[str, ...]:
        """The sequences that the tokens of an input are divided into, in their order: ``("encoder", "decoder")``, or
        one without a name."""
        return tuple(self._spans)

    def query_positions(self, site: Site | str, input_id: int) -> Int[np.ndarray, " query"]:
        """Positions, within the input, of the tokens that are the rows of a site's attention."""
        return self._positions(self.site(site).query_sequence, input_id)

    def key_positions(self, site: Site | str, input_id: int) -> Int[np.ndarray, " key"]:
        """Positions, within the input, of the tokens that are the columns of a site's attention."""
        return self._positions(self.site(site).key_sequence, input_id)

    def query_rows(self, site: Site | str) -> Int[np.ndarray, " point"]:
        """Rows of the token table that a site's queries belong to, in order: all of them where an input is one
        sequence."""
        return self.rows_of(self.site(site).query_sequence)

    def key_rows(self, site: Site | str) -> Int[np.ndarray, " point"]:
        """Rows of the token table that a site's keys belong to, in order."""
        return self.rows_of(self.site(site).key_sequence)

    def rows_of(self, sequence: str) -> Int[np.ndarray, " point"]:
        """Rows of the token table that are tokens of a sequence; all of them for ``""``."""
        lengths = np.array(list(self._lengths.values()), dtype=np.int64)
        begins = np.cumsum(lengths) - lengths
        if not sequence:
            return np.arange(lengths.sum())
        spans = self._spans_of(sequence)
        return np.concatenate([begin + np.arange(*span) for begin, span in zip(begins, spans.values(), strict=True)])

    @cached_property
    def _lengths(self) -> dict[int, int]:
        return dict(self._rows("SELECT input_id, n_tokens FROM inputs ORDER BY input_id", ()))

    @cached_property
    def _spans(self) -> dict[str, dict[int, tuple[int, int]]]:
        """By sequence and input, the first position of its tokens and the one behind the last."""
        if not any(site.query_sequence or site.key_sequence for site in self.sites):
            return {"": {input_id: (0, n_tokens) for input_id, n_tokens in self._lengths.items()}}
        spans: dict[str, dict[int, tuple[int, int]]] = {}
        query = "SELECT sequence, input_id, min(position) AS first, max(position) + 1 FROM tokens GROUP BY ALL"
        for sequence, input_id, first, end in self._rows(f"{query} ORDER BY input_id, first", ()):
            spans.setdefault(sequence, {})[input_id] = first, end
        return spans

    def _spans_of(self, sequence: str) -> dict[int, tuple[int, int]]:
        if not sequence:
            return {input_id: (0, n_tokens) for input_id, n_tokens in self._lengths.items()}
        if sequence not in self._spans:
            raise RunError(f"The run lacks the tokens of its {sequence}: run verify on it.")
        return self._spans[sequence]

    def _positions(self, sequence: str, input_id: int) -> Int[np.ndarray, " token"]:
        self._n_tokens(input_id)
        return np.arange(*self._spans_of(sequence)[input_id])

    def _length(self, sequence: str, input_id: int) -> int:
        first, end = self._spans_of(sequence)[input_id] if sequence else (0, self._n_tokens(input_id))
        return end - first

    def lengths_of(self, sequence: str, inputs: Sequence[int] | None = None) -> dict[int, int]:
        """Tokens of a sequence by input: of all inputs, or of some."""
        whole = self._lengths
        if sequence:
            whole = {input_id: end - first for input_id, (first, end) in self._spans_of(sequence).items()}
        return whole if inputs is None else {int(input_id): whole[int(input_id)] for input_id in inputs}

    def _scores(
        self,
        columns: str,
        table: str,
        name: str | None,
        site: Site | str | None,
        head: int | None,
        kind: str = "metric",
    ) -> pd.DataFrame:
        wanted = {kind: name, "site": None if site is None else self.site(site).index, "head": head}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        where = " AND ".join([f"{name} = ?" for name in wanted] or ["true"])
        return self._with_keys(
            self._frame(f"SELECT {columns} FROM {table} WHERE {where} ORDER BY ALL", list(wanted.values()))
        )

    def _projection(self, name: str | None, method: str | None) -> tuple[int, str, str, int]:
        rows = self._rows("SELECT projection, projection_id, method, dims FROM projections ORDER BY projection", ())
        for row in rows:
            if name == row[1] if name is not None else method in (row[1], row[2]):
                return row
        known = ", ".join(row[1] for row in rows) or "none yet"
        raise UnknownName(f"There is no map {str(name or method)[:100]!r}; known: {known}.")

    def _head(self, site: Site | str, head: int) -> Site:
        found = self.site(site)
        if not 0 <= head < found.n_heads:
            raise UnknownName(f"{found.label} has the heads 0 to {found.n_heads - 1}; there is no head {head}.")
        return found

    def _n_tokens(self, input_id: int) -> int:
        if input_id not in self._lengths:
            raise UnknownName(f"There is no input {input_id}; the run has {len(self._lengths)} inputs, counted from 0.")
        return self._lengths[input_id]

    def _with_keys(self, frame: pd.DataFrame) -> pd.DataFrame:
        keys = {site.index: site.key for site in self.sites}
        return frame.assign(site=frame["site"].map(keys).astype("str"))

    def _columns(self, table: str) -> list[str]:
        return [row[0] for row in self._rows(f"DESCRIBE {table}", ())]

    def _one(self, query: str, parameters: Sequence[Any]) -> tuple:
        rows = self._rows(query, parameters)
        if not rows:
            raise RunError("The run lacks captures of this input: run verify on it.")
        return rows[0]

    def _rows(self, query: str, parameters: Sequence[Any]) -> list[tuple]:
        with _readable():
            return self._cursor().execute(query, list(parameters)).fetchall()

    def _frame(self, query: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        with _readable():
            return self._cursor().execute(query, list(parameters)).df()


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise RunError(f"The run could not be read; run verify on it ({first_line(error)}).") from error


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
