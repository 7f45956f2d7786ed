"""The commands that read: runs, scores, export, verify, doctor."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from analysis.cli.arguments import add_loading, add_runs_dir, command, loading, positive, print_table, reporting
from analysis.errors import CaptureRefused, RunError, UserError

KINDS = ("class", "position", "token", "learned")
"""What the rows of the table of sinks stand for, as `analysis.sinks.groups` names them."""

_SIGNS = {" ": "␣", "\n": "⏎", "\r": "⏎", "\t": "⇥"}


def add_runs(commands) -> None:
    """The runs there are."""
    parser = command(commands, "runs", _runs, "List the runs.", "python -m analysis runs --json")
    add_runs_dir(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _runs(options: argparse.Namespace) -> None:
    from analysis.store import list_runs

    runs = list_runs(options.out)
    if options.json:
        print(runs.to_json(orient="records", indent=2, date_format="iso"))
    elif runs.empty:
        print("No runs yet. Make one: python -m analysis extract --model demo-language --data demo-sentences")
    else:
        print(runs.to_string(index=False))


def add_scores(commands) -> None:
    """What each head does."""
    parser = command(
        commands, "scores", _scores, "Print what each head does: value, interval and null.",
        "python -m analysis scores demo-language --metric previous_token entropy --csv",
    )  # fmt: skip
    parser.add_argument("run", metavar="RUN", help="id of the run or its folder")
    parser.add_argument("--metric", nargs="+", metavar="NAME", help="only these (default: all)")
    parser.add_argument("--labels", action="store_true", help="print the names heads have by these scores instead")
    add_runs_dir(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", action="store_true", help="print CSV")


def _scores(options: argparse.Namespace) -> None:
    from analysis import open_run
    from analysis.labels import label_heads
    from analysis.metrics import METRICS
    from analysis.metrics.importance_measures import describe

    for name in options.metric or []:
        if describe(name) is None:
            METRICS[name]
    with open_run(options.run, options.out) as run:
        table, aligned = run.head_scores(), run.head_profiles("aligned")
    if options.metric:
        table = table[table["metric"].isin(options.metric)]
    if options.labels:
        table = label_heads(table, aligned)
    print_table(table, options)


def add_sinks(commands) -> None:
    """Which tokens swallow attention."""
    parser = command(
        commands, "sinks", _sinks, "Print which tokens swallow attention, in the model and in each head.",
        "python -m analysis sinks demo-language\n"
        "  python -m analysis sinks demo-language --threshold 0.2 --exclude-own --csv",
    )  # fmt: skip
    parser.add_argument("run", metavar="RUN", help="id of the run or its folder")
    parser.add_argument(
        "--threshold", type=float, default=0.3, metavar="T",
        help="mean attention received from which a token is a sink, 0 to 1 (default: 0.3, the published one)",
    )  # fmt: skip
    parser.add_argument(
        "--exclude-own", action="store_true", help="leave a token's own query out (default: counted, as published)"
    )
    parser.add_argument(
        "--min-queries", type=positive, default=8, metavar="N",
        help="queries that must see a token, where an input has so many (default: 8)",
    )  # fmt: skip
    parser.add_argument("--by", nargs="+", choices=KINDS, metavar="KIND", help=f"only these: {', '.join(KINDS)}")
    add_runs_dir(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, a row a head and token class or position")
    parser.add_argument("--csv", action="store_true", help="print CSV, the same rows")


def _sinks(options: argparse.Namespace) -> None:
    from analysis import open_run
    from analysis.pipeline.sinks import sinks_of, sum_up_sinks
    from analysis.sinks import SinkRule

    rule = SinkRule(options.threshold, options.min_queries, counts_own=not options.exclude_own)
    with open_run(options.run, options.out) as run:
        found = sinks_of(run, rule)
        stacks = dict.fromkeys(site.stack_label for site in run.sites)
        words = {stack: sum_up_sinks(run, stack, replace(rule, counts_own=False)) for stack in stacks}
    as_rows = options.json or options.csv
    table = found.by_head if as_rows else found.overall
    if options.by:
        table = table[table["kind"].isin(options.by)]
    if not as_rows:
        print("\n".join(f"{stack}: {sentence}" for stack, sentence in words.items()), end="\n\n")
        table = table.sort_values(["kind", "rate", "score"], ascending=[True, False, False])
        strings = table["kind"].isin(["token", "position"])
        token = table["token"].fillna("(differs)").where(~strings, table["token"].fillna("(differs)").map(_visible))
        table = table.assign(token=token, position=table["position"].astype(object).fillna(""))
    print_table(table, options)


def _visible(token: str) -> str:
    """White space and control characters of a token as signs, so that a table keeps its lines."""
    shown = "".join(_SIGNS.get(letter, letter if letter.isprintable() else "\ufffd") for letter in token)
    return shown if len(shown) <= 40 else f"{shown[:39]}…"


def add_export(commands) -> None:
    """A run as files."""
    parser = command(
        commands, "export", _export, "Write a run as files for analysis elsewhere.",
        "python -m analysis export demo-language --to ./exported --format parquet\n"
        "  python -m analysis export demo-language --to out.zip --attention text.dec.self.3 --inputs 0-9 --top-k 8",
    )  # fmt: skip
    parser.add_argument("run", metavar="RUN", help="id of the run or its folder")
    parser.add_argument("--to", required=True, metavar="FOLDER", help="a new or empty folder, or a new file NAME.zip")
    parser.add_argument(
        "--format", choices=("parquet", "csv", "safetensors", "run", "bundle"), default="parquet",
        help="run: its own files, unchanged, for import elsewhere; bundle: a page that needs no server, and the run "
        "(default: parquet)",
    )  # fmt: skip
    parser.add_argument(
        "--attention", nargs="*", metavar="SITE",
        help="write attention matrices too: of these sites (labels such as text.dec.self.3), or of all where none is "
        "named (default: none, for they can be recomputed from q and k)",
    )  # fmt: skip
    parser.add_argument(
        "--inputs", metavar="0-9,12",
        help="with --attention, or in a bundle: of these inputs (default: all; in a bundle the first, up to 64 MB)",
    )  # fmt: skip
    parser.add_argument(
        "--top-k", type=positive, metavar="K",
        help="with --attention: the K strongest weights of every query, and how much of the row they are",
    )  # fmt: skip
    add_runs_dir(parser)
    parser.add_argument("--progress-file", metavar="FILE", help="write progress as JSON here instead of showing a bar")


def _export(options: argparse.Namespace) -> None:
    if options.format == "bundle":
        _bundle(options)
    from analysis import open_run
    from analysis.store.export import export_run

    with open_run(options.run, options.out) as run, reporting(options.progress_file) as report:
        export_run(run, Path(options.to), options.format, _attention(options), report)
    print(f"{options.run}: exported as {options.format} to {options.to}.")


def _bundle(options: argparse.Namespace) -> NoReturn:
    """Go on as the page's own command: a bundle is a page, which the library knows nothing of.

    Raises:
        UserError: Something was asked for that goes with other formats.
    """
    if options.attention is not None or options.top_k is not None:
        raise UserError("A bundle has the whole attention of its --inputs: leave --attention and --top-k out.")
    said = [f"--to={Path(options.to).expanduser().resolve()}"]
    for name, value in (("inputs", options.inputs), ("out", options.out), ("progress-file", options.progress_file)):
        if value is not None:
            said.append(f"--{name}={value if name == 'inputs' else Path(value).resolve()}")
    run = str(Path(options.run).expanduser().resolve()) if os.sep in options.run else options.run
    os.chdir(Path(__file__).resolve().parents[2])
    os.execv(sys.executable, [sys.executable, "-m", "app.bundle", run, *said])


def _attention(options: argparse.Namespace):
    """Whose attention is exported.

    Raises:
        UserError: Inputs or a number of weights, and no sites to take them from.
    """
    from analysis.pipeline.request import parse_numbers
    from analysis.store.export import AttentionChoice

    if options.attention is None:
        if options.inputs is not None or options.top_k is not None:
            raise UserError("--inputs and --top-k choose attention matrices: add --attention, with or without sites.")
        return None
    inputs = None if options.inputs is None else sorted(parse_numbers(options.inputs, "--inputs"))
    return AttentionChoice(options.attention, inputs, options.top_k)


def add_import(commands) -> None:
    """A run of somebody else."""
    parser = command(
        commands, "import", _import, "Bring in a run that was exported as run or bundle, checked byte by byte.",
        "python -m analysis import run.zip",
    )  # fmt: skip
    parser.add_argument("source", metavar="FILE.zip|FOLDER", help="what export wrote, or a copied folder of a run")
    parser.add_argument("--run-id", metavar="ID", help="another name for it (default: the name it had)")
    add_runs_dir(parser)


def _import(options: argparse.Namespace) -> None:
    from analysis.store import import_run, runs_dir

    path = import_run(options.source, options.out or runs_dir(), options.run_id)
    print(f"{path.name}: every byte is as it was published.")


def add_verify(commands) -> None:
    """Checksums."""
    parser = command(
        commands, "verify", _verify, "Check every byte of a run against its manifest.",
        "python -m analysis verify demo-language",
    )  # fmt: skip
    parser.add_argument("run", metavar="RUN", help="id of the run or its folder")
    add_runs_dir(parser)


def _verify(options: argparse.Namespace) -> None:
    from analysis.store import locate, verify

    verification = verify(locate(options.run, Path(options.out) if options.out else None))
    if not verification.ok:
        raise RunError(str(verification))
    print(verification)


def add_doctor(commands) -> None:
    """What can be captured of a model."""
    parser = command(
        commands, "doctor", _doctor, "Say what can be captured of a model, by which route, and how exactly.",
        "python -m analysis doctor --model ./my-model",
    )  # fmt: skip
    parser.add_argument("--model", required=True, help="hub id, local folder, demo-language or demo-vision")
    parser.add_argument("--modality", choices=("text", "vision"), help="tower of a two-tower model (default: both)")
    add_loading(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _doctor(options: argparse.Namespace) -> None:
    from analysis.capture.doctor import examine

    reports = examine(options.model, options.modality, **loading(options))
    found = [report.as_dict() for report in reports]
    as_json = json.dumps(found if len(found) > 1 else found[0], indent=2, default=str)
    print(as_json if options.json else "\n\n".join(report.as_text() for report in reports))
    if refusals := [report.refusal for report in reports if report.refusal]:
        raise CaptureRefused(" ".join(refusals))
