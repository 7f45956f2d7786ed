"""The tables of a run, as numbered migrations.

A migration is never edited once released: a change of the tables is a new number at the end of `MIGRATIONS`.
`FORMAT` is the number of the newest one; a run records in its manifest and in its file which it was written with.

`inputs` and `tokens` are not here: their columns are those of the data (the user's own columns ride along), so
`analysis.store.frames` makes them from the data frames.

How numbers are packed (`analysis.store.packing`): vectors as fp16, little endian, row-major ``[token, d_head]``;
a blob of twice that length is fp32, used where a value is outside the range of fp16. `key_offset` (fp32) is the vector
that was subtracted from every key of the head before rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from analysis.errors import RunError

_FIRST = """
CREATE TABLE meta (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);
CREATE TABLE sites (
    site SMALLINT PRIMARY KEY, key VARCHAR UNIQUE NOT NULL, label VARCHAR UNIQUE NOT NULL,
    modality VARCHAR, stack VARCHAR, role VARCHAR, depth INTEGER,
    n_heads INTEGER, n_kv_heads INTEGER, d_head INTEGER, d_value INTEGER, scale DOUBLE,
    has_band BOOLEAN, band_left INTEGER, band_right INTEGER,
    softcap DOUBLE, has_sink_logits BOOLEAN, route VARCHAR, recomputable BOOLEAN);
CREATE TABLE heads (site SMALLINT, head SMALLINT, key_offset BLOB, sink_logit FLOAT);
CREATE TABLE token_columns (rank INTEGER, name VARCHAR, details VARCHAR);
CREATE TABLE done_inputs (input_id INTEGER PRIMARY KEY);
CREATE TABLE vectors (
    input_id INTEGER, site SMALLINT, head SMALLINT,
    q BLOB USING COMPRESSION uncompressed, k BLOB USING COMPRESSION uncompressed,
    v_norm BLOB USING COMPRESSION uncompressed);
CREATE TABLE attention (
    input_id INTEGER, site SMALLINT, head SMALLINT, weights BLOB USING COMPRESSION uncompressed);
CREATE TABLE masks (input_id INTEGER, site SMALLINT, allowed BLOB);
CREATE TABLE head_scores (
    metric VARCHAR, site SMALLINT, head SMALLINT, value DOUBLE, ci_low DOUBLE, ci_high DOUBLE,
    null_baseline DOUBLE, n BIGINT);
CREATE TABLE head_input_scores (
    metric VARCHAR, site SMALLINT, head SMALLINT, input_id INTEGER, value DOUBLE, null_baseline DOUBLE);
CREATE TABLE token_scores (
    metric VARCHAR, site SMALLINT, head SMALLINT, input_id INTEGER, position INTEGER, value DOUBLE);
CREATE TABLE projections (
    projection SMALLINT PRIMARY KEY, projection_id VARCHAR UNIQUE NOT NULL, method VARCHAR, target VARCHAR,
    dims SMALLINT, seed BIGINT, parameters VARCHAR, created TIMESTAMP);
CREATE TABLE coordinates (
    projection SMALLINT, site SMALLINT, head SMALLINT, input_id INTEGER, position INTEGER, kind VARCHAR,
    x FLOAT, y FLOAT, z FLOAT);
CREATE TABLE head_maps (projection SMALLINT, site SMALLINT, head SMALLINT, parameters VARCHAR);
CREATE TABLE fidelity (projection SMALLINT, site SMALLINT, head SMALLINT, measure VARCHAR, value DOUBLE);
CREATE TABLE thumbnails (projection SMALLINT, stack_label VARCHAR, cell_px INTEGER, png BLOB);
"""

_PROFILES = """
CREATE TABLE head_profiles (
    profile VARCHAR, site SMALLINT, head SMALLINT, x SMALLINT, y SMALLINT, value DOUBLE, null_baseline DOUBLE,
    n BIGINT);
CREATE TABLE head_places (
    arrangement VARCHAR, site SMALLINT, head SMALLINT, x DOUBLE, y DOUBLE, cluster SMALLINT);
CREATE TABLE profile_sums (profile VARCHAR, site SMALLINT, n_rows INTEGER, sums BLOB);
"""
"""`profile_sums` holds what the profiles are made of while a run is being written, and is empty in a finished one."""

_SINKS = """
CREATE TABLE received (
    input_id INTEGER, site SMALLINT,
    attention BLOB USING COMPRESSION uncompressed, others BLOB USING COMPRESSION uncompressed);
CREATE TABLE state_figures (
    input_id INTEGER, stack VARCHAR, measure VARCHAR, n_layers SMALLINT,
    figures BLOB USING COMPRESSION uncompressed);
CREATE TABLE sinks (
    site SMALLINT, head SMALLINT, kind VARCHAR, position INTEGER, token VARCHAR,
    score DOUBLE, rate DOUBLE, ci_low DOUBLE, ci_high DOUBLE, n BIGINT, null_baseline DOUBLE);
