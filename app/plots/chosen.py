"""Which head, stack and map are meant, or one sentence that says what there is."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from analysis.errors import RunError, UnknownName, UserError
from analysis.store.run import Run
from analysis.types import Site, head_name
from app.charts.words import stack_title

HeadSaid = str | tuple[Site | str, int]
"""``"L3H5"``, or a site (itself, its key or label) and an index."""

_NAME = re.compile(r"[Ll](\d{1,4})[Hh](\d{1,4})")


def find_head(run: Run, head: HeadSaid, stack: str | None = None) -> tuple[Site, int]:
    """The site and index of a head.

    Raises:
        UserError: It is no name of a head, or a run of several stacks leaves open which is meant.
        UnknownName: The run has no such stack, layer or head.
    """
    if not isinstance(head, str):
        if not (isinstance(head, tuple | list) and len(head) == 2 and hasattr(head[1], "__index__")):
            raise _no_head(head)
        site, index = run.site(head[0]), int(head[1])
    else:
        found = _NAME.fullmatch(head.strip())
        if found is None:
            raise _no_head(head)
        depth, index = int(found[1]), int(found[2])
        sites = {site.depth: site for site in sites_of(run, stack)}
        if depth not in sites:
            label = next(iter(sites.values())).stack_label
            raise UnknownName(f"{label} has the layers {', '.join(map(str, sites))}; there is no layer {depth}.")
        site = sites[depth]
    if not 0 <= index < site.n_heads:
        raise UnknownName(f"{site.label} has the heads 0 to {site.n_heads - 1}; there is no head {index}.")
    return site, index


def sites_of(run: Run, stack: str | None = None) -> list[Site]:
    """The sites of a stack in forward order; a run of one stack need not be asked for it.

    Raises:
        UserError: The run has several stacks and none is named.
        UnknownName: It has no such stack.
    """
    stacks: dict[str, list[Site]] = {}
    for site in run.sites:
        stacks.setdefault(site.stack_label, []).append(site)
    listed = ", ".join(stacks)
    if stack is None and len(stacks) > 1:
        raise UserError(
            f"Run {run.run_id!r} has several stacks ({listed}): say which, as in stack={listed.split(', ')[0]!r}."
        )
    if stack is not None and stack not in stacks:
        raise UnknownName(f"Run {run.run_id!r} has no stack {str(stack)[:100]!r}; it has: {listed}.")
    return stacks[stack or next(iter(stacks))]


def find_map(run: Run, name: str | None) -> pd.Series:
    """The row of `Run.projections` of a map in two dimensions: the run's first where none is named.

    Raises:
        UnknownName: The run has no such map.
        RunError: It has no map at all.
        UserError: The map that was asked for is in three dimensions.
    """
    maps = run.projections()
    if maps.empty:
        made = f"python -m analysis project {run.run_id} --method atlas"
        raise RunError(f"Run {run.run_id!r} holds no joint map: make one with `{made}`.")
    if name is not None:
        found = maps[(maps["name"] == name) | (maps["method"] == name)]
        if found.empty:
            raise UnknownName(f"Run {run.run_id!r} has no map {str(name)[:100]!r}; it has: {', '.join(maps['name'])}.")
        maps = found
    flat = maps[maps["dims"] == 2]
    if flat.empty:
        raise UserError(
            f"{maps['name'].iloc[0]} is in three dimensions; here maps are drawn in two: make one with --dims 2."
        )
    return flat.iloc[0]


def check(said: str, known: Iterable[str], what: str = "how") -> None:
    """Refuse a word that is none of those known.

    Raises:
        UserError: It names them.
    """
    names = list(known)
    if said not in names:
        raise UserError(f"{what}={str(said)[:60]!r} is not known here; it is one of: {', '.join(names)}.")


def title_of(site: Site, head: int) -> str:
    """``L3H5, text decoder, self-attention``."""
    title = stack_title(site.stack_label)
    return f"{head_name(site.depth, head)}, {title[:1].lower()}{title[1:]}"


def _no_head(said: object) -> UserError:
    return UserError(
        f"A head is named as in 'L3H5' (layer 3, head 5), or by its site as in ('text.dec.self.3', 5); "
        f"{str(said)[:60]!r} came."
    )
