"""`python -m benchmarks ACTION`, see --help: figures and proofs."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from benchmarks.processes import end_on_signals
from benchmarks.servers import BenchmarkError

ROOT = Path(__file__).resolve().parent.parent


def say(line: str) -> None:
    print(line, flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", default=ROOT / "docs", help="where reports go"
    )
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="measure against the naive design")
    run.add_argument("--items", type=int, metavar="N", help="captions in the catalogue")
    run.add_argument("--quick", action="store_true", help="some minutes, rough")
    run.add_argument(
        "--backlog",
        type=int,
        metavar="N",
        default=0,
        help="also load N captions at once (500000 take ten minutes or more)",
    )
    actions.add_parser("render", help="write the report again from its results")
    actions.add_parser("relevance", help="judge how well queries are answered")
    soak = actions.add_parser("soak", help="an hour of use: nothing may grow or be lost")
    soak.add_argument("--minutes", type=float, default=60.0)
    soak.add_argument("--items", type=int, default=50_000)
    crash = actions.add_parser("crash", help="kill -9 under load: nothing may be lost")
    crash.add_argument("--kills", type=int, default=100)
    stores = actions.add_parser("stores", help="FAISS, pgvector and Milvus beside each other")
    stores.add_argument("--vectors", type=int, metavar="N", default=300_000)
    models = actions.add_parser("models", help="what a model of each family costs")
    models.add_argument("names", nargs="*", metavar="NAME")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> None:
    """Write the performance report. Raises BenchmarkError."""
    from benchmarks.report import read_results, write_report
    from benchmarks.runner import run_benchmark
    from benchmarks.stock import QUICK, Plan

    if options.action == "render":
        results = read_results(options.output)
    else:
        plan = QUICK if options.quick else Plan(items=100_000)
        plan = dataclasses.replace(plan, items=options.items or plan.items, backlog=options.backlog)
        results = run_benchmark(plan, say=say)
    say(f"Written: {write_report(results, options.output)}")


def main() -> int:
    options = parse(sys.argv[1:])
    well = True
    try:
        with end_on_signals():
            if options.action == "soak":
                from benchmarks.soak import run_soak

                well = run_soak(
                    minutes=options.minutes, items=options.items, output=options.output, say=say
                )
            elif options.action == "relevance":
                from benchmarks.relevance import run_relevance

                say(f"Written: {run_relevance(output=options.output, say=say)}")
            elif options.action == "crash":
                from benchmarks.crash import run_crash

                well = run_crash(kills=options.kills, output=options.output, say=say)
            elif options.action == "stores":
                from benchmarks.stores import run_stores

                run_stores(vectors=options.vectors, say=say)
            elif options.action == "models":
                from benchmarks.models import run_models

                run_models(options.names, options.output, say)
            else:
                measure(options)
    except (BenchmarkError, FileNotFoundError, ImportError) as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; every process was ended.", file=sys.stderr)
        return 130
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
