"""A process that answers searches, one line of words in, one line of JSON out."""

from __future__ import annotations

import json
import logging
import sys

import django


def main() -> None:
    django.setup()
    logging.disable(logging.CRITICAL)
    from search.answer.answering import search
    from search.answer.syntax import ask

    for line in sys.stdin:
        hits = search(ask(line.strip(), top_n=1000, all=True)).hits
        found = [{"item_id": hit.item.item_id, "score": hit.score} for hit in hits]
        print(json.dumps(found), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
