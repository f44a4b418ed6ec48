from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from catalog.ingest.images import ImageRefused, decode_query_image
from embeddings.encoders.base import EncoderError
from embeddings.spaces import SpaceError
from search.answer.answering import Hit, UnknownItem, search
from search.answer.query import QueryError
from search.answer.syntax import ask


class Command(BaseCommand):
    help = "Search in the terminal: words, a picture, or both."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("query", nargs="?", default="", help="words to look for")
        parser.add_argument("--image", type=Path, help="a picture to look for")
        parser.add_argument("--top", type=int, default=5, metavar="N", help="results (5)")
        parser.add_argument(
            "--all", action="store_true", help="also what is not relevant, nearest first"
        )
        parser.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *_args: Any, query: str, image: Path | None, top: int, **options: Any) -> None:
        try:
            picture = decode_query_image(image.read_bytes()) if image else None
            asked = ask(query, image=picture, top_n=top, all=options["all"])
            results = search(asked)
        except OSError as exc:
            raise CommandError(f"--image {image}: {exc.strerror}.") from exc
        except ImageRefused as exc:
            raise CommandError(f"--image {image}: {exc}") from exc
        except QueryError as exc:
            raise CommandError(f"{exc.field}: {exc.message}") from exc
        except (EncoderError, SpaceError, UnknownItem) as exc:
            raise CommandError(str(exc)) from exc
        for note in asked.notes:
            self.stderr.write(note)
        for rank, hit in enumerate(results.hits, start=1):
            self.stdout.write(_as_json(hit) if options["json"] else _as_line(rank, hit))
        if not options["json"]:
            self.stdout.write(
                f"{len(results.hits)} of {results.total:,} items"
                f" in {results.timings.total_ms:.0f} ms"
            )


def _as_json(hit: Hit) -> str:
    return json.dumps(
        {
            "item_id": hit.item.item_id,
            "score": round(hit.score, 6),
            "modality": hit.matched,
            "title": hit.item.title,
            "caption": hit.item.caption,
            "category": hit.item.category,
            "tags": list(hit.tags),
            "image": hit.item.image.name,
        },
        ensure_ascii=False,
    )


def _as_line(rank: int, hit: Hit) -> str:
    words = hit.item.title or hit.item.caption
    return f"{rank:3}. {hit.score:.3f}  {hit.item.item_id}  {words[:80]}"
