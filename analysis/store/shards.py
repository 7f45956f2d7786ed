"""Rows of batches in files of their own, while many processes capture one run: a shard is whole or not there.

A shard is ``QKSHARD1``, the SHA-256 of what follows, and one Arrow IPC stream a table, with the table's name in the
metadata of its schema. Nothing in it is ever executed. Its name says which inputs of which run it holds, so that the
same work done twice gives the same name, and the later of the two takes the place of the other.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import fs, ipc

from analysis.errors import RunError, first_line
from analysis.store.batch_rows import BatchRows
from analysis.store.profile_sums import sum_rows, sums_of
from analysis.store.publish import flush

_MAGIC = b"QKSHARD1"
_NAME = re.compile(r"\d{8}-\d+-[0-9a-f]{20}\.shard")
_SUMS = "profile_sums"
_EXTRA = "extra_"


class Shards:
    """The shards of one run in one folder, which every process of the job reaches.

    Args:
        place: A folder, or the address of one in an object storage that pyarrow knows (``s3://bucket/folder``).

    Raises:
        RunError: The address is none, or the folder cannot be reached.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        try:
            if "://" in place:
                self._system, self._folder = fs.FileSystem.from_uri(place)
            else:
                self._system, self._folder = fs.LocalFileSystem(), str(Path(place).resolve())
        except (OSError, ValueError) as error:
            raise _unreachable(place, error) from error
        self._is_local = isinstance(self._system, fs.LocalFileSystem)

    def make(self) -> None:
        """Make the folder where it is missing.

        Raises:
            RunError: It cannot be made.
        """
        try:
            self._system.create_dir(self._folder, recursive=True)
        except OSError as error:
            raise _unreachable(self.place, error) from error

    def names(self) -> set[str]:
        """The shards that are there.

        Raises:
            RunError: The folder cannot be read.
        """
        try:
            entries = self._system.get_file_info(fs.FileSelector(self._folder, allow_not_found=True))
        except OSError as error:
            raise _unreachable(self.place, error) from error
        return {entry.base_name for entry in entries if _NAME.fullmatch(entry.base_name)}

    def put(self, name: str, rows: BatchRows, extra: Mapping[str, pa.Table] | None = None) -> None:
        """Write a shard, whole or not at all; one of this name that is there already is replaced.

        Args:
            name: From `shard_name`.
            rows: Of the batch.
            extra: Tables that are no part of the run.

        Raises:
            RunError: It cannot be written; the folder is not made anew where it has gone.
        """
        sums = {_SUMS: sum_rows(rows.sums)} if rows.sums else {}
        content = _encoded({**rows.tables, **sums, **{_EXTRA + key: table for key, table in (extra or {}).items()}})
        try:
            if self._is_local:
                _write_local(Path(self._folder), name, content)
                return
            with self._system.open_output_stream(f"{self._folder}/{name}") as stream:  # seen once it is closed
                stream.write(content)
        except OSError as error:
            raise _unreachable(self.place, error) from error

    def read(self, name: str) -> tuple[BatchRows, dict[str, pa.Table]] | None:
        """The rows of a shard and its extra tables; None where it is damaged, and has to be made again.

        Raises:
            RunError: It cannot be read.
        """
        try:
            with self._system.open_input_stream(f"{self._folder}/{name}", compression=None) as stream:
                content = stream.readall()
        except OSError as error:
            raise _unreachable(self.place, error) from error
        body = memoryview(content)[len(_MAGIC) + 32 :]
        if content[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != content[len(_MAGIC) : len(_MAGIC) + 32]:
            return None
        tables = _decoded(body)
        extra = {key.removeprefix(_EXTRA): tables.pop(key) for key in list(tables) if key.startswith(_EXTRA)}
        sums = sums_of(zip(*tables.pop(_SUMS).to_pydict().values(), strict=True)) if _SUMS in tables else {}
        return BatchRows(tables["done_inputs"]["input_id"].to_pylist(), tables, sums), extra

    def remove(self, names: Iterable[str]) -> None:
        """Let go of shards; those that are not there are passed over."""
        for name in names:
            try:
                self._system.delete_file(f"{self._folder}/{name}")
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _unreachable(self.place, error) from error

    def clear(self) -> None:
        """Remove the folder with all that is in it."""
        try:
            self._system.delete_dir(self._folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unreachable(self.place, error) from error


def run_digest(spec: Mapping[str, Any], key_offsets: Mapping[str, np.ndarray]) -> str:
    """What tells the shards of one run from those of all others: its spec, and what was subtracted from its keys."""
    digest = hashlib.sha256(json.dumps(dict(spec), sort_keys=True, default=str).encode())
    for key in sorted(key_offsets):
        digest.update(key.encode() + np.ascontiguousarray(key_offsets[key], "<f4").tobytes())
    return digest.hexdigest()


def shard_name(of_run: str, input_ids: Sequence[int]) -> str:
    """The name of the shard that holds these inputs, in this order, of the run with this digest."""
    digest = hashlib.sha256(f"{of_run}:{','.join(map(str, input_ids))}".encode()).hexdigest()
    return f"{min(input_ids):08d}-{len(input_ids)}-{digest[:20]}.shard"


def _encoded(tables: Mapping[str, pa.Table]) -> bytes:
    sink = pa.BufferOutputStream()
    sink.write(_MAGIC + bytes(32))
    for name, table in tables.items():
        with ipc.new_stream(sink, table.schema.with_metadata({"table": name})) as stream:
            stream.write_table(table.replace_schema_metadata({"table": name}))
    content = bytearray(sink.getvalue())
    start = len(_MAGIC) + 32
    content[len(_MAGIC) : start] = hashlib.sha256(memoryview(content)[start:]).digest()
    return bytes(content)


def _decoded(body: memoryview) -> dict[str, pa.Table]:
    source, tables = pa.BufferReader(body), {}
    while source.tell() < len(body):
        table = ipc.open_stream(source).read_all()
        tables[table.schema.metadata[b"table"].decode()] = table.replace_schema_metadata(None)
    return tables


def _write_local(folder: Path, name: str, content: bytes) -> None:
    # Another process may be writing the same shard: each has a temporary file of its own.
    temporary = folder / f".{name}.{uuid.uuid4().hex}"
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(folder / name)
    finally:
        temporary.unlink(missing_ok=True)
    flush(folder)


def _unreachable(place: str, error: Exception) -> RunError:
    where = place if "://" in place else Path(place).name
    return RunError(f"The folder of shards {where[:200]!r} cannot be used ({first_line(error)}).")
