"""Shards: whole or not there, recognised when damaged, and merged into what one process would have stored."""

import duckdb
import numpy as np
import pytest

from analysis.engines.merging import RETRIES, Merging
from analysis.engines.sampled_rows import MAPS, rows_of_maps
from analysis.errors import RunError
from analysis.pipeline.samples import SampledMap
from analysis.progress import silent
from analysis.store import RunWriter, verify
from analysis.store.batch_rows import batch_rows
from analysis.store.shards import Shards, run_digest, shard_name
from tests.store import batches

N_SHARDS = 60
GROUPS = [list(range(first, first + 5)) for first in range(0, 5 * N_SHARDS, 5)]
OFFSETS = {"a#0": np.zeros((batches.N_HEADS, batches.D_HEAD), np.float32)}
MAP = SampledMap("a#0", 7, np.full((4, 2, 3), 0.25, np.float32), np.tri(2, 3, dtype=bool))


def _rows(group):
    # A third and its like: sums depend on the order in which they are added.
    sums = {("offset", 0): np.full((3, 2), 1 / (group[0] + 3))}
    captures = [[batches.capture(i)] for i in group]
    return batch_rows(captures, [batches.SITE], OFFSETS, batches.scores(group), lambda capture: False, sums)


def _writer(folder):
    writer = RunWriter.open(folder, "run", batches.SPEC)
    writer.put_plan([batches.SITE], {}, {}, {})
    writer.put_inputs(*batches.tables(5 * N_SHARDS), {})
    return writer


def _merging(writer, shards, taken=None):
    held = writer.done_inputs()
    groups = [group for group in GROUPS if not held.issuperset(group)]
    take = taken.extend if taken is not None else list
    return Merging(writer, shards, groups, {}, take, silent, 5 * N_SHARDS)


@pytest.fixture
def shards(tmp_path):
    made = Shards(str(tmp_path / "shards"))
    made.make()
    return made


@pytest.fixture(scope="module")
def by_one_process(tmp_path_factory):
    with _writer(tmp_path_factory.mktemp("one")) as writer:
        for group in GROUPS:
            writer.put_rows(_rows(group))
        sums = writer.profile_sums()["offset", 0]
        path = writer.publish({"model": "m"})
    return _vectors(path), sums


class Stopped(BaseException):
    """Stands for the end of the process: nothing catches it."""


def _dies_at(patch, target, name, call):
    original, calls = getattr(target, name), []

    def dying(*given):
        calls.append(given)
        if len(calls) == call:
            raise Stopped
        return original(*given)

    patch.setattr(target, name, dying)


def test_sixty_shards_merge_to_the_run_of_one_process_through_two_deaths(by_one_process, tmp_path, shards, monkeypatch):
    of_run, taken = run_digest(batches.SPEC, {}), []
    for place in np.random.default_rng(0).permutation(N_SHARDS).tolist():
        maps = {MAPS: rows_of_maps([MAP])} if place == 50 else None
        shards.put(shard_name(of_run, GROUPS[place]), _rows(GROUPS[place]), maps)
    # The second death is between a shard that is stored and letting go of it: it lies there still.
    for target, name, call in ((RunWriter, "put_rows", 20), (Shards, "remove", 22)):
        with _writer(tmp_path) as writer, monkeypatch.context() as patch:
            _dies_at(patch, target, name, call)
            with pytest.raises(Stopped):
                _merging(writer, shards, taken).merge()
    assert len(shards.names()) == N_SHARDS - 19 - 20
    with _writer(tmp_path) as writer:
        assert len(writer.done_inputs()) == 5 * (19 + 21)
        merging = _merging(writer, shards, taken)
        assert merging.merge() is None
        assert merging.is_done
        np.testing.assert_array_equal(writer.profile_sums()["offset", 0], by_one_process[1])
        path = writer.publish({"model": "m"})
    assert _vectors(path) == by_one_process[0]
    assert verify(path).ok
    assert not shards.names()
    (one,) = taken
    np.testing.assert_array_equal(one.rows, MAP.rows)
    np.testing.assert_array_equal(one.allowed, MAP.allowed)


