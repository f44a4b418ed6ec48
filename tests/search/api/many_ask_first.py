"""Run as a process: many ask for the schema before anyone else did; prints the statuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import django

THREADS: Final = 16


def status(_: int) -> int:
    from django.test import Client

    client = Client(raise_request_exception=False, headers={"host": "localhost"})
    return client.get("/openapi.json").status_code


def main() -> None:
    django.setup()
    with ThreadPoolExecutor(THREADS) as pool:
        print(sorted(set(pool.map(status, range(THREADS)))))  # noqa: T201


if __name__ == "__main__":
    main()
