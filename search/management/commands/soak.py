from __future__ import annotations

import subprocess
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = (
        "Use an installation of its own for so many minutes and see that nothing grows and nothing"
        " is lost (`python -m benchmarks soak`); writes docs/SOAK_REPORT.md."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--minutes", type=float, default=60.0)

    def handle(self, *_args: Any, **options: Any) -> None:
        command = [sys.executable, "-m", "benchmarks", "soak", "--minutes", str(options["minutes"])]
        status = subprocess.run(command, cwd=settings.BASE_DIR, check=False).returncode
        if status:
            raise CommandError("The soak found what is not well: see above.", returncode=status)
