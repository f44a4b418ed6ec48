from __future__ import annotations

import dataclasses
import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from catalog.models import Item
from embeddings.encoders.base import EncoderError
from embeddings.management.interruption import INTERRUPTED, stoppable, until
from embeddings.management.progress import Progress
from embeddings.models import EmbeddingSpace
from embeddings.spaces import SpaceError, find_space
from search.answer.query import QueryError
from search.comparison.verdicts import Verdicts, all_verdicts
from search.evaluation.qrels import Half, JudgedQuery, QrelsError, read_qrels
from search.evaluation.report import as_json, as_markdown
from search.evaluation.runs import Run, collect, judge
from search.evaluation.systems import answers


class Command(BaseCommand):
    help = (
        "How well judged queries are answered, by kind of query: our order and our end of the"
        " list beside each signal alone and other ways to mix them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("qrels", type=Path, help="judged queries, such as demo/relevance.jsonl")
        parser.add_argument("--space", type=int, metavar="ID", help="a space to ask (the active)")
        parser.add_argument(
            "--half", choices=list(Half), help="only the queries of one half (both)"
        )
        parser.add_argument("--report", type=Path, metavar="FILE", help="write the tables there")
        parser.add_argument("--json", action="store_true", help="print figures as JSON")

    def handle(
        self,
        *_args: Any,
        qrels: Path,
        space: int | None,
        half: str | None,
        report: Path | None,
        **options: Any,
    ) -> None:
        queries = _read(qrels, half)
        try:
            run = self._run(queries, find_space(space) if space is not None else None)
        except (EncoderError, SpaceError, QueryError) as exc:
            raise CommandError(str(exc)) from exc
        votes = all_verdicts()
        tables = "\n\n".join([as_markdown(run), *map(_as_line, votes)])
        if report is not None:
            try:
                report.write_text(tables + "\n", encoding="utf-8")
            except OSError as exc:
                raise CommandError(f"--report {report}: {exc.strerror}.") from exc
        if options["json"]:
            verdicts = [
                {"spaces": [one.pk, other.pk], **dataclasses.asdict(each), "chance": each.chance}
                for one, other, each in votes
            ]
            tables = json.dumps({**as_json(run), "verdicts": verdicts}, indent=1)
        self.stdout.write(tables)

    def _run(self, queries: list[JudgedQuery], space: EmbeddingSpace | None) -> Run:
        with stoppable() as stop, Progress(sys.stderr, total=len(queries), what="queries") as bar:

            def asked() -> Iterator[Mapping[str, list[str]]]:
                for query in until(stop, queries):
                    yield answers(query, space)
                    bar.advance()

            run = collect(judge(queries, asked()))
        if stop.is_set():
            raise CommandError(
                f"Stopped after {len(run.queries):,} of {len(queries):,} queries; nothing was"
                " written.",
                returncode=INTERRUPTED,
            )
        return run


def _as_line(voted: tuple[EmbeddingSpace, EmbeddingSpace, Verdicts]) -> str:
    """What people found who saw two spaces' answers side by side."""
    one, other, votes = voted
    return (
        f"Side by side, people found space {one.pk} ({one}) better {votes.left} times, space"
        f" {other.pk} ({other}) {votes.right} times, neither {votes.ties} times; so uneven by"
        f" chance: {votes.chance:.2f}."
    )


def _read(path: Path, half: str | None) -> list[JudgedQuery]:
    try:
        queries = read_qrels(path)
    except OSError as exc:
        raise CommandError(f"{path}: {exc.strerror}.") from exc
    except QrelsError as exc:
        raise CommandError(str(exc)) from exc
    chosen = [query for query in queries if half is None or query.half is Half(half)]
    if not chosen:
        raise CommandError(f"No query of {path} is in the {half} half: leave --half out.")
    judged = {item for query in chosen for item in query.relevant}
    there = set(Item.objects.values_list("item_id", flat=True).iterator())
    if missing := sorted(judged - there):
        raise CommandError(
            f"The catalogue lacks {len(missing):,} of the {len(judged):,} items that {path} judges,"
            f" such as {missing[0]!r}: ingest the catalogue that it was made for."
        )
    return chosen
