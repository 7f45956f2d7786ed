"""The capture plan in the tables of a run: sites, key offsets, learned sinks, certificate."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from analysis.errors import RunError
from analysis.store.database import Database
from analysis.types import Band, Site

_SITE_COLUMNS = (
    "site, key, label, modality, stack, role, depth, n_heads, n_kv_heads, d_head, d_value, scale, "
    "has_band, band_left, band_right, softcap, has_sink_logits, route, recomputable, query_sequence, key_sequence, "
    "has_position_bias"
)

Rows = Callable[[str, Sequence[Any]], list[tuple]]


class StoredPlan(NamedTuple):
    """What a run keeps of its capture plan.

    Attributes:
        sites: In forward order.
        key_offsets: Site key to fp32 ``[kv_head, d_head]``, subtracted from the keys before rounding.
        sink_logits: Site key to fp32 ``[head]``; only sites with a learned sink.
        certificate: The parity certificate, plain values.
    """

    sites: list[Site]
    key_offsets: dict[str, Float[np.ndarray, "kv_head d_head"]]
    sink_logits: dict[str, Float[np.ndarray, " head"]]
    certificate: dict[str, Any]


def write_plan(
    database: Database,
    sites: Sequence[Site],
    key_offsets: Mapping[str, np.ndarray],
    sink_logits: Mapping[str, np.ndarray],
    certificate: Mapping[str, Any],
) -> None:
    """Put the plan into an empty run, in the transaction of the caller."""
    for site in sites:
        database.execute(f"INSERT INTO sites ({_SITE_COLUMNS}) VALUES ({', '.join('?' * 22)})", _site_row(site))
        offsets = np.asarray(key_offsets.get(site.key, np.zeros((site.n_kv_heads, site.d_head))), dtype="<f4")
        logits = sink_logits.get(site.key)
        if offsets.shape != (site.n_kv_heads, site.d_head) or not np.isfinite(offsets).all():
            raise RunError(
                f"The key offsets of {site.key} have the shape {list(offsets.shape)} or are not finite; "
                f"[{site.n_kv_heads}, {site.d_head}] finite numbers were expected."
            )
        group = site.n_heads // site.n_kv_heads
        for head in range(site.n_heads):
            offset = offsets[head // group].tobytes() if head % group == 0 else None
            logit = None if logits is None else float(logits[head])
            database.execute(
                "INSERT INTO heads (site, head, key_offset, sink_logit) VALUES (?, ?, ?, ?)",
                [site.index, head, offset, logit],
            )
    text = json.dumps(dict(certificate), default=_plain)
    database.execute("INSERT OR REPLACE INTO meta VALUES ('certificate', ?)", [text])


def read_sites(rows: Rows) -> list[Site]:
    """The sites, in forward order."""
    return [_site(row) for row in rows(f"SELECT {_SITE_COLUMNS} FROM sites ORDER BY site", ())]


def read_plan(rows: Rows) -> StoredPlan:
    """The inverse of `write_plan`."""
    sites = read_sites(rows)
    by_index = {site.index: site for site in sites}
    offsets: dict[str, list] = {site.key: [] for site in sites}
    logits: dict[str, list] = {site.key: [] for site in sites if site.has_sink_logits}
    for index, offset, logit in rows("SELECT site, key_offset, sink_logit FROM heads ORDER BY site, head", ()):
        site = by_index[index]
        if offset is not None:
            offsets[site.key].append(np.frombuffer(offset, dtype="<f4"))
        if logit is not None:
            logits.setdefault(site.key, []).append(logit)
    text = rows("SELECT value FROM meta WHERE name = 'certificate'", ())
    return StoredPlan(
        sites,
        {key: np.stack(parts).astype(np.float32) for key, parts in offsets.items()},
        {key: np.array(parts, dtype=np.float32) for key, parts in logits.items()},
        json.loads(text[0][0]) if text else {},
    )


def _site_row(site: Site) -> list[Any]:
    band = site.band
    return [
        site.index, site.key, site.label, site.modality, site.stack, site.role, site.depth,
        site.n_heads, site.n_kv_heads, site.d_head, site.d_value, float(site.scale),
        band is not None, band.left if band else None, band.right if band else None,
        site.softcap, site.has_sink_logits, site.route, site.recomputable, site.query_sequence, site.key_sequence,
        site.has_position_bias,
    ]  # fmt: skip


def _site(row: tuple) -> Site:
    has_band, left, right = row[12:15]
    return Site(*row[:12], Band(left, right) if has_band else None, *row[15:])


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return value.tolist() if isinstance(value, np.ndarray) else str(value)
