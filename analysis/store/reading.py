"""Reading a run: the same calls for a published run and for one that is being written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from analysis.attention import recompute
from analysis.errors import RunError, UnknownName
from analysis.store.packing import unpack_attention, unpack_rows
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


class Reader:
    """Reads the tables of a run. Safe to use from many threads.

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

    def queries(self, site: Site | str, head: int) -> Float[np.ndarray, "point d_head"]:
        """Every query of a head, in token-table order."""
        found = self._head(site, head)
        return self._vectors("q", found, head, found.d_head)

    def keys(self, site: Site | str, head: int) -> Float[np.ndarray, "point d_head"]:
        """Every key that a head reads, in token-table order; heads that share keys give the same."""
        found = self._head(site, head)
        first = _first_of_group(found, head)
        return self._vectors("k", found, first, found.d_head) + self._plan.key_offsets[found.key][found.kv_head(head)]

    def value_norms(self, site: Site | str, head: int) -> Float[np.ndarray, " point"]:
        """The Euclidean norm of every value that a head reads, in token-table order."""
        found = self._head(site, head)
        return self._vectors("v_norm", found, _first_of_group(found, head), 1)[:, 0]

    def attention(self, site: Site | str, head: int, input_id: int) -> Float[np.ndarray, "query key"]:
        """Attention of one head on one input: as stored, or recomputed from q and k within 2e-3.

        Returns:
            Weights in 0..1. A row sums to 1, to less with a learned sink, to 0 where a query may attend to nothing.

        Raises:
            UnknownName: No such site, head or input.
        """
        found = self._head(site, head)
        allowed = self.allowed(found, input_id)
        where = [input_id, found.index, head]
        stored = found.index in self._stored_sites and self._rows(
            "SELECT weights FROM attention WHERE input_id = ? AND site = ? AND head = ?", where
        )
        if stored:
            return unpack_attention(stored[0][0], allowed, len(allowed))
        query = "SELECT {} FROM vectors WHERE input_id = ? AND site = ? AND head = ?"
        first = _first_of_group(found, head)
        if first == head:
            q, k = self._one(query.format("q, k"), where)
        else:
            (q,), (k,) = self._one(query.format("q"), where), self._one(query.format("k"), [*where[:2], first])
        return self._recompute(found, [q], [k], allowed, [head])[0]

    def attention_all(self, input_id: int) -> dict[str, Float[np.ndarray, "head query key"]]:
        """Attention of every head of every site on one input, by site key."""
        self._n_tokens(input_id)
        stored: dict[int, list[bytes]] = {}
        if self._stored_sites:
            rows = self._rows("SELECT site, weights FROM attention WHERE input_id = ? ORDER BY site, head", [input_id])
            for index, weights in rows:
                stored.setdefault(index, []).append(weights)
        vectors: dict[int, list[tuple]] = {}
        if {site.index for site in self.sites} - set(stored):
            rows = self._rows("SELECT site, q, k FROM vectors WHERE input_id = ? ORDER BY site, head", [input_id])
            for index, q, k in rows:
                vectors.setdefault(index, []).append((q, k))
        out = {}
        for site in self.sites:
            allowed = self.allowed(site, input_id)
            if site.index in stored:
                out[site.key] = np.stack([unpack_attention(w, allowed, len(allowed)) for w in stored[site.index]])
                continue
            if len(vectors.get(site.index, ())) != site.n_heads:
                raise RunError(f"Input {input_id} has no captures of {site.key}.")
            queries, keys = zip(*vectors[site.index])
            out[site.key] = self._recompute(
                site, queries, [k for k in keys if k is not None], allowed, range(site.n_heads)
            )
        return out

    def allowed(self, site: Site | str, input_id: int) -> Bool[np.ndarray, "query key"]:
        """True where the query may attend to the key."""
        found, n_tokens = self.site(site), self._n_tokens(input_id)
        if found.index in self._masked_sites:
            rows = self._rows("SELECT allowed FROM masks WHERE input_id = ? AND site = ?", [input_id, found.index])
            if rows:
                bits = np.unpackbits(np.frombuffer(rows[0][0], np.uint8), count=n_tokens * n_tokens)
                return bits.reshape(n_tokens, n_tokens).astype(bool)
        if found.band is None:
            raise RunError(f"The mask of {found.key} on input {input_id} is not stored; run verify on the run.")
        return found.band.allowed(n_tokens)

    def attention_by_input(self, site: Site | str, head: int) -> list[Float[np.ndarray, "query key"]]:
        """Attention of one head on every input in order, as `attention` gives it, with a few queries in all."""
        found, allowed = self._head(site, head), self.allowed_by_input(site)
        stored = {}
        if found.index in self._stored_sites:
            query = "SELECT input_id, weights FROM attention WHERE site = ? AND head = ?"
            stored = dict(self._rows(query, [found.index, head]))
        lengths = self._lengths
        if len(stored) == len(lengths):
            return [unpack_attention(stored[input_id], mask, len(mask)) for input_id, mask in zip(lengths, allowed)]
        bounds = np.cumsum(list(lengths.values()))[:-1]
        queries, keys = (np.split(of_head, bounds) for of_head in (self.queries(found, head), self.keys(found, head)))
        sinks = self._plan.sink_logits.get(found.key)
        logit = None if sinks is None else sinks[[head]]
        return [
            unpack_attention(stored[input_id], mask, len(mask))
            if input_id in stored
            else recompute(q[None], k[None], mask, found.scale, found.softcap, logit)[0]
            for input_id, mask, q, k in zip(lengths, allowed, queries, keys)
        ]

    def allowed_by_input(self, site: Site | str) -> list[Bool[np.ndarray, "query key"]]:
        """The mask of a site on every input in order, as `allowed` gives it."""
        found = self.site(site)
        odd = set()
        if found.index in self._masked_sites:
            rows = self._rows("SELECT input_id FROM masks WHERE site = ?", [found.index])
            odd = {input_id for (input_id,) in rows}
        masks: dict[int, np.ndarray] = {}
        for input_id, n_tokens in self._lengths.items():
            if found.band is not None and input_id not in odd and n_tokens not in masks:
                masks[n_tokens] = found.band.allowed(n_tokens)
        return [
            self.allowed(found, input_id) if found.band is None or input_id in odd else masks[n_tokens]
            for input_id, n_tokens in self._lengths.items()
        ]

    def inputs(self) -> pd.DataFrame:
        """One row an input, without the bytes of images (see `image`)."""
        columns = [name for name in self._columns("inputs") if name.lower() not in ("image", "thumbnail")]
        return self._frame(f"SELECT {', '.join(map(_name, columns))} FROM inputs ORDER BY input_id")

    def image(self, input_id: int) -> bytes:
        """The PNG of an input: what the model saw.

        Raises:
            UnknownName: No such input.
            RunError: The run is of texts.
        """
        self._n_tokens(input_id)
        found = [name for name in self._columns("inputs") if name.lower() in ("image", "thumbnail")]
        if not found:
            raise RunError("The inputs of this run are texts: there is no image.")
        return bytes(self._one(f"SELECT {_name(found[0])} FROM inputs WHERE input_id = ?", [input_id])[0])

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
        return bytes(rows[0][0])

    @cached_property
    def certificate(self) -> dict[str, Any]:
        """The parity certificate of the capture."""
        return self._plan.certificate

    @cached_property
    def _plan(self) -> StoredPlan:
        return read_plan(self._rows)

    @cached_property
    def _lengths(self) -> dict[int, int]:
        return dict(self._rows("SELECT input_id, n_tokens FROM inputs ORDER BY input_id", ()))

    @property
    def _stored_sites(self) -> set[int]:
        return {index for (index,) in self._rows("SELECT DISTINCT site FROM attention", ())}

    @property
    def _masked_sites(self) -> set[int]:
        return {index for (index,) in self._rows("SELECT DISTINCT site FROM masks", ())}

    def _scores(
        self, columns: str, table: str, metric: str | None, site: Site | str | None, head: int | None
    ) -> pd.DataFrame:
        wanted = {"metric": metric, "site": None if site is None else self.site(site).index, "head": head}
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

    def _recompute(
        self, site: Site, queries: Sequence[bytes], keys: Sequence[bytes], allowed: np.ndarray, heads: Sequence[int]
    ) -> Float[np.ndarray, "head query key"]:
        plan, n_tokens = self._plan, len(allowed)
        q = unpack_rows(queries, [n_tokens] * len(queries), site.d_head).reshape(len(queries), n_tokens, -1)
        k = unpack_rows(keys, [n_tokens] * len(keys), site.d_head).reshape(len(keys), n_tokens, -1)
        sinks = plan.sink_logits.get(site.key)
        if site.softcap is not None or sinks is not None:
            # Elsewhere the softmax is the same without the offset, and the sum of products smaller.
            first, last = site.kv_head(heads[0]), site.kv_head(heads[-1])
            k = k + plan.key_offsets[site.key][first : last + 1, None, :]
        return recompute(q, k, allowed, site.scale, site.softcap, None if sinks is None else sinks[list(heads)])

    def _vectors(self, column: str, site: Site, head: int, width: int) -> Float[np.ndarray, "point width"]:
        rows = self._rows(
            f"SELECT input_id, {column} FROM vectors WHERE site = ? AND head = ? ORDER BY input_id", [site.index, head]
        )
        lengths = self._lengths
        if [row[0] for row in rows] != list(lengths):
            raise RunError(
                f"{len(rows)} of {len(lengths)} inputs have captures of {site.key}: the run is not finished."
            )
        return unpack_rows([row[1] for row in rows], list(lengths.values()), width)

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
        return self._cursor().execute(query, list(parameters)).fetchall()

    def _frame(self, query: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        return self._cursor().execute(query, list(parameters)).df()


def _first_of_group(site: Site, head: int) -> int:
    return head - head % (site.n_heads // site.n_kv_heads)


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
