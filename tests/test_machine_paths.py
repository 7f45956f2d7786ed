"""Where a model and its data lie on this machine stands in no file of a run, in no export and on no page."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pyarrow import parquet
from streamlit.testing.v1 import AppTest

import analysis
from analysis.store import export_run, open_run
from tests.inputs.conftest import make_vision_model

TELLING = "telling-folder"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A run of a model and images, one of them broken, in folders of a telling name."""
    folder = tmp_path_factory.mktemp(TELLING) / TELLING
    seeing = make_vision_model()
    seeing.module.save_pretrained(folder / "viewer")
    seeing.processor.save_pretrained(folder / "viewer")
    (folder / "pictures" / "kind").mkdir(parents=True)
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / "kind" / f"{number}.png")
    (folder / "pictures" / "bad.png").write_bytes(b"no picture")
    out = tmp_path_factory.mktemp("runs")
    model, data = folder / "viewer", folder / "pictures"
    analysis.extract(model=model, data=data, out_dir=out, run_id="images", projection=["pca"]).close()
    return out


def hold(folder: Path) -> list[str]:
    """Files that say the telling name, in their bytes or in what they hold packed."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".parquet":
            table = parquet.read_table(path)
            content += f"{table.schema} {table.schema.metadata} {table.to_pandas().to_csv()}".encode()
        if path.suffix == ".zip":
            zipfile.ZipFile(path).extractall(folder / "unpacked")
            found += hold(folder / "unpacked")
        if TELLING.encode() in content or TELLING in str(path.relative_to(folder)):
            found.append(path.name)
    return found


def test_no_file_of_a_run_or_of_an_export_says_where_things_lie(runs, tmp_path):
    assert len(list((runs / "images").iterdir())) > 1
    assert hold(runs / "images") == []
    with open_run("images", runs) as run:
        assert [name for name, _ in run.manifest["skipped"]] == ["bad.png"]
        tables = [run.sql(f"SELECT * FROM {table}") for table in ("meta", "inputs", "tokens", "projections")]
        assert TELLING not in "".join(table.to_csv() for table in tables)
        export_run(run, tmp_path / "out.zip", "csv")
        for format in ("parquet", "csv", "safetensors"):
            export_run(run, tmp_path / format, format)
    assert (tmp_path / "safetensors" / "manifest.json").exists()
    assert hold(tmp_path) == []
    pd.DataFrame({"text": [TELLING]}).to_parquet(tmp_path / "parquet" / "more.parquet")
    assert hold(tmp_path) == ["more.parquet"]


def draw(name: str, link: dict) -> None:
    """A page for AppTest, which runs this text by itself."""
    import streamlit as st

    from app import cache
    from app.state import read_link, resolve
    from app.views import VIEWS

    st.query_params.from_dict(link)
    selection = resolve(read_link(link)[0], cache.facts(link["run"]))[0]
    next(view for view in VIEWS if view.name == name).render(selection)


@pytest.mark.parametrize("name", ["runs", "input"])
def test_no_page_says_where_things_lie(runs, name, monkeypatch):
    monkeypatch.setenv("QK_ATLAS_RUNS", str(runs))
    link = {"run": "images", "row": "images", "form": "1"}
    page = AppTest.from_function(draw, args=(name, link), default_timeout=90).run()
    assert not page.exception
    said = repr(page) + "".join(table.value.to_string() for table in page.dataframe)
    if name == "runs":
        assert "pictures" in said, "the data's own name is shown"
    assert TELLING not in said
    assert str(runs) not in said
