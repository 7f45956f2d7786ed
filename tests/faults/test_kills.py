"""A small sample of ``bench_faults``: a job killed while it extracts, makes a map or publishes; see `killing`."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.errors import RunError
from analysis.store import add_to_run, list_runs, open_run, verify
from analysis.store.database import Database
from analysis.store.schema import migrate
from tests.faults.fullness import Fullness
from tests.faults.killing import MapShop, PublishShop, Workshop, kill_extraction, kill_projection, kill_publish, watched
from tests.faults.nursery import Nursery
from tests.faults.publishing import RUN
from tests.store.synthetic import add_map, make_synthetic_run


@pytest.fixture(scope="module")
def light():
    with Nursery(light=True) as nursery:
        yield nursery


def test_an_extraction_killed_and_then_without_room_goes_on_and_ends_as_if_nothing_had_been(tmp_path):
    """No file may grow longer: the same error, from the same call of the system, as of a disk that is full."""
    with Nursery() as nursery:
        shop = Workshop(nursery, tmp_path, n_texts=24, layers="0", with_map=False)
        found = kill_extraction(shop, 1, seed=0)
        full = Fullness(shop)
        full.stop(shop.extract_arguments(shop.runs), limit_bytes=400_000)
        assert list_runs(shop.runs)["status"].tolist() == ["partial"]
        full.go_on(shop.extract_arguments(shop.runs))
    assert (found.n_kills, found.lost) == (1, 0)
    assert max(found.redone) <= 1


def test_a_map_killed_and_then_without_room_goes_on_and_ends_as_if_nothing_had_been(light, tmp_path):
    shop = MapShop(light, tmp_path)
    found = kill_projection(shop, 3, seed=2)
    assert (found.n_kills, found.lost) == (3, 0)
    full = Fullness(shop)
    shop.copy_of_run()
    full.stop(shop.project_arguments(shop.runs), limit_bytes=60_000)
    assert not list((shop.runs / RUN).glob("add-*"))
    full.go_on(shop.project_arguments(shop.runs))


def test_a_kill_while_publishing_leaves_all_or_nothing_to_be_seen(light, tmp_path):
    """At lines of Python and at moments by turns."""
    shop = PublishShop(light, tmp_path)
    with watched(shop) as seen:
        found = [kill_publish(shop, 8, seed, of_map) for seed, of_map in ((1, False), (2, True))]
    assert [kills.lost for kills in found] == [0, 0]
    assert seen["halves"] == 0
    assert seen["looks"] > 10
    assert seen["complete"] > 0


def test_a_file_shorter_than_its_headers_is_begun_anew(tmp_path):
    """As it is left by a kill between the first writes to it; DuckDB refuses to open it."""
    for n_bytes in (0, 4096, 8192):
        path = tmp_path / f"{n_bytes}.duckdb"
        path.write_bytes(b"\0" * n_bytes)
        database = Database(path)
        migrate(database.connection)
        database.close()
    path.write_bytes(b"\0" * 3 * 4096)
    with pytest.raises(RunError, match="could not be written"):
        Database(path)


def test_an_addition_with_a_spec_is_gone_on_with_by_the_same_spec_alone(tmp_path):
    path = make_synthetic_run(tmp_path, "run")
    before = sorted(entry.name for entry in path.iterdir())
    with add_to_run(path, "late", {"seed": 1}) as addition:
        name = add_map(addition, "umap", 2, addition.sites, len(addition.run.tokens()))
        stored = addition.done_heads(name)
    assert len(stored) == 6
    assert verify(path).ok
    with add_to_run(path, "late", {"seed": 1}) as addition:
        assert addition.done_heads(name) == stored
    with add_to_run(path, "late", {"seed": 2}) as addition:
        assert addition.database.execute("SELECT * FROM projections") == []
    assert sorted(entry.name for entry in path.iterdir()) == before  # nothing in it was worth keeping
    with add_to_run(path, "late", {"seed": 1}) as addition:
        add_map(addition, "umap", 2, addition.sites, len(addition.run.tokens()))
        addition.publish()
    assert verify(path).ok
    assert sorted(entry.name for entry in path.iterdir()) == sorted([*before, "add-late.duckdb", "add-late.json"])
    with open_run(path) as run:
        assert "umap" in run.projections()["method"].tolist()


def test_a_run_deleted_while_it_is_listed_or_verified_is_missing_and_no_failure(tmp_path, monkeypatch):
    """Its file goes between one look at it and the next."""
    path = make_synthetic_run(tmp_path, "run", n_inputs=2)
    (path / "run.duckdb").unlink()
    monkeypatch.setattr(Path, "is_file", lambda path: True)
    assert list_runs(tmp_path)["status"].tolist() == ["damaged: run.duckdb is missing."]
    assert verify(path).problems == ("run.duckdb is missing.",)
