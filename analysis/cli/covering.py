"""The command that tries every model type of transformers."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.cli.arguments import command, positive


def add_coverage(commands) -> None:
    """Which model types can be captured."""
    parser = command(
        commands, "coverage", _coverage,
        "Try every model type of transformers on a tiny random model: by which route it is captured, how exactly.",
        "python -m analysis coverage gpt2 swin --to coverage.json",
    )  # fmt: skip
    parser.add_argument("types", nargs="*", metavar="TYPE", help="only these, as config.json names them (default: all)")
    parser.add_argument("--to", metavar="FILE", help="write the table there as JSON")
    parser.add_argument("--processes", type=positive, default=2, metavar="N", help="at once (default: 2)")


def _coverage(options: argparse.Namespace) -> None:
    from analysis.coverage.matrix import choose, measure, summary, write_table

    types = choose(options.types)
    reports = measure(types, options.processes, _tell)
    print(summary(reports))
    if options.to:
        write_table(reports, Path(options.to))
        print(f"written to {options.to}")


def _tell(report) -> None:
    difference = report.attention_max_abs_diff
    figures = "" if difference is None else f"{report.n_sites} sites, differs by {difference:.0e} at most"
    print(f"{report.model_type:<32} {report.route:<18} {figures}  {report.note[:80]}", flush=True)
