"""The command that cuts sinks out of a run's model."""

from __future__ import annotations

import argparse
import json

from analysis.cli.arguments import add_runs_dir, command, positive, reporting


def add_cut(commands) -> None:
    """What the model loses without its sinks."""
    parser = command(
        commands, "cut", _cut, "Cut attention sinks out of the model, and say what changes: loss, answers, states.",
        "python -m analysis cut demo-language --dry-run\n"
        "  python -m analysis cut demo-language --sinks position:0 --by layer --csv\n"
        "  python -m analysis cut demo-vision --heads image-centric --mode redistribute --keep 0.6",
    )  # fmt: skip
    parser.set_defaults(stopped="Stopped. What was measured is kept: the same command goes on from there.")
    parser.add_argument("run", metavar="RUN", help="id of the run or its folder")
    parser.add_argument(
        "--sinks", default="found", metavar="SINKS",
        help="found: in each head and input by --threshold (default); position:N, from 0; token:TEXT; or special",
    )  # fmt: skip
    parser.add_argument(
        "--heads", default="all", metavar="HEADS",
        help="all (default), names such as L2H3,L4H1, or image-centric: where a head looks at the image (images)",
    )  # fmt: skip
    parser.add_argument(
        "--mode", default="mask", metavar="MODE",
        help="mask: sinks get nothing (default); or redistribute: they keep a part, and others get the rest",
    )  # fmt: skip
    parser.add_argument("--keep", type=float, metavar="P", help="share kept, with redistribute (default: 0.6)")
    parser.add_argument(
        "--threshold", type=float, metavar="T", help="mean attention from which a token is a sink (default: 0.3)"
    )
    parser.add_argument("--min-queries", type=positive, metavar="N", help="queries that must see a token (default: 8)")
    parser.add_argument(
        "--count-own", action="store_true", help="count a token's own query among those that see it (default: not)"
    )
    parser.add_argument(
        "--image-share", type=float, metavar="S", help="of image-centric heads: attention on patches (default: 0.2)"
    )
    parser.add_argument(
        "--sink-part", type=float, metavar="R", help="of image-centric heads: most of that on sinks (default: 0.5)"
    )
    parser.add_argument("--by", metavar="layer", help="layer: cut in one layer at a time (default: in all at once)")
    parser.add_argument("--limit", type=positive, metavar="N", default=50, help="inputs, drawn by seed (default: 50)")
    parser.add_argument("--model", metavar="FOLDER", help="the model, for a run made with a model from a folder")
    parser.add_argument("--data", metavar="DATA", help="the images, for a run of images that are not bundled ones")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing, masks and intervals (default: 0)")
    parser.add_argument("--dry-run", action="store_true", help="print the passes and the time they take; write nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", action="store_true", help="print CSV")
    parser.add_argument("--progress-file", metavar="FILE", help="write progress as JSON here instead of showing a bar")
    add_runs_dir(parser)


def _cut(options: argparse.Namespace) -> None:
    from analysis.pipeline import cut_sinks, plan_cut

    call = {
        "limit": options.limit, "model": options.model, "data": options.data, "seed": options.seed,
        "runs_dir": options.out,
    }  # fmt: skip
    variant = _variant(options)
    if options.dry_run:
        plan = plan_cut(options.run, variant, **call)
        print(json.dumps(plan.as_dict(), indent=2) if options.json else f"{plan.as_text()}.")
        return
    with reporting(options.progress_file) as report:
        found = cut_sinks(options.run, variant, **call, report=report)
    if options.json:
        summary = json.loads(found.summary.to_json(orient="records"))
        print(json.dumps({"name": found.name, **found.facts, "summary": summary}, indent=2))
    elif options.csv:
        print(found.summary.to_csv(index=False), end="")
    else:
        print(found.as_text())


def _variant(options: argparse.Namespace):
    """What the options ask for; those left out have their usual values."""
    from analysis.pipeline import CutVariant
    from analysis.sinks import SinkRule

    more = {"image_share": options.image_share, "sink_part": options.sink_part}
    asked = {"threshold": options.threshold, "min_queries": options.min_queries}
    asked = {name: value for name, value in asked.items() if value is not None}
    more["rule"] = SinkRule(**asked, counts_own=options.count_own)
    more = {name: value for name, value in more.items() if value is not None}
    return CutVariant(options.sinks, options.heads, options.mode, options.keep, by=options.by, **more)
