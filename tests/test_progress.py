"""Progress files are whole at every moment and tell rate and time left."""

import json

from analysis.progress import Bar, Progress, ProgressFile


def test_the_file_holds_the_latest_stage_with_rate_and_time_left(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    path = tmp_path / "progress.json"
    report = ProgressFile(path)
    report(Progress("capture", 4, 24, "inputs", run_id="demo"))
    now[0] += 5
    report(Progress("capture", 14, 24, "inputs"))
    values = json.loads(path.read_text())
    assert values["rate"] == 2.0  # the four inputs of the earlier call do not count as work of this one
    assert values["eta_s"] == 5.0
    assert values["run_id"] == "demo"
    report(Progress("publish"))
    assert json.loads(path.read_text())["rate"] is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["progress.json"]


def test_a_bar_takes_stages_with_and_without_totals(capsys):
    bar = Bar()
    for progress in (
        Progress("load", message="Loading"),
        Progress("capture", 0, 2, "inputs"),
        Progress("capture", 2, 2),
    ):
        bar(progress)
    bar(Progress("done", 1, 1))
    bar.close()
    assert "Loading" in capsys.readouterr().err
