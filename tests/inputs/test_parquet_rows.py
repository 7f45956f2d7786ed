"""Parquet files made to harm: kilobytes that unpack to terabytes, cells of no calendar, code in a type."""

import pickle

import pyarrow as pa
import pytest
from pyarrow import parquet

from analysis.errors import InputError
from analysis.inputs import parquet_rows, read_data

BIG = "x" * 2_000_000


def write(folder, **columns):
    parquet.write_table(pa.table(columns), folder / "t.parquet", compression="zstd", store_schema=False)
    return folder / "t.parquet"


def shared(value, times):
    """A column that says `value` so often and holds it once."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), pa.array([value]))


def nested(kind, times):
    cells = shared(BIG, times)
    if kind == "struct":
        return pa.StructArray.from_arrays([cells], names=["path"])
    return pa.ListArray.from_arrays(pa.array(range(times + 1), pa.int32()), cells) if kind == "list" else cells


@pytest.mark.parametrize("kind", ["text", "struct", "list"])
def test_a_few_kilobytes_that_unpack_to_gigabytes_are_refused_unopened(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(parquet_rows, "MOST_UNPACKED", 10_000_000)
    monkeypatch.setattr(parquet_rows, "MAX_BYTES", 5_000_000)
    path = write(tmp_path, text=["a"] * 250, label=nested(kind, 250))
    assert path.stat().st_size < 20_000
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(InputError, match=r"t\.parquet unpacks to more than 0\.01 GB"):
        read_data(path)
    assert pa.default_memory_pool().max_memory() - before < 100_000_000, "all 500 MB were unpacked"
    assert len(read_data(path, limit=3)) == 3


def test_one_row_too_large_is_left_out_and_the_others_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "MAX_BYTES", 1_000_000)
    raw = read_data(write(tmp_path, text=["a", "b", "c"], label=["1", BIG, None]))
    assert (raw.rows, raw.user_columns) == (["a", "c"], {"label": [1, None]})
    assert raw.skipped == [("row 2", "2 MB; at most 1 MB a row are read")]


def test_rows_of_every_kind_come_whole(tmp_path):
    raw = read_data(
        write(
            tmp_path, text=["a", "b"], words=[["x", None], None], deep=[{"p": "q", "n": [1]}, None],
            pairs=pa.array([[("k", "v")], None], pa.map_(pa.string(), pa.string())),
            label=pa.array(["u", None]).dictionary_encode(),
        )
    )  # fmt: skip
    assert raw.user_columns == {
        "words": ['["x", null]', None], "deep": ['{"p": "q", "n": [1]}', None], "pairs": ['[["k", "v"]]', None],
        "label": ["u", None],
    }  # fmt: skip


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([2**50], pa.timestamp("ms")),
        pa.array([2**30], pa.date32()),
        pa.array([b"\xff\xfe"]).view(pa.string()),
    ],
    ids=["no year", "no date", "no UTF-8"],
)  # fmt: skip
def test_cells_that_are_nothing_are_one_sentence(tmp_path, cells):
    with pytest.raises(InputError, match=r"t.parquet is damaged after row 0 \("):
        read_data(write(tmp_path, text=["a"], when=cells))


class Canary:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_code_in_the_type_of_a_column_is_not_run(tmp_path):
    """Old versions of pyarrow unpickled what a file named as the Python class of a column (CVE-2023-47248)."""
    words = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Canary(str(tmp_path / "ran"))),
    }
    schema = pa.schema([pa.field("text", pa.string()), pa.field("label", pa.string(), metadata=words)])
    parquet.write_table(pa.table([["a"], ["b"]], schema=schema), tmp_path / "t.parquet")
    assert read_data(tmp_path / "t.parquet").rows == ["a"]
    assert not (tmp_path / "ran").exists()
