from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from embeddings import switching
from embeddings.models import SpaceOpening
from embeddings.overview import SpaceProgress, progress
from search.index.sizes import MB, bytes_of

HEADINGS = ("id", "model", "dim", "precision", "state", "done", "of", "rate", "left", "MB")


class Command(BaseCommand):
    help = "List the spaces that are kept: how far each is, and which one answers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        found = progress()
        wished = switching.outlook()
        openings = list(SpaceOpening.objects.all())
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(found, wished, openings), ensure_ascii=False))
            return
        rows = [HEADINGS, *(_row(each) for each in found)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())
        for each in found:
            if each.failed:
                self.stdout.write(f"Space {each.space.pk}: {each.failed:,} items failed.")
            if each.space.problem:
                self.stdout.write(f"Space {each.space.pk}: {each.space.problem}")
        for opening in openings:
            self.stdout.write(f"Opening {opening.model}: {opening.error or opening.note}")
        if wished is not None:
            self.stdout.write(f"Switch: {wished}.")


def _row(each: SpaceProgress) -> tuple[str, ...]:
    space = each.space
    return (
        str(space.pk),
        space.model,
        str(space.dimension),
        space.precision,
        space.state,
        f"{each.done:,}",
        f"{each.of:,}",
        f"{each.rate:.1f}/s" if each.rate else "",
        each.time_left,
        f"{bytes_of(space) / MB:,.1f}",
    )


def _as_json(
    found: list[SpaceProgress], wished: switching.Outlook | None, openings: list[SpaceOpening]
) -> dict[str, Any]:
    return {
        "spaces": [
            each.as_dict()
            | {
                "source": each.space.source,
                "problem": each.space.problem,
                "bytes": bytes_of(each.space),
            }
            for each in found
        ],
        "openings": [
            {"model": each.model, "note": each.note, "error": each.error} for each in openings
        ],
        "switch": None
        if wished is None
        else {
            "target": wished.target.pk,
            "lacking": wished.lacking,
            "waits_for": [str(process) for process in wished.cold],
            "says": str(wished),
        },
    }
