"""Generated requests to every operation of the schema, through a real server.

`python -m tests.fuzz_api --cases 10000` ends with one line, and with status 1 where an answer was
a 5xx or not what the schema says.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.search.api.test_server import Server, serve

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
NDJSON = "application/x-ndjson"


@schemathesis.serializer(NDJSON)
def to_lines(_context: Any, value: Any) -> bytes:
    """A body of one line."""
    return json.dumps(value).encode() + b"\n"


@schemathesis.deserializer(NDJSON)
def last_line(_context: Any, response: Any) -> Any:
    """The schema describes one line of the answer; to a body without lines there is none."""
    lines = response.content.splitlines()
    return json.loads(lines[-1]) if lines else {"line": 1, "item_id": None, "outcome": "new"}


def fuzz(server: Server, *, cases: int, seed: int = 0) -> tuple[int, dict[str, str]]:
    """How many requests were sent, and what failed: an example by operation."""
    url = "http://{}:{}".format(*server.address)
    for item_id in ("0", "red"):
        item = json.dumps({"item_id": item_id, "caption": "a red thing"}).encode()
        server.request("POST", "/api/v1/items/", item, **{"Content-Type": "application/json"})
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    results: Any = schema.get_all_operations()
    operations = [result.ok() for result in results]  # a broken schema ends it here
    failures: dict[str, str] = {}
    sent = 0

    def run(operation: Any, count: int, seed: int) -> None:
        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy())
        def send(case: Any) -> None:
            nonlocal sent
            sent += 1
            case.validate_response(case.call(base_url=url), checks=CHECKS)

        try:
            send()
        except BaseExceptionGroup as exc:
            failures[operation.label] = "; ".join(str(error) for error in exc.exceptions)
        except Exception as exc:  # noqa: BLE001  whatever fails is to be told
            failures[operation.label] = str(exc)

    while sent < cases:
        for operation in operations:
            if sent < cases and operation.label not in failures:
                run(operation, max(1, (cases - sent) // len(operations)), seed)
        if len(failures) == len(operations):
            break
        seed += 1
    return sent, failures


def main() -> int:
    """Fuzz a server of our own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as server:
        sent, failures = fuzz(server, cases=options.cases, seed=options.seed)
    for operation, failure in failures.items():
        sys.stderr.write(f"{operation}\n{failure}\n\n")
    sys.stdout.write(f"{sent:,} requests, {len(failures)} operations failed\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
