"""What a batch of inputs gave, as rows of a run's tables, in whichever process it was captured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float

from analysis.store.frames import arrow_table
from analysis.store.profile_sums import Sums
from analysis.store.results import rows_of_scores
from analysis.store.sink_rows import Figures, Received, figure_rows, received_rows
from analysis.store.vectors import attention_rows, mask_rows, vector_rows
from analysis.types import Site, SiteCapture

Stores = Callable[[SiteCapture], bool]
"""Whether to keep the attention of a capture."""


class BatchRows(NamedTuple):
    """The rows of one batch.

    Attributes:
        input_ids: Its inputs.
        tables: By name of the table; those without rows are absent.
        sums: By profile and index of the site, what these inputs add to its sums.
    """

    input_ids: list[int]
    tables: dict[str, pa.Table]
    sums: Sums


def batch_rows(
    captures: Sequence[Sequence[SiteCapture]],
    sites: Sequence[Site],
    key_offsets: Mapping[str, Float[np.ndarray, "kv_head d_head"]],
    input_scores: pd.DataFrame | None,
    store_attention: Stores,
    profile_sums: Sums | None = None,
    received: Received | None = None,
    state_figures: Figures | None = None,
) -> BatchRows:
    """Rows of what was captured and measured; see `analysis.store.write.RunWriter.put_batch` for the arguments.

    Raises:
        RunError: NaN or infinity in a capture, with the site and the input.
    """
    every = [site for of_input in captures for site in of_input]
    input_ids = list(dict.fromkeys(capture.input_id for capture in every))
    tables = {
        "vectors": vector_rows(every, key_offsets),
        "attention": attention_rows(every, store_attention),
        "masks": mask_rows(every),
        "done_inputs": arrow_table(pd.DataFrame({"input_id": np.array(input_ids, np.int32)})),
    }
    if input_scores is not None and len(input_scores):
        own = input_scores[input_scores["input_id"].isin(input_ids)]
        tables["head_input_scores"] = rows_of_scores(own, sites)
    if received:
        tables["received"] = received_rows(_of_inputs(received, input_ids))
    if state_figures:
        tables["state_figures"] = figure_rows(_of_inputs(state_figures, input_ids))
    return BatchRows(input_ids, {name: rows for name, rows in tables.items() if rows is not None}, profile_sums or {})


def _of_inputs(parts: Mapping[tuple, Any], input_ids: Sequence[int]) -> dict[tuple, Any]:
    wanted = set(input_ids)
    return {key: value for key, value in parts.items() if key[0] in wanted}
