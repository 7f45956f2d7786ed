"""What capturing and storing cost beside the plain forward pass, what a run weighs, and how fast it reads.

Every figure is a ratio or a median from one run of this script on one machine; forward passes alternate, so that a
noisy neighbour hits them all.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from analysis.capture import make_plan
from analysis.capture.batch import forward, pad
from analysis.engines.local import batches, capture_into
from analysis.inputs import encode, read_data
from analysis.metrics import metric_names
from analysis.models import load_model
from analysis.pipeline.head_scores import score_heads
from analysis.pipeline.samples import MapsOfSample
from analysis.pipeline.sinks import measure_sinks, special_tokens
from analysis.pipeline.token_facts import token_facts
from analysis.progress import silent
from analysis.store import RunWriter, open_run
from tests.benchmarks.real_heads import sentences
from tests.model_folders import minilm

N_TOKENS = 5000


def run(quick: bool = False) -> str:
    """Measure and return a markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        # First: a process takes over the peak memory of the one that starts it.
        memory = _memory_rows(Path(folder))
        rows = _extraction_rows(Path(folder), repeats=2 if quick else 5)
        rows += _many_heads_rows(Path(folder), repeats=2 if quick else 3)
        rows += _growth_rows(Path(folder), repeats=1 if quick else 3)
        rows += memory
    lines = ["| what | measured | budget |", "|---|---|---|"]
    return "\n".join(lines + [f"| {what} | {measured} | {budget} |" for what, measured, budget in rows])


def _extraction_rows(folder: Path, repeats: int) -> list[tuple[str, str, str]]:
    loaded, inputs, plan = _prepared(folder, _texts(N_TOKENS))
    groups = list(batches(range(len(inputs)), inputs.n_tokens, sum(site.n_heads for site in plan.sites)))
    tensors = [[inputs.tensors(i) for i in group] for group in groups]
    stored = _Extraction(folder, loaded, plan, inputs, "bare")
    unscored = _Extraction(folder, loaded, plan, inputs, "unscored")
    scored = _Extraction(folder, loaded, plan, inputs, "scored")
    whole = _Extraction(folder, loaded, plan, inputs, "whole")

    def plain() -> None:
        for group in tensors:
            forward(loaded, pad(loaded, group)[0])

    def eager() -> None:
        loaded.module.set_attn_implementation("eager")
        for group in tensors:
            forward(loaded, {**pad(loaded, group)[0], "output_attentions": True})
        loaded.module.set_attn_implementation("sdpa")

    times = _alternating([plain, stored, unscored, scored, scored.finish, whole, whole.find_sinks, eager], repeats)
    of = {call: statistics.median(of_call) for call, of_call in times.items()}
    n_tokens, n_heads = int(inputs.inputs["n_tokens"].sum()), sum(site.n_heads for site in plan.sites)
    title = f"MiniLM, {len(inputs)} texts, {n_tokens:,} tokens"
    return [
        (f"plain forward pass ({title})", f"{of[plain]:.2f} s", ""),
        ("capture and storage of q and k, no scores / plain", f"{of[stored] / of[plain]:.2f}x", "1.15x at most"),
        (
            "what `extract` does while capturing: attention, all scores of every head and residual states too / plain",
            f"{of[whole] / of[plain]:.2f}x",
            "",
        ),
        (
            "figures of residual states: what they add while capturing / plain",
            f"{(of[whole] - of[scored]) / of[plain]:.2f}x",
            "0.2x at most",
        ),
        ("the table of sinks, after capturing / plain", f"{of[whole.find_sinks] / of[plain]:.2f}x", ""),
        (
            f"all scores of {n_heads} heads: what they add while capturing, attention stored in any case / plain",
            f"{(of[scored] - of[unscored]) / of[plain]:.2f}x",
            "",
        ),
        (
            "intervals, probes and the sample of inputs, after capturing / plain",
            f"{of[scored.finish] / of[plain]:.2f}x",
            "",
        ),
        ("eager forward with output_attentions, nothing kept / plain", f"{of[eager] / of[plain]:.2f}x", "(instead)"),
        *_reading_rows(stored.publish()),
    ]


