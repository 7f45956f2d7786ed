"""The commands that make something: a run, a map, importance, an arrangement of heads."""

from __future__ import annotations

import argparse
import json
import shlex

from analysis.cli.arguments import add_loading, add_runs_dir, command, loading, positive, reporting


def add_extract(commands) -> None:
    """A run from a model and data."""
    parser = command(
        commands, "extract", _extract, "Run a model over data and make a run: queries, keys, scores and maps.",
        "python -m analysis extract --model ./my-model --data texts.txt --limit 500\n"
        "  python -m analysis extract --model demo-vision --data ./photographs --projection atlas umap\n"
        "  python -m analysis extract --model org/name --data table.csv --layers 0-3,11 --dry-run",
    )  # fmt: skip
    parser.set_defaults(stopped="Stopped. What was captured is kept: the same command goes on from there.")
    parser.add_argument("--model", required=True, help="hub id, local folder, demo-language or demo-vision")
    parser.add_argument(
        "--data", required=True,
        help=".txt (one input a line), .csv, .tsv, .jsonl or .parquet with a column text, image or audio, a folder of "
        "images or of WAV files, demo-sentences or demo-scenes",
    )  # fmt: skip
    add_runs_dir(parser)
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N inputs")
    parser.add_argument("--layers", metavar="0-3,11", help="only these layers of each stack (default: all)")
    parser.add_argument(
        "--attention", choices=("auto", "store", "recompute"), default="auto",
        help="store attention itself, recompute it from q and k when asked for, or (auto) whichever is smaller; "
        "stored in any case where recomputing would not be exact",
    )  # fmt: skip
    parser.add_argument(
        "--states", choices=("auto", "on", "off"), default="auto",
        help="measure the residual state of every token, which primary and secondary sinks are told by (auto: where "
        "the figures take at most a tenth of the room of q and k)",
    )  # fmt: skip
    parser.add_argument(
        "--projection", nargs="+", metavar="NAME", default=["atlas"],
        help="maps to make (default: atlas), as METHOD[-2d|-3d][-without-sinks][-aligned]; none: no map",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of maps and intervals (default: 0)")
    parser.add_argument(
        "--part", choices=("whole", "encoder"), default="whole",
        help="of an encoder-decoder: encoder, decoder and cross-attention (default), or its encoder alone",
    )  # fmt: skip
    parser.add_argument(
        "--target", choices=("auto", "generate", "same"), default="auto",
        help="what the decoder of an encoder-decoder reads: the column target of the data, or without one what the "
        "model writes itself, at most 64 tokens (auto); what it writes in any case; the input text itself. A model "
        "without a head that writes reads the input text",
    )  # fmt: skip
    parser.add_argument(
        "--chat", choices=("auto", "off"), default="off",
        help="texts as turns of a chat, where the model has a template for it (default: off, as plain texts)",
    )  # fmt: skip
    parser.add_argument(
        "--generate", type=int, default=0, metavar="N",
        help="let a decoder go on with every text for N tokens at most (always the likeliest) and capture the whole; "
        "the column written tells which tokens are its own",
    )  # fmt: skip
    add_loading(parser)
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local",
        help="where the model runs: in this process, or on a pool of workers (ray) on this machine or on the cluster "
        "that RAY_ADDRESS names (default: local)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=positive, metavar="N",
        help="with --engine ray: how many copies of the model run at once (default: one a GPU, else one a core)",
    )  # fmt: skip
    parser.add_argument(
        "--shards", metavar="FOLDER",
        help="with --engine ray: where workers leave what they captured, a folder or s3://bucket/folder that all "
        "machines reach (default: in the unfinished run)",
    )  # fmt: skip
    parser.add_argument("--run-id", help="name of the run (default: made from model, data and settings)")
    parser.add_argument(
        "--dry-run", action="store_true", help="print sites, tokens, time, memory and disk; write nothing"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--progress-file", metavar="FILE", help="write progress as JSON here instead of showing a bar")


def _extract(options: argparse.Namespace) -> None:
    from analysis.pipeline import extract, plan_extraction

    call = {
        "model": options.model, "data": options.data, "out_dir": options.out, "limit": options.limit,
        "layers": options.layers, "attention": options.attention, "states": options.states,
        "projection": options.projection, "seed": options.seed, "engine": options.engine, "run_id": options.run_id,
        "part": options.part, "target": options.target,
        "generate": options.generate, "chat": options.chat, "workers": options.workers, "shards": options.shards,
        **loading(options),
    }  # fmt: skip
    if options.dry_run:
        plan = plan_extraction(**call)
        print(json.dumps(plan.as_dict(), indent=2) if options.json else plan.as_text())
        return
    with reporting(options.progress_file) as report:
        run = extract(**call, report=report)
    with run:
        if options.json:
            print(json.dumps({"run_id": run.run_id, "manifest": run.manifest}, indent=2, default=str))
        else:
            print(_closing_words(run, options.out))


def _closing_words(run, out: str | None) -> str:
    """What came out, and the command that opens it: with the folder of the runs where one was given."""
    manifest, where = run.manifest, f" --out {shlex.quote(out)}" if out else ""
    lines = [
        f"{run.run_id}: {manifest['n_inputs']:,} inputs, {manifest['n_tokens']:,} tokens, "
        f"{manifest['n_heads']:,} heads.",
        f"Look at it:   python -m analysis serve --run {run.run_id}{where}",
    ]
    lines += [f"Note: {note}" for note in manifest.get("notes", [])]
    return "\n".join(lines)


def add_project(commands) -> None:
    """A map of a finished run."""
    parser = command(
        commands, "project", _project, "Add a joint query-key map to a run.",
        "python -m analysis project demo-language --method umap --dims 3\n"
        "  python -m analysis project demo-language --method atlas --target without_sinks --aligned",
    )  # fmt: skip
    parser.set_defaults(stopped="Stopped. The heads that are laid out are kept: the same command goes on from there.")
    parser.add_argument("run", metavar="RUN", help="id of the run or its folder")
    parser.add_argument("--method", required=True, metavar="NAME", help="linear, atlas, umap, tsne, pca or your own")
    parser.add_argument("--dims", type=int, choices=(2, 3), default=2)
    parser.add_argument(
        "--target", choices=("attention", "without_sinks"), default="attention",
        help="what the map explains: the whole attention, or attention without sinks and special tokens",
    )  # fmt: skip
    parser.add_argument(
        "--aligned", action="store_true", help="start each head towards the head before it, to compare heads by eye"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--progress-file", metavar="FILE", help="write progress as JSON here instead of showing a bar")
    add_runs_dir(parser)


def _project(options: argparse.Namespace) -> None:
    from analysis.pipeline import project

    with reporting(options.progress_file) as report:
        name = project(
            options.run, method=options.method, dims=options.dims, target=options.target, aligned=options.aligned,
            seed=options.seed, runs_dir=options.out, report=report,
        )  # fmt: skip
    print(f"{options.run}: added {name}.")


def add_importance(commands) -> None:
    """What the model loses without each head."""
    parser = command(
        commands, "importance", _importance, "Take every head away in turn, and say what the model loses by it.",
        "python -m analysis importance demo-language --dry-run\n"
        "  python -m analysis importance demo-language --mode mean --limit 20 --csv\n"
        "  python -m analysis importance demo-vision --part cls",
    )  # fmt: skip
    parser.set_defaults(stopped="Stopped. What was measured is kept: the same command goes on from there.")
    parser.add_argument("run", metavar="RUN", help="id of the run or its folder")
    parser.add_argument(
        "--mode", default="zero", metavar="MODE", help="a head gives zero, or mean: its mean over the inputs measured"
    )
    parser.add_argument("--part", metavar="PART", help="only the rows of cls or of patches (images; default: all rows)")
    parser.add_argument(
        "--ring", type=int, metavar="K", help="instead keep patches from those at this Chebyshev distance (images)"
    )
    parser.add_argument("--limit", type=positive, metavar="N", default=50, help="inputs, drawn by seed (default: 50)")
    parser.add_argument("--layers", metavar="0-3,11", help="only heads of these layers of each stack (default: all)")
    parser.add_argument("--model", metavar="FOLDER", help="the model, for a run made with a model from a folder")
    parser.add_argument("--data", metavar="DATA", help="the images, for a run of images that are not bundled ones")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing, masks and intervals (default: 0)")
    parser.add_argument("--dry-run", action="store_true", help="print the passes and the time they take; write nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", action="store_true", help="print CSV")
    parser.add_argument("--progress-file", metavar="FILE", help="write progress as JSON here instead of showing a bar")
    add_runs_dir(parser)


def _importance(options: argparse.Namespace) -> None:
    from analysis.pipeline import importance, plan_importance

    call = {
        "mode": options.mode, "part": options.part, "ring": options.ring, "limit": options.limit,
        "layers": options.layers, "model": options.model, "data": options.data, "seed": options.seed,
        "runs_dir": options.out,
    }  # fmt: skip
    if options.dry_run:
        plan = plan_importance(options.run, **call)
        print(json.dumps(plan.as_dict(), indent=2) if options.json else f"{plan.as_text()}.")
        return
    with reporting(options.progress_file) as report:
        found = importance(options.run, **call, report=report)
    if options.json:
        scores = json.loads(found.scores.to_json(orient="records"))
        print(json.dumps({"name": found.name, **found.facts, "scores": scores}, indent=2))
    elif options.csv:
        print(found.scores.to_csv(index=False), end="")
    else:
        print(found.as_text())


def add_patterns(commands) -> None:
    """Heads arranged by likeness."""
    parser = command(
        commands, "patterns", _patterns, "Arrange the heads of a run by what they attend to, like beside like.",
        "python -m analysis patterns demo-language --method umap\n"
        "  python -m analysis patterns demo-vision --method autoencoder",
    )  # fmt: skip
    parser.set_defaults(stopped="Stopped. Nothing was added to the run.")
    parser.add_argument("run", metavar="RUN", help="id of the run or its folder")
    parser.add_argument(
        "--method", default="umap", metavar="NAME",
        help="umap or pca of pattern features, or autoencoder over attention maps of images (default: umap)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--progress-file", metavar="FILE", help="write progress as JSON here instead of showing a bar")
    add_runs_dir(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _patterns(options: argparse.Namespace) -> None:
    from analysis.pipeline import add_patterns

    with reporting(options.progress_file) as report:
        made = add_patterns(options.run, method=options.method, seed=options.seed, runs_dir=options.out, report=report)
    if options.json:
        print(json.dumps(made, indent=2))
        return
    for stack, found in made["stacks"].items():
        print(f"{stack}: {found['n_heads']} heads in {found['n_clusters']} groups, placed by {found['method']}.")
        if "explained" in found:
            print(
                f"On inputs held out the autoencoder errs by {found['error']:.2g} (mean square), the mean map alone by "
                f"{found['error_of_mean_map']:.2g}."
                + ("" if found["explained"] > 0 else " It is no better: do not read these places.")
            )
    print(f"{options.run}: added {made['name']}.")
