"""No room while something is published, exported or brought in: one sentence, nothing half-made, and the run intact.

The limit is one of the system on the length of a file, which any user may set; ``bench_faults`` fills a small disk.
"""

from __future__ import annotations

import sys

import pytest

from analysis.progress import Progress, ProgressFile
from analysis.store import list_runs
from tests.faults.fullness import Fullness, tree
from tests.faults.killing import PublishShop
from tests.faults.nursery import Nursery
from tests.faults.publishing import RUN

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_FSIZE as Linux has it")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with Nursery(light=True) as nursery:
        yield PublishShop(nursery, tmp_path_factory.mktemp("shop"))


def test_publishing_a_run_and_an_addition_without_room(shop):
    full = Fullness(shop)
    run, addition = shop.extract_arguments(shop.runs), shop.project_arguments(shop.runs)
    full.stop(run, limit_bytes=200_000, from_publish=True)
    assert list_runs(shop.runs)["status"].tolist() == ["partial"]
    full.go_on(run)
    before = tree(shop.runs)
    full.stop(addition, limit_bytes=20_000, from_publish=True)
    assert {name: content for name, content in tree(shop.runs).items() if "/.add-" not in name} == before
    assert list_runs(shop.runs)["status"].tolist() == ["complete"]
    full.go_on(addition)


@pytest.mark.parametrize("format", ["parquet", "csv", "safetensors", "run"])
@pytest.mark.parametrize("ending", ["", ".zip"])
def test_exporting_without_room_leaves_nothing(shop, tmp_path, format, ending):
    target = tmp_path / f"out{ending}"
    full, before = Fullness(shop), tree(shop.reference)
    arguments = ["export", RUN, f"--out={shop.reference}", f"--to={target}", f"--format={format}"]
    full.stop(arguments, limit_bytes=10_000)
    assert list(tmp_path.iterdir()) == []
    assert tree(shop.reference) == before
    assert shop.nursery.run(arguments, shop.notes) == 0, shop.said()
    assert target.exists()


def test_bringing_a_run_in_without_room_leaves_nothing(shop, tmp_path):
    arguments = ["import", str(shop.reference / RUN), f"--out={tmp_path / 'there'}"]
    Fullness(shop).stop(arguments, limit_bytes=10_000)
    assert list((tmp_path / "there").iterdir()) == []
    assert shop.nursery.run(arguments, shop.notes) == 0, shop.said()
    assert tree(tmp_path / "there") == tree(shop.reference)


def test_progress_that_cannot_be_written_ends_no_job(tmp_path):
    report = ProgressFile(tmp_path / "gone" / "progress.json")
    report(Progress("capture", 1, 2))
    (tmp_path / "gone").mkdir()
    report(Progress("capture", 2, 2))
    assert (tmp_path / "gone" / "progress.json").exists()