class _Extraction:
    """The extraction stage into a new run each time it is called.

    Args:
        kind: ``bare`` (queries and keys alone), ``unscored`` (attention as `extract` keeps it), ``scored`` (with all
            scores), or ``whole`` (with residual states too, as `extract` does it).
    """

    def __init__(self, folder: Path, loaded, plan, inputs, kind: str) -> None:
        self.folder, self.loaded, self.plan, self.inputs = folder, loaded, plan, inputs
        self.kind, self.number = kind, 0
        self.facts = token_facts(inputs, loaded.processor)
        self.writer: RunWriter | None = None
        self.maps: MapsOfSample | None = None

    def __call__(self) -> float:
        if self.writer is not None:
            self.writer.close()
        self.number += 1
        self.writer = RunWriter.open(self.folder, f"{self.kind}-{self.number}", {"number": self.number})
        plan, inputs = self.plan, self.inputs
        self.writer.put_plan(plan.sites, plan.key_offsets, plan.sink_logits, plan.certificate)
        self.writer.put_inputs(inputs.inputs, inputs.tokens, inputs.token_columns)
        began = time.perf_counter()
        self.maps = MapsOfSample(plan, inputs, seed=0)
        is_scored = self.kind in ("scored", "whole")
        watch = self.maps.take if is_scored else None
        capture_into(
            self.writer, self.loaded, plan, inputs, attention="recompute" if self.kind == "bare" else "auto",
            metrics=metric_names() if is_scored else [], facts=self.facts, watch=watch, states=self.kind == "whole",
            report=silent,
        )  # fmt: skip
        return time.perf_counter() - began

    def finish(self) -> float:
        """What follows the capture: intervals over inputs, probes, the sample."""
        began = time.perf_counter()
        score_heads(self.writer, self.loaded, self.plan, self.inputs, seed=0, maps=self.maps, report=silent)
        self.maps = None  # used up
        return time.perf_counter() - began

    def find_sinks(self) -> float:
        """The table of sinks, from what was captured."""
        began = time.perf_counter()
        measure_sinks(self.writer, special_tokens(self.loaded.processor), seed=0, report=silent)
        return time.perf_counter() - began

    def publish(self) -> Path:
        with self.writer as writer:
            return writer.publish({})


def _reading_rows(path: Path) -> list[tuple[str, str, str]]:
    with open_run(path) as opened:
        sites, n_tokens = opened.sites, opened.manifest["n_tokens"]
        raw = sum(2 * n_tokens * site.d_head * (site.n_heads + site.n_kv_heads) for site in sites)
        blobs = opened.sql("SELECT count(*) AS n FROM vectors")["n"].iloc[0]
        size = (path / "run.duckdb").stat().st_size
        opened.queries(sites[0], 0)
        heads = [(site, head) for site in sites for head in range(site.n_heads)]
        one_head = _median_ms([lambda s=s, h=h: (opened.queries(s, h), opened.keys(s, h)) for s, h in heads])
        one_input = _median_ms([lambda i=i: opened.attention_all(i) for i in range(40)])
    return [
        ("q, k and value norms on disk / raw fp16 q and k", f"{_vectors_bytes(path) / raw:.3f}x", "1.05x at most"),
        (f"the whole file / raw fp16 q and k ({blobs:,} rows)", f"{size / raw:.3f}x", ""),
        ("q and k of one head, connection open", f"{one_head:.1f} ms", "10 ms at most"),
        ("attention of all 72 heads on one input, recomputed", f"{one_input:.1f} ms", "100 ms at most"),
    ]


def _vectors_bytes(path: Path) -> int:
    """What the blocks that hold the table of vectors take, tokens and inputs apart."""
    import duckdb

    with duckdb.connect(path / "run.duckdb", read_only=True) as connection:
        block_size = connection.execute("SELECT block_size FROM pragma_database_size()").fetchone()[0]
        n_blocks = connection.execute(
            "SELECT count(DISTINCT block) FROM (SELECT block_id AS block FROM pragma_storage_info('vectors') "
            "WHERE persistent UNION SELECT unnest(additional_block_ids) FROM pragma_storage_info('vectors'))"
        ).fetchone()[0]
    return n_blocks * block_size


