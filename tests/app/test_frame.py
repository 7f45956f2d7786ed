"""The frame: pages found by their files, light imports, packed messages, and pages drawn by AppTest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app.chosen_run import first_look
from app.components import pack
from app.views import VIEWS
from tests.store.synthetic import make_synthetic_run

REPOSITORY = Path(__file__).resolve().parents[2]
MAIN = str(REPOSITORY / "app" / "main.py")
HEAVY = ("torch", "transformers", "umap", "sklearn", "numba", "scipy", "matplotlib")


def test_pages_are_ordered_and_named_by_their_files():
    assert [view.name for view in VIEWS][:2] == ["atlas", "head"]
    for view in VIEWS:
        assert (REPOSITORY / "app" / "views" / f"{view.name}.py").is_file()
        assert view.needs in ("run", "nothing")
    assert len({view.order for view in VIEWS}) == len(VIEWS)


def test_no_page_imports_anything_heavy():
    ours = "app.widgets, app.views, app.cache, app.guide, app.left_column"
    code = f"import sys, {ours}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_process_that_guards_a_job_draws_nothing():
    drawing = (*HEAVY, "streamlit", "altair")
    code = f"import sys, app.hosted.limited; print([name for name in {drawing} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_first_look_is_the_language_demo_until_there_is_a_run_of_ones_own():
    runs = pd.DataFrame({
        "run_id": ["v", "l", "old-l"], "status": ["complete"] * 3, "model": ["demo-vision", *["demo-language"] * 2],
        "created": ["2026-03", "2026-02", "2026-01"],
    })  # fmt: skip
    assert first_look(runs) == "l"
    assert first_look(runs.assign(model=["mine", "demo-language", "demo-language"])) == "v"
    assert first_look(runs.assign(status=["complete", "damaged: x", "partial"])) == "v"
    assert first_look(runs.iloc[:0]) is None


def test_main_stays_short():
    assert len(Path(MAIN).read_text().splitlines()) < 60


def unpack(message: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """What `unpack` of shared.js does."""
    length = int.from_bytes(message[:4], "little")
    header = json.loads(message[4 : 4 + length])
    body = message[4 + length :]
    parts = {
        part["name"]: np.frombuffer(body[part["offset"] : part["offset"] + part["bytes"]], part["type"])
        for part in header["sections"]
    }
    assert (4 + length) % 4 == 0
    assert all(part["offset"] % 4 == 0 for part in header["sections"])
    return header, parts


def test_packed_arrays_come_back_bit_for_bit():
    sent = {"a": np.linspace(0, 1, 7, dtype=np.float32), "b": np.arange(5, dtype=np.uint32), "c": b"\x89PNG\x00"}
    header, got = unpack(pack({"words": ["naïve 😀", "<b>"], "n": np.int64(3)}, sent))
    assert header["words"] == ["naïve 😀", "<b>"]
    assert header["n"] == 3
    np.testing.assert_array_equal(got["a"], sent["a"])
    np.testing.assert_array_equal(got["b"], sent["b"])
    assert got["c"].tobytes() == sent["c"]


def test_digest_changes_with_header_and_with_arrays():
    base = {"a": np.zeros(3, dtype=np.float32)}
    digests = {
        unpack(pack(header, sections))[0]["digest"]
        for header, sections in (({"x": 1}, base), ({"x": 2}, base), ({"x": 1}, {"a": np.ones(3, dtype=np.float32)}))
    }
    assert len(digests) == 3
    assert unpack(pack({"x": 1}, base))[0]["digest"] in digests


def test_pack_refuses_what_the_browser_cannot_read():
    with pytest.raises(ValueError, match="float64"):
        pack({}, {"a": np.zeros(2)})
    with pytest.raises(ValueError, match="JSON"):
        pack({"x": float("nan")}, {})


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("QK_ATLAS_RUNS", str(tmp_path))
    return tmp_path


def open_page(**query: str) -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def sentences(app: AppTest) -> list[str]:
    """What `widgets.say` wrote, as it is read."""
    return [unescape(re.sub(r"<[^>]+>", "", each.proto.body)) for each in app.get("html")]


def test_without_runs_the_page_points_to_a_new_one(runs):
    app = open_page()
    assert not app.exception
    assert any("No run yet" in each.value for each in app.markdown)
    assert [button.label for button in app.button] == ["New run"]


def test_the_newest_run_is_shown_and_its_sentence_is_counted(runs):
    make_synthetic_run(runs, "one", n_layers=2, n_heads=3)
    app = open_page()
    assert not app.exception
    assert app.selectbox(key="pick_run").value in (None, "one")
    assert any("6 heads" in sentence for sentence in sentences(app))


def test_a_run_without_maps_is_shown_as_far_as_it_goes(runs):
    make_synthetic_run(runs, "bare", with_projection=False)
    app = open_page(run="bare")
    assert not app.exception
    assert not app.error


def test_a_picker_writes_to_the_address(runs):
    make_synthetic_run(runs, "one")
    app = open_page(run="one")
    app.selectbox(key="pick_colour").select("length").run()
    assert "".join(app.query_params["colour"]) == "length"
    assert app.selectbox(key="pick_colour").value == "length"


def test_hostile_words_in_a_link_are_shown_as_text(runs):
    make_synthetic_run(runs, "one")
    app = open_page(run="one", site="<img src=x onerror=alert(1)>[a](javascript:alert(1))")
    assert not app.exception
    assert "\\<img" in app.warning[0].value
    assert "\\[a\\]\\(" in app.warning[0].value
