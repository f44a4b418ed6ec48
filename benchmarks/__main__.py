"""`python -m benchmarks ACTION`, see --help: figures and proofs."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from benchmarks.processes import end_on_signals

DOCS = Path(__file__).resolve().parent.parent / "docs"


def say(line: str) -> None:
    print(line, flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--output", type=Path, metavar="DIR", default=DOCS, help="where reports go")
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="measure against the naive design")
    run.add_argument("--items", type=int, metavar="N", help="captions in the catalogue")
    run.add_argument("--quick", action="store_true", help="some minutes, rough")
    backlog = "also load N captions at once (500000 take ten minutes or more)"
    run.add_argument("--backlog", type=int, metavar="N", default=0, help=backlog)
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


def act(options: argparse.Namespace) -> bool:
    """Whether all was well. An action imports what it needs alone. Raises BenchmarkError."""
    output: Path = options.output
    match options.action:
        case "run":
            from benchmarks.report import write_report
            from benchmarks.rounds import FULL, QUICK
            from benchmarks.run import run_benchmark

            plan = QUICK if options.quick else FULL
            items = options.items or plan.items
            plan = dataclasses.replace(plan, items=items, backlog=options.backlog)
            say(f"Written: {write_report(run_benchmark(plan, say=say), output)}")
        case "render":
            from benchmarks.report import read_results, write_report

            say(f"Written: {write_report(read_results(output), output)}")
        case "relevance":
            from benchmarks.relevance import run_relevance

            say(f"Written: {run_relevance(output=output, say=say)}")
        case "soak":
            from benchmarks.soak import run_soak

            return run_soak(minutes=options.minutes, items=options.items, output=output, say=say)
        case "crash":
            from benchmarks.crash import run_crash

            return run_crash(kills=options.kills, output=output, say=say)
        case "stores":
            from benchmarks.stores import run_stores

            run_stores(vectors=options.vectors, say=say)
        case "models":
            from benchmarks.models import run_models

            run_models(options.names, output=output, say=say)
    return True


def main() -> int:
    from benchmarks.servers import BenchmarkError

    try:
        with end_on_signals():
            return 0 if act(parse(sys.argv[1:])) else 1
    except (BenchmarkError, OSError, ImportError) as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; every process was ended.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
