"""Beyond one process: a thousand shards merged and opened, what the ray engine costs beside the local one, and one text
of 16,000 tokens from the model to the reader.

Engines alternate within one run and are compared by medians, on the same batches. Memory is the peak of a process of
its own (``ru_maxrss``).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
N_SHARDS, PER_SHARD = 1000, 8
LONG_TOKENS = 16_000

MERGE = """
import resource, sys, time
import numpy as np
from analysis.engines.merging import Merging
from analysis.progress import silent
from analysis.store import RunWriter, open_run
from analysis.store.shards import Shards
from tests.benchmarks.bench_scale import PER_SHARD, groups_of, made_shards
folder, n = sys.argv[1], int(sys.argv[2])
with RunWriter.open(folder, f"run-{n}", {"n": n}) as writer:
    made_shards(writer, Shards(str(writer.shards_path)), n)
    began, spent = time.perf_counter(), time.process_time()
    merging = Merging(writer, Shards(str(writer.shards_path)), groups_of(n), {}, list, silent, n * PER_SHARD)
    merging.merge()
    assert merging.is_done
    merged, spent = time.perf_counter() - began, time.process_time() - spent
    path = writer.publish({"model": "m"})
    published = time.perf_counter() - began - merged
began = time.perf_counter()
with open_run(path) as run:
    rows = run.sql("SELECT count(*) AS n, count(DISTINCT (input_id, site, head)) AS d FROM vectors").iloc[0].tolist()
    assert rows == [n * PER_SHARD * 4] * 2, rows
    run.queries("a#0", 1)
opened = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(merged, spent, published, opened, peak / 1024, (path / "run.duckdb").stat().st_size / 1e6)
"""

LONG = """
import json, resource, sys, time
import numpy as np
import analysis
folder = sys.argv[1]
stages, began = {}, time.process_time()
def report(progress):
    stages[progress.stage] = (time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
run = analysis.extract(model=folder + "/model", data=folder + "/long.txt", out_dir=folder + "/runs",
                       projection=["linear", "atlas"], run_id="long", report=report)
first = time.process_time()
site, n = run.sites[0], run.manifest["n_tokens"]
for begin in range(0, n, 2000):
    weights, allowed = run.attention_among(site, 0, 0, np.arange(begin, min(begin + 200, n)))
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-4)
windows = time.process_time() - first
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([n, stages, windows, peak]))
"""


def run(quick: bool = False) -> str:
    """Measure and return a markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        rows = _merge_rows(Path(folder), 200 if quick else N_SHARDS)
        rows += _engine_rows(Path(folder), repeats=1 if quick else 3)
        rows += _long_rows(Path(folder), 4000 if quick else LONG_TOKENS)
    lines = ["| what | measured | budget |", "|---|---|---|"]
    return "\n".join(lines + [f"| {what} | {measured} | {budget} |" for what, measured, budget in rows])