CREATE TABLE sink_cuts (cut VARCHAR, input_id INTEGER, measure VARCHAR, "before" DOUBLE, "after" DOUBLE);
"""
"""`received` holds the mean attention every token receives, fp32 ``[head, token]``: from all queries that see it, and
from those but its own (NaN where there is no other). `state_figures` holds what was measured of the residual state of
every token, fp32 ``[layer, token]``."""

_SEQUENCES = """
ALTER TABLE sites ADD COLUMN query_sequence VARCHAR DEFAULT '';
ALTER TABLE sites ADD COLUMN key_sequence VARCHAR DEFAULT '';
"""

_POSITION_BIAS = """
ALTER TABLE sites ADD COLUMN has_position_bias BOOLEAN DEFAULT false;
"""

RESULT_TABLES = (
    "head_scores",
    "head_input_scores",
    "head_profiles",
    "head_places",
    "token_scores",
    "sinks",
    "sink_cuts",
    "projections",
    "coordinates",
    "head_maps",
    "fidelity",
    "thumbnails",
)
"""Tables that an add-on may extend."""

RUN_TABLES = (
    "meta",
    "sites",
    "heads",
    "inputs",
    "tokens",
    "token_columns",
    "vectors",
    "attention",
    "masks",
    "received",
    "state_figures",
)
"""Tables that only the run itself has rows in."""


class NewerFormat(RunError):
    """The run was written by a newer version of QK Atlas: it is not damaged, and not readable here."""


@dataclass(frozen=True)
class Migration:
    """One step of the tables: SQL, or a function of the connection where SQL is not enough.

    Attributes:
        adds: Of a step that does nothing but add columns, table to column to the value (SQL) that it has in a file
            without it. Such a file is read as it is; behind any other step it is brought to the newest format first.
    """

    number: int
    name: str
    step: str | Callable[[duckdb.DuckDBPyConnection], None]
    adds: Mapping[str, Mapping[str, str]] | None = None


MIGRATIONS: tuple[Migration, ...] = (
    Migration(1, "first tables", _FIRST),
    Migration(2, "profiles of heads, and heads arranged by likeness", _PROFILES),
    Migration(3, "attention received, residual states and sinks", _SINKS),
    Migration(4, "sequences of an input", _SEQUENCES, adds={"sites": {"query_sequence": "''", "key_sequence": "''"}}),
    Migration(5, "position biases", _POSITION_BIAS, adds={"sites": {"has_position_bias": "false"}}),
)

FORMAT = MIGRATIONS[-1].number
"""The format this version writes and reads without a change."""


def migrate(connection: duckdb.DuckDBPyConnection, migrations: tuple[Migration, ...] = MIGRATIONS) -> list[int]:
    """Bring the current database of `connection` to the newest format.

    Each migration and the note that it was made are one transaction, so that an interruption leaves neither or both.

    Returns:
        The numbers applied now.

    Raises:
        RunError: The file was written by a newer version.
    """
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name VARCHAR, made TIMESTAMP)"
    )
    present = {number for (number,) in connection.execute("SELECT number FROM migrations").fetchall()}
    check_format(max(present, default=1), migrations[-1].number)
    applied = []
    for migration in migrations:
        if migration.number in present:
            continue
        connection.execute("BEGIN TRANSACTION")
        try:
            if callable(migration.step):
                migration.step(connection)
            else:
                connection.execute(migration.step)
            now = datetime.now(UTC).replace(tzinfo=None)
            connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", [migration.number, migration.name, now])
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        applied.append(migration.number)
    return applied


def lacking_columns(found: int, migrations: tuple[Migration, ...] | None = None) -> dict[str, dict[str, str]] | None:
    """What a file of an older format lacks when that is columns alone: table to column to its value, as SQL.

    Returns:
        Empty for the newest format; None where more than columns came since, so that it has to be migrated.
    """
    lacking: dict[str, dict[str, str]] = {}
    for migration in MIGRATIONS if migrations is None else migrations:
        if migration.number <= found:
            continue
        if migration.adds is None:
            return None
        for table, columns in migration.adds.items():
            lacking.setdefault(table, {}).update(columns)
    return lacking


def check_format(found: object, newest: int | None = None) -> int:
    """The format of a run, when this version can read it.

    Raises:
        NewerFormat: One of a newer version of QK Atlas.
        RunError: Not a format number.
    """
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise RunError(f"The run's manifest has the format {str(found)[:50]!r} where a whole number was expected.")
    newest = FORMAT if newest is None else newest
    if found > newest:
        raise NewerFormat(
            f"The run has format {found}; this version of QK Atlas reads formats up to {newest}: "
            "open it with the version that wrote it, or update QK Atlas."
        )
    return found