def test_a_batch_that_arrives_twice_counts_once(tmp_path, shards):
    with _writer(tmp_path) as writer:
        writer.put_rows(_rows(GROUPS[0]))
        writer.put_rows(_rows(GROUPS[0]))
        merging = _merging(writer, shards)
        shards.put(merging.names[0], _rows(GROUPS[1]))
        merging.arrive([0])
        merging.arrive([0])
        merging.merge()
        assert writer.database.execute("SELECT count(*), count(DISTINCT input_id) FROM vectors") == [(40, 10)]
        assert merging.missing()[0] == 1
        with pytest.raises(RunError, match="Part of this batch"):
            writer.put_rows(_rows([0, 299]))


def test_a_damaged_shard_is_asked_for_again_and_not_for_ever(tmp_path, shards):
    with _writer(tmp_path) as writer:
        merging = _merging(writer, shards)
        for _ in range(RETRIES):
            _put_damaged(shards, tmp_path, merging.names[0])
            merging.arrive([0])
            assert merging.merge() == 0
            assert not writer.done_inputs()
        _put_damaged(shards, tmp_path, merging.names[0])
        merging.arrive([0])
        with pytest.raises(RunError, match="again and again"):
            merging.merge()


def _put_damaged(shards, folder, name):
    shards.put(name, _rows(GROUPS[0]))
    path = folder / "shards" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def test_every_cut_of_a_shard_is_seen(tmp_path, shards):
    name = shard_name("run", GROUPS[0])
    shards.put(name, _rows(GROUPS[0]))
    path = tmp_path / "shards" / name
    content = path.read_bytes()
    rows, extra = shards.read(name)
    assert (rows.input_ids, extra) == (GROUPS[0], {})
    for length in (0, 7, 20, 40, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert shards.read(name) is None


def test_names_tell_run_inputs_and_order_apart_and_nothing_else_is_a_shard(tmp_path, shards):
    of_run = run_digest({"model": "m"}, {"a#0": np.zeros(2)})
    others = run_digest({"model": "n"}, {"a#0": np.zeros(2)}), run_digest({"model": "m"}, {"a#0": np.ones(2)})
    names = [shard_name(of_run, [1, 2]), shard_name(of_run, [2, 1]), *(shard_name(other, [1, 2]) for other in others)]
    assert len(set(names)) == 4
    assert names[0] == shard_name(run_digest({"model": "m"}, {"a#0": np.zeros(2)}), [1, 2])
    (tmp_path / "shards" / f".{names[0]}.being-written").write_bytes(b"")
    (tmp_path / "shards" / "notes.txt").write_bytes(b"")
    assert shards.names() == set()


def test_a_folder_that_has_gone_is_not_made_anew_by_a_late_worker(tmp_path, shards):
    shards.clear()
    with pytest.raises(RunError, match="shards"):
        shards.put(shard_name("run", [0]), _rows([0]))
    assert not (tmp_path / "shards").exists()


def test_a_place_that_is_no_folder_holds_shards_whole_too():
    """pyarrow's own stand-in for an object storage."""
    shards, name = Shards("mock:///bucket/run.shards"), shard_name("run", GROUPS[0])
    shards.make()
    for _ in range(2):
        shards.put(name, _rows(GROUPS[0]))
    assert shards.names() == {name}
    assert shards.read(name)[0].input_ids == GROUPS[0]
    shards.remove([name])
    shards.remove([name])
    assert shards.names() == set()
    shards.clear()
    shards.clear()


@pytest.mark.parametrize("place", ["nowhere://bucket/folder", "s3//bucket"])
def test_an_address_that_is_none_is_one_sentence(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3").write_text("a file")
    with pytest.raises(RunError, match="folder of shards"):
        Shards(place).make()


def _vectors(path):
    with duckdb.connect(path / "run.duckdb", read_only=True) as connection:
        tables = ("vectors", "head_input_scores", "done_inputs", "attention")
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
