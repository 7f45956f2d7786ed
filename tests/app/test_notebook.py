"""The notebook that is shipped, and the lines of the README, do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from tests.app.test_plots import add_profiles
from tests.sinks.run_with_states import make_run_with_states

ROOT = Path(__file__).parents[2]
NOTEBOOK, README = ROOT / "app" / "docs" / "first_look.ipynb", ROOT / "README.md"
MOST_LINES = 6


def test_the_notebook_and_the_lines_of_the_readme_run_without_streamlit_or_torch(tmp_path, monkeypatch):
    """One kernel, started where the notebook lies, on a run of the name that both open."""
    run = make_run_with_states(
        tmp_path, "demo-language-synthetic", n_inputs=2, n_tokens=16, n_layers=2, n_heads=4, causal=True
    )
    add_profiles(run, {"offset": [(x, 0) for x in range(12)]})
    monkeypatch.setenv("QK_ATLAS_RUNS", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))  # not the history of whoever runs this
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    shipped = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in shipped)  # stripped
    block = re.compile(r"^## In a notebook$.*?^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    lines = block.search(README.read_text("utf-8"))
    assert len([line for line in lines[1].splitlines() if line.strip()]) <= MOST_LINES
    loaded = new_code_cell("import sys; sorted({'streamlit', 'torch', 'transformers', 'altair'} & set(sys.modules))")
    notebook.cells += [new_code_cell(f"os.chdir({str(tmp_path)!r})"), new_code_cell(lines[1]), loaded]
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    said = {cell.source: output.data for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs}
    assert said[loaded.source]["text/plain"] == "['altair']"
    drawn = [source for source, data in said.items() if "vega" in data.get("text/html", "")]
    assert len(drawn) == sum("plots." in cell.source for cell in shipped)
    assert said[shipped[-1].source]["text/plain"].count("figure.") == 2  # the SVG and the PNG
    saved = (tmp_path / re.search(r'\.save\("(.+?)"\)', lines[1])[1]).read_text("utf-8")
    assert "[CLS]" in saved
    assert not re.search(r"(href|url\()[\"']?https?:", saved)  # nothing is fetched