def _merge_rows(folder: Path, n: int) -> list[tuple[str, str, str]]:
    found = {}
    for n_shards in (n // 4, n):
        printed = _output([MERGE, str(folder), str(n_shards)])
        found[n_shards] = [float(word) for word in printed.split()[-6:]]
    merged, spent, published, opened, peak, size = found[n]
    fewer = found[n // 4]
    return [
        (
            f"{n:,} shards of {PER_SHARD} inputs, 4 heads ({size:.0f} MB) merged",
            f"{merged:.1f} s, {spent:.1f} s of CPU",
            "",
        ),
        ("a fourth of them: the growth in CPU", f"{spent / fewer[1]:.1f}x", "about 4x"),
        ("published and checksummed / opened and one head read", f"{published:.1f} s / {1000 * opened:.0f} ms", ""),
        ("peak memory of the merge, all / a fourth of them", f"{peak:.0f} / {fewer[4]:.0f} MB", "bounded by a shard"),
    ]


def _engine_rows(folder: Path, repeats: int) -> list[tuple[str, str, str]]:
    """Capture alone, from the first report of it to the last, workers started and models loaded; and all of it."""
    import analysis
    from analysis.engines.ray_cluster import connected

    texts = folder / "texts.txt"
    line = "The old sailor watched the lamp on the hill and thought about the long way home to the harbour. "
    texts.write_text("\n".join(f"{number} {line * 3}" for number in range(200)), encoding="utf-8")
    times: dict[str, list[tuple[float, float]]] = {"local": [], "ray": []}
    with connected(2):
        for repeat in range(repeats + 1):
            for engine in times:
                seen: list[tuple[int, float]] = []

                def report(progress, seen=seen) -> None:
                    if progress.stage == "capture":
                        seen.append((progress.done, time.perf_counter()))

                began = time.perf_counter()
                options = {"workers": 2} if engine == "ray" else {}
                name = f"{engine}-{repeat}"
                analysis.extract(
                    model="demo-language", data=texts, out_dir=folder / name, projection=[], engine=engine,
                    run_id=name, report=report, **options,
                ).close()  # fmt: skip
                whole = time.perf_counter() - began
                done = [at for n, at in seen if n > 0]
                if repeat:  # the first round warms up
                    share = (seen[-1][0] - next(n for n, _ in seen if n > 0)) / seen[-1][0]
                    times[engine].append((whole, (done[-1] - done[0]) / share))
    (local, local_capture), (ray, ray_capture) = (
        [statistics.median(of) for of in zip(*times[engine], strict=True)] for engine in times
    )
    return [
        (
            "the whole extract, 200 texts of 128 tokens: --engine ray with 2 workers / local",
            f"{ray / local:.2f}x ({local:.1f} s)",
            "",
        ),
        ("its capture alone, once workers are at work / local", f"{ray_capture / local_capture:.2f}x", ""),
        ("starting two workers, which load the model", f"{ray - local - (ray_capture - local_capture):.1f} s", ""),
    ]


def _long_rows(folder: Path, n_tokens: int) -> list[tuple[str, str, str]]:
    import json

    save_long(folder, n_tokens)
    n, stages, windows, peak = json.loads(_output([LONG, str(folder)]).splitlines()[-1])
    parts = list(stages.items())
    spent = [f"{name} {at - before[0]:.0f} s" for (name, (at, _)), (_, before) in zip(parts[1:], parts, strict=False)]
    return [
        (f"one text of {n:,} tokens, 1 layer of 1 head: peak memory of everything", f"{peak:.0f} MB", "stated"),
        ("one head's attention of it in fp32 alone", f"{4 * n * n / 1e6:.0f} MB", ""),
        ("CPU seconds by stage", ", ".join(spent), ""),
        ("8 windows of 200 queries read back", f"{windows:.1f} s", ""),
    ]


def save_long(folder: Path, n_tokens: int, n_heads: int = 1) -> None:
    """A random Llama-style model that takes so many tokens, as ``model``, and a text that is longer, ``long.txt``."""
    import numpy as np
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaModel

    from analysis.models import BUNDLED_MODELS

    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_MODELS["demo-language"])
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16 * n_heads, intermediate_size=48, num_hidden_layers=1,
        num_attention_heads=n_heads, num_key_value_heads=1, max_position_embeddings=n_tokens,
    )  # fmt: skip
    LlamaModel(config).save_pretrained(folder / "model")
    tokenizer.model_max_length = n_tokens
    tokenizer.save_pretrained(folder / "model")
    sentences = ("Mary gave the red ball to John.", "Anna saw a dog near the water, and the cat stands.")
    drawn = np.random.default_rng(0).integers(0, 2, n_tokens // 5)
    (folder / "long.txt").write_text(" ".join(sentences[i] for i in drawn) + "\n", encoding="utf-8")


def groups_of(n_shards: int) -> list[list[int]]:
    """The inputs of each shard."""
    return [list(range(first, first + PER_SHARD)) for first in range(0, n_shards * PER_SHARD, PER_SHARD)]


def made_shards(writer, shards, n_shards: int) -> None:
    """Plan, inputs, and shards of 6 tokens an input and 4 heads, with scores and sums."""
    import numpy as np

    from analysis.store.batch_rows import batch_rows
    from analysis.store.shards import run_digest, shard_name
    from tests.store import batches

    writer.put_plan([batches.SITE], {}, {}, {})
    writer.put_inputs(*batches.tables(n_shards * PER_SHARD), {})
    shards.make()
    of_run = run_digest(writer.spec, {})
    offsets = {"a#0": np.zeros((batches.N_HEADS, batches.D_HEAD), np.float32)}
    for group in groups_of(n_shards):
        captures = [[batches.capture(i)] for i in group]
        sums = {("offset", 0): np.full((3, 2), 1 / (group[0] + 3))}
        rows = batch_rows(captures, [batches.SITE], offsets, batches.scores(group), lambda capture: False, sums)
        shards.put(shard_name(of_run, group), rows)


def _output(arguments: list[str]) -> str:
    done = subprocess.run([sys.executable, "-c", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout
