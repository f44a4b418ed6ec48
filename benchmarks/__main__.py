"""`python -m benchmarks run | render | soak | crash`: figures, and proofs under load."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.servers import BenchmarkError, end_on_signals

ROOT = Path(__file__).resolve().parent.parent


def say(line: str) -> None:
    print(line, flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", default=ROOT / "docs", help="where reports go"
    )
    actions = parser.add_subparsers(dest="action", required=True)
    soak = actions.add_parser("soak", help="an hour of use: nothing may grow or be lost")
    soak.add_argument("--minutes", type=float, default=60.0)
    soak.add_argument("--items", type=int, default=50_000)
    crash = actions.add_parser("crash", help="kill -9 under load: nothing may be lost")
    crash.add_argument("--kills", type=int, default=100)
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(sys.argv[1:])
    try:
        with end_on_signals():
            if options.action == "soak":
                from benchmarks.soak import run_soak

                well = run_soak(
                    minutes=options.minutes, items=options.items, output=options.output, say=say
                )
            else:
                from benchmarks.crash import run_crash

                well = run_crash(kills=options.kills, output=options.output, say=say)
            return 0 if well else 1
    except BenchmarkError as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; every process was ended.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
