"""The data card of an export: what is in the folder, what made it, how exactly, and whose it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from analysis.provenance import certificate_sentences, made_by
from analysis.store.export.attention import Matrices
from analysis.store.run import Run
from analysis.types import VISION_AND_TEXT

_MEANINGS = {
    "sites": "One row an attention call: its heads, its scale, its mask (`band_left`, `band_right`: how far a query "
    "looks back and ahead, in tokens; empty = without bound) and, where an input is two sequences, whose tokens its "
    "queries and its keys are (`query_sequence`, `key_sequence`; the column `sequence` of tokens).",
    "inputs": "One row an input.",
    "tokens": "One row a token; its place in this table is its point in every vector. Columns of the data ride along.",
    "head_scores": "What each head does: value, 95 % interval over inputs, null baseline, number of inputs.",
    "head_input_scores": "The same for every input.",
    "head_profiles": "Mean attention by offset and by distance, of every head.",
    "head_places": "Arrangements of the heads by likeness.",
    "token_scores": "Scores of tokens in heads.",
    "sinks": "Which tokens swallow attention: one row a site, head and position, class or string of the token.",
    "sink_cuts": "A measure on an input before and after sinks were cut: one row a cut, input and measure.",
    "projections": "The joint maps: method, target, parameters, seed.",
    "fidelity": "How faithful each map is: one row a map, site, head and measure.",
    "coordinates": "Places of queries and keys in the maps.",
    "key_offsets": "What was subtracted from the keys of a head.",
}


def data_card(run: Run, tables: Mapping[str, int], format: str, matrices: Sequence[Matrices]) -> str:
    """The text of ``README.md``, with a head that the library `datasets` reads.

    Args:
        tables: Rows of every table that was written, by name.
        format: As of `export_run`.
        matrices: Whose attention was written.
    """
    made = dict(made_by(run.manifest))
    ending = "csv" if format == "csv" else "parquet"
    parts = [
        _front(tables, ending) if tables and ending == "parquet" else "",
        f"# {run.run_id}: {_code(made.get('Model', 'a model'))} on {_code(made.get('Data', 'its data'))}\n",
        "Queries, keys and attention of every head, with what was computed from them, exported from QK Atlas.\n",
        "## What made it\n",
        "\n".join(f"- {name}: {_code(value)}" for name, value in made.items()) + "\n",
        *(f"- Note: {_code(note)}\n" for note in run.manifest.get("notes") or []),
        "## How exactly\n",
        "\n".join(f"- {said}" for said in _exactly(run)) + "\n",
        "## Files\n",
        *(
            ["\n".join(_own_files(run, format)) + "\n"]
            if format in ("run", "bundle")
            else [
                "\n".join(_files(tables, ending, format, matrices, run)) + "\n",
                "## Vectors and attention\n",
                "\n".join(_how_to_read(format, matrices)) + "\n",
            ]
        ),
        "## Whose it is\n",
        "The model and the data have licences of their own, and this folder holds the texts or images themselves: "
        "before you pass it on, see that both licences allow it and that nothing in the data is private.\n",
    ]
    return "\n".join(part for part in parts if part)


def _own_files(run: Run, format: str) -> list[str]:
    run_itself = f"- `{run.run_id}/`: the run itself. `python -m analysis import` brings it into another QK Atlas."
    if format == "run":
        return [run_itself]
    return [
        "- `index.html`: open it in a browser; it needs no server and no network. What stands behind the address of a "
        "QK Atlas (`/head?run=…`) stands here behind `#`.",
        "- `viewer/`: the viewer; `data/`: what it shows.",
        run_itself,
    ]


def _front(tables: Mapping[str, int], ending: str) -> str:
    """YAML that names every table as a configuration."""
    configurations = [f"- config_name: {name}\n  data_files: {name}.{ending}" for name in tables]
    return "\n".join(["---", "tags:", "- attention", "- interpretability", "configs:", *configurations, "---", ""])


def _exactly(run: Run) -> list[str]:
    said = certificate_sentences(run.certificate) or ["This run has no certificate: it was not captured from a model."]
    left_out = run.certificate.get("left_out") or {}
    return [*said, *(f"Left out: {_code(site)} ({_code(reason)})." for site, reason in left_out.items())]


def _files(tables: Mapping[str, int], ending: str, format: str, matrices: Sequence[Matrices], run: Run) -> list[str]:
    said = [f"- `{name}.{ending}` ({n:,} rows): {_MEANINGS[name]}" for name, n in tables.items()]
    said.append("- `manifest.json`: what made the run, for programs.")
    if run.mapped_sites and format == "parquet":
        said.append("- `vectors/site=N/`: one row a head and token: `q`, `k`, `v_norm`; N is `site` of the sites.")
    if run.mapped_sites and format == "safetensors":
        said.append(
            "- `site-NNN.safetensors`: `q` [head, token, d_head], `k` [kv_head, token, d_head], `key_offset`, "
            "`value_norms`; NNN is `site` of the sites, the rest of a site is in the file's metadata."
        )
    if matrices:
        said.append(f"- {_ATTENTION_FILES[format]}")
    if run.modality in ("vision", VISION_AND_TEXT):
        said.append("- `images/ID.png`: what the model saw of an input.")
    return said


_ATTENTION_FILES = {
    "parquet": "`attention/site=N/`: attention, one row a head, input and query.",
    "csv": "`attention-NNN.csv`: attention, one row a weight; NNN is `site` of the sites.",
    "safetensors": "`attention-NNN-part-P.safetensors`: attention by input; NNN is `site` of the sites.",
}


def _how_to_read(format: str, matrices: Sequence[Matrices]) -> list[str]:
    said = []
    if format == "csv":
        said.append("- Vectors are not in this format: export as parquet or safetensors for them.")
    else:
        said.append(
            "- Queries and keys are those of the attention call: after rotary embedding, where the model has it. From "
            "every key its head's key offset was subtracted, which leaves the softmax as it is: add it back for the "
            "keys themselves. Heads that share keys (`n_kv_heads` < `n_heads`) have theirs once, with the first of "
            "them."
        )
    if not matrices:
        said.append("- Attention is not here: `--attention` writes it, for the sites and inputs that are named.")
        return said
    counts = {each.top_k for each in matrices}
    if None in counts:
        said.append(
            "- Whole attention: the weight of a query on every key of the input, in order of position; 0 where it may "
            "not attend (rows of a CSV: only where it may). Recomputed from 16-bit queries and keys where it is not "
            "stored, within 2e-3."
        )
    for top_k in sorted(counts - {None}):
        said.append(
            f"- The {top_k} strongest weights of a query alone, by falling size, with the positions of their keys. "
            "`retained` (0 to 1) is their share of the row's whole weight: what is not here is the rest."
        )
    if any(each.site.is_signed for each in matrices):
        said.append(
            "- Sites whose route is implicit are state-space layers: their attention is signed, and rows do not sum to "
            "1."
        )
    return said


def _code(value: object) -> str:
    """Words of a model or of data, which are anybody's, as code: no markup of theirs is read."""
    text = " ".join(str(value).split()).replace("`", "'")
    return f"`{text}`" if text else "–"


def manifest_text(run: Run) -> str:
    """The manifest as indented JSON."""
    return json.dumps(run.manifest, indent=1, sort_keys=True) + "\n"
