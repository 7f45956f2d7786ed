"""``python -m app.bundle``: what ``export --format bundle`` runs, for the library does not know the page."""

from __future__ import annotations

import argparse
import os
import sys

from streamlit.logger import set_log_level

from analysis.cli import run_command
from analysis.cli.arguments import reporting
from analysis.pipeline.request import parse_numbers
from analysis.store import locate, open_run


def make_parser() -> argparse.ArgumentParser:
    """The arguments, each as of ``export``."""
    parser = argparse.ArgumentParser(prog="python -m app.bundle", description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--to", required=True)
    parser.add_argument("--inputs")
    parser.add_argument("--out")
    parser.add_argument("--progress-file")
    parser.set_defaults(command=_write, stopped="Stopped.")
    return parser


def _write(options: argparse.Namespace) -> None:
    path = locate(options.run, options.out)
    # The page's readers, which the bundle is made with, find runs by their names in this folder.
    os.environ["QK_ATLAS_RUNS"] = str(path.resolve().parent)
    set_log_level("ERROR")  # or it tells at every cache that nothing is served
    from app.bundle.making import make_bundle

    inputs = sorted(parse_numbers(options.inputs, "--inputs")) if options.inputs else None
    with open_run(path) as run, reporting(options.progress_file) as report:
        make_bundle(run, options.to, inputs, report)
    print(f"{options.run}: exported as bundle to {options.to}. Open index.html in it.")


if __name__ == "__main__":
    sys.exit(run_command(make_parser().parse_args()))
