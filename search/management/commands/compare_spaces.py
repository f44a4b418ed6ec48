from __future__ import annotations

import dataclasses
import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import pluralize

from embeddings.encoders.base import EncoderError
from embeddings.management.interruption import INTERRUPTED, stoppable, until
from embeddings.management.progress import Progress
from embeddings.spaces import SpaceError, find_space
from search.comparison.asked import recent_texts
from search.comparison.comparing import Change, Comparison, Side, compare_spaces
from search.evaluation.qrels import JudgedQuery, QrelsError, read_qrels

SHOWN: Final = 5
"""Item ids shown of each answer."""


class Command(BaseCommand):
    help = (
        "Compare two spaces: by the texts that people asked last, or those of a file, and by judged"
        " queries. Nothing is changed. `manage.py spaces` shows the numbers of the spaces."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("left", type=int, metavar="A", help="number of a space")
        parser.add_argument("right", type=int, metavar="B", help="number of another")
        parser.add_argument("--queries", type=Path, metavar="FILE", help="texts, one a line")
        parser.add_argument("--qrels", type=Path, metavar="FILE", help="judged queries")
        parser.add_argument(
            "--most", type=int, default=500, metavar="N", help="texts at most (%(default)s)"
        )
        parser.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *_args: Any, left: int, right: int, **options: Any) -> None:
        if left == right:
            raise CommandError("A space is compared with another: give two numbers.")
        try:
            spaces = find_space(left), find_space(right)
            texts = _texts(options["queries"], options["most"])
            judged = read_qrels(options["qrels"]) if options["qrels"] else []
            if not texts and not judged:
                raise CommandError(
                    "Nobody has asked anything yet, or MMSEARCH_QUERY_LOG=0 keeps nothing: give"
                    " texts by --queries, or judged queries by --qrels."
                )
            comparison = self._compare(*spaces, texts, judged)
        except OSError as exc:
            raise CommandError(f"{exc.filename}: {exc.strerror}.") from exc
        except (QrelsError, EncoderError, SpaceError) as exc:
            raise CommandError(str(exc)) from exc
        if options["json"]:
            fields = dataclasses.asdict(comparison)
            self.stdout.write(json.dumps(fields, ensure_ascii=False, allow_nan=False, indent=1))
        else:
            self.stdout.write("\n".join(_lines(comparison)))

    def _compare(
        self, left: Any, right: Any, texts: list[str], judged: list[JudgedQuery]
    ) -> Comparison:
        total = len(texts) + len(judged)
        with stoppable() as stop, Progress(sys.stderr, total=total, what="queries") as progress:
            comparison = compare_spaces(
                left,
                right,
                texts=until(stop, texts),
                judged=until(stop, judged),
                on_query=progress.advance,
            )
        if stop.is_set():
            self.stderr.write("Interrupted: nothing was changed.")
            sys.exit(INTERRUPTED)
        return comparison


def _texts(file: Path | None, most: int) -> list[str]:
    if file is None:
        return recent_texts(most)
    try:
        with file.open(encoding="utf-8") as lines:
            stripped = (line.strip() for line in lines)
            return list(islice(dict.fromkeys(filter(None, stripped)), most))
    except UnicodeDecodeError as exc:
        raise CommandError(f"{file} is not UTF-8. Save it as UTF-8.") from exc


def _lines(found: Comparison) -> list[str]:
    lines = [f"{'':22}{'A':>14}{'B':>14}"]
    lines += [f"{name:22}{a:>14}{b:>14}" for name, a, b in _rows(found)]
    lines += ["", f"A: space {found.left.space}, {found.left.name}"]
    lines += [f"B: space {found.right.space}, {found.right.name}"]
    if found.overlap is not None:
        lines.append(
            f"{found.queries:,} text{pluralize(found.queries)}: {found.overlap:.1%} of the ten"
            f" shown are the same, their order correlates by {found.correlation:.2f}."
        )
    if found.judged:
        lines.append(f"nDCG and recall are means of {found.judged:,} judged queries.")
    if shadow := found.shadow:
        lines.append(
            f"{shadow.queries:,} live quer{pluralize(shadow.queries, 'y,ies')}:"
            f" {shadow.overlap:.1%} the same, order {shadow.correlation:.2f};"
            f" {shadow.active_ms:.1f} ms by the active space, {shadow.other_ms:.1f} by the other."
        )
    votes = found.verdicts
    if votes.left or votes.right or votes.ties:
        lines.append(
            f"People found A better {votes.left} times, B {votes.right} times, neither"
            f" {votes.ties} times (by chance: {votes.chance:.2f})."
        )
    if found.most_changed:
        lines += ["", "What changes most:"]
        lines += [line for change in found.most_changed for line in _change(change)]
    return lines


def _rows(found: Comparison) -> list[tuple[str, str, str]]:
    """The figures that there are: of each its name, A's and B's."""

    def row(name: str, of: Callable[[Side], float | None], form: str) -> list[tuple[str, str, str]]:
        figures = [of(side) for side in (found.left, found.right)]
        if figures == [None, None]:
            return []
        left, right = ("–" if each is None else format(each, form) for each in figures)
        return [(name, left, right)]

    return [
        *row("P50, ms", lambda side: side.p50_ms, ".1f"),
        *row("P99, ms", lambda side: side.p99_ms, ".1f"),
        *row("index in memory, MB", lambda side: side.index_mb, ",.2f"),
        *row("nDCG@10", lambda side: side.ndcg, ".3f"),
        *row("recall@10", lambda side: side.recall, ".3f"),
    ]


def _change(change: Change) -> list[str]:
    alike = f"{change.overlap:.0%} the same" if change.overlap < 1 else "in another order"
    return [
        f"  {change.text}: {alike}",
        f"    A: {', '.join(change.left[:SHOWN]) or 'nothing'}",
        f"    B: {', '.join(change.right[:SHOWN]) or 'nothing'}",
    ]
