from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

ITEMS: Final = 100_000
QUICK_ITEMS: Final = 5_000


class Command(BaseCommand):
    help = (
        "Measure this application and the naive design (benchmarks/baseline.py) in one session,"
        " and write PERFORMANCE_REPORT.md with its plots. Uses data folders of its own. Needs"
        " `pip install -r benchmarks/requirements-baseline.txt`."
    )
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--items", type=int, metavar="N", help="items in the catalogue")
        parser.add_argument("--quick", action="store_true", help="within three minutes, rough")
        parser.add_argument(
            "--million", action="store_true", help="an index of 1,000,000 too: a quarter hour more"
        )
        parser.add_argument(
            "--model", type=Path, metavar="DIR", help="another CLIP model than the random one"
        )
        parser.add_argument(
            "--output",
            type=Path,
            metavar="DIR",
            default=Path(settings.BASE_DIR) / "docs",
            help="where the report goes (%(default)s)",
        )
        parser.add_argument("--note", default="", help="a sentence for the report")
        parser.add_argument(
            "--render", action="store_true", help="write the report again from its results"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        from benchmarks.report import read_results, write_report

        output: Path = options["output"]
        try:
            results = read_results(output) if options["render"] else self._measure(options)
        except FileNotFoundError as exc:
            raise CommandError(f"{exc.filename} is missing: run the benchmark first.") from exc
        except KeyboardInterrupt:
            raise CommandError("Interrupted; every process was ended.", returncode=130) from None
        report = write_report(results, output)
        self.stdout.write(self.style.SUCCESS(f"Written: {report}"))

    def _measure(self, options: dict[str, Any]) -> dict[str, Any]:
        try:
            import fastapi  # noqa: F401
        except ImportError as exc:
            raise CommandError(
                f"The baseline needs {exc.name}:"
                " pip install -r benchmarks/requirements-baseline.txt"
            ) from exc
        from benchmarks import material, plan
        from benchmarks.runner import run_benchmark
        from benchmarks.servers import BenchmarkError

        items: int = options["items"] or (QUICK_ITEMS if options["quick"] else ITEMS)
        if items < 100:
            raise CommandError(f"--items {items}: at least 100, or there is nothing to search.")
        model: Path = options["model"] or material.ensure_model()
        chosen = (plan.quick if options["quick"] else plan.full)(model, items)
        if options["million"]:
            chosen = plan.with_million(chosen)
        try:
            return run_benchmark(chosen, say=self.stdout.write, note=options["note"])
        except BenchmarkError as exc:
            raise CommandError(str(exc)) from exc