def _growth_rows(folder: Path, repeats: int) -> list[tuple[str, str, str]]:
    """Twice the texts of one length: the time must no more than double."""
    text = "The old sailor watched the lamp on the hill and thought about the long way home to the harbour. "
    extractions = []
    for n_texts in (200, 400):
        loaded, inputs, plan = _prepared(folder, [f"{number} {text}" for number in range(n_texts)])
        extractions.append(_Extraction(folder / f"growth-{n_texts}", loaded, plan, inputs, "scored"))
    times = _alternating(extractions, repeats)
    once, twice = (statistics.median(times[extraction]) for extraction in extractions)
    return [("extraction of twice the tokens at fixed length", f"{twice / once:.2f}x", "2.2x at most")]


def _memory_rows(folder: Path) -> list[tuple[str, str, str]]:
    """Peak memory of the whole command on 1,000 and on 4,000 texts of one length: what the data itself adds."""
    text = "The old sailor watched the lamp on the hill and thought about the long way home to the harbour. "
    peaks = []
    for n_texts in (1000, 4000):
        data = folder / f"memory-{n_texts}.txt"
        data.write_text("\n".join(f"{number} {text}" for number in range(n_texts)), encoding="utf-8")
        code = (
            "import resource, analysis; "
            f"analysis.extract(model='demo-language', data={str(data)!r}, out_dir={str(folder)!r}, projection=[]); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout.split()[-1]))
    few, many = peaks
    return [("peak memory, 1,000 texts / 4,000 texts", f"{few:.0f} MB / {many:.0f} MB", "bounded by the batch")]


def _many_heads_rows(folder: Path, repeats: int) -> list[tuple[str, str, str]]:
    """What all scores of 144 heads add, on an untrained model of the size of BERT-base: the cost is that of any."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    model = folder / "bert-base-size"
    BertModel(BertConfig()).save_pretrained(model)
    AutoTokenizer.from_pretrained(minilm()).save_pretrained(model)
    loaded, inputs, plan = _prepared(folder, _texts(N_TOKENS), model)
    bare = _Extraction(folder / "large", loaded, plan, inputs, "bare")
    unscored = _Extraction(folder / "large", loaded, plan, inputs, "unscored")
    scored = _Extraction(folder / "large", loaded, plan, inputs, "scored")
    groups = list(batches(range(len(inputs)), inputs.n_tokens, 144))
    tensors = [[inputs.tensors(i) for i in group] for group in groups]

    def plain() -> None:
        for group in tensors:
            forward(loaded, pad(loaded, group)[0])

    times = _alternating([plain, bare, unscored, scored, scored.finish], repeats)
    of = {call: statistics.median(of_call) for call, of_call in times.items()}
    adds = (of[scored] - of[unscored]) / of[plain]
    title = f"BERT-base size, 144 heads, {int(inputs.inputs['n_tokens'].sum()):,} tokens, plain {of[plain]:.1f} s"
    return [
        (
            f"capture and storage of q and k, no scores / plain ({title})",
            f"{of[bare] / of[plain]:.2f}x",
            "1.15x at most",
        ),
        (f"all scores: what they add while capturing / plain ({title})", f"{adds:.2f}x", "0.5x at most"),
        ("intervals, probes and the sample of inputs, after it / plain", f"{of[scored.finish] / of[plain]:.2f}x", ""),
    ]


def _prepared(folder: Path, texts: list[str], model: Path | None = None):
    data = folder / f"texts-{len(texts)}.txt"
    data.write_text("\n".join(texts), encoding="utf-8")
    raw = read_data(data)
    loaded = load_model(model or minilm(), modality="text")
    inputs = encode(raw, loaded)
    longest = int(np.argmax(inputs.inputs["n_tokens"].to_numpy()))
    return loaded, inputs, make_plan(loaded, inputs.tensors(longest))


def _texts(n_tokens: int) -> list[str]:
    """Sentences that come to about `n_tokens` word pieces (1.35 a word, with CLS and SEP)."""
    chosen, total = [], 0.0
    for text in sentences():
        chosen.append(text)
        total += 1.35 * len(text.split()) + 2
        if total >= n_tokens:
            break
    return chosen


def _alternating(calls: list[Callable], repeats: int) -> dict[Callable, list[float]]:
    times: dict[Callable, list[float]] = {call: [] for call in calls}
    for repeat in range(repeats + 1):
        for call in calls:
            began = time.perf_counter()
            own = call()
            elapsed = own if isinstance(own, float) else time.perf_counter() - began
            if repeat:  # the first round warms up
                times[call].append(elapsed)
    return times


def _median_ms(calls: list[Callable]) -> float:
    times = []
    for call in calls:
        began = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)
