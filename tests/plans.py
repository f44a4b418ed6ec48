"""How the database goes about a statement, in words that SQLite and PostgreSQL share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import QuerySet

_SQLITE_READ = re.compile(
    r"(?:SEARCH|SCAN) (?P<table>\S+)(?: USING (?P<covering>COVERING )?"
    r"(?:INTEGER PRIMARY KEY|INDEX (?P<index>\S+)))?(?: \((?P<columns>.*)\))?"
)
_SQLITE_COLUMN = re.compile(r"(\w+)[=<>]")
_POSTGRESQL_COLUMN = re.compile(r"\(\(?(?:\w+\.)?(\w+)\)?(?:::[\w ]+)? [=<>]")


@dataclass(frozen=True)
class Read:
    """One reading of a table or its alias; without columns, from its beginning to its end."""

    table: str
    index: str | None = None
    columns: tuple[str, ...] = ()
    """Those by which it is searched."""
    covering: bool = field(default=False, compare=False)
    """Whether the index has all that is asked for."""


@dataclass(frozen=True)
class Plan:
    reads: tuple[Read, ...]
    sorts: bool
    """Whether rows are put into order from scratch."""


def plan_of(statement: str | QuerySet[Any]) -> Plan:
    """The plan of a query, or of a statement as it was captured.

    PostgreSQL, to whom the tables of tests are too small for an index, is told that they are not.
    """
    with connection.cursor() as cursor:
        if isinstance(statement, QuerySet):
            compiler = statement.query.get_compiler(connection=connection)
            sql, values = compiler.as_sql()
        else:
            sql, values = statement, None
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", values)
            lines = [str(row[3]) for row in cursor.fetchall()]
            reads = tuple(map(_sqlite_read, filter(_SQLITE_READ.match, lines)))
            return Plan(reads, sorts=any("B-TREE" in line for line in lines))
        for way in ("seqscan", "hashjoin", "mergejoin"):
            cursor.execute(f"SET LOCAL enable_{way} = off")
        cursor.execute(f"EXPLAIN (VERBOSE, FORMAT JSON) {sql}", values)
        (answer,) = cursor.fetchone()
    root = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    kinds = {node["Node Type"] for node in _nodes(root)}
    return Plan(tuple(_postgresql_reads(root)), sorts="Sort" in kinds)


def _sqlite_read(line: str) -> Read:
    found = _SQLITE_READ.match(line)
    assert found is not None
    columns = tuple(_SQLITE_COLUMN.findall(found["columns"] or ""))
    return Read(found["table"], found["index"], columns, covering=bool(found["covering"]))


def _postgresql_reads(root: dict[str, Any]) -> Iterator[Read]:
    nodes = list(_nodes(root))
    hashed = {
        name for node in nodes for name in re.findall(r"hashed (SubPlan \d+)", str(node))
    }  # read once, however many rows ask
    for node in nodes:
        if node.get("Subplan Name") in hashed or "Relation Name" not in node:
            continue
        if node["Node Type"] == "ModifyTable":
            continue
        scans = [node]
        if node["Node Type"] == "Bitmap Heap Scan":  # by the indexes below it
            scans = [below for below in _nodes(node) if "Index Name" in below]
        for scan in scans:
            yield Read(
                node["Relation Name"],
                scan.get("Index Name"),
                tuple(_POSTGRESQL_COLUMN.findall(scan.get("Index Cond", ""))),
                covering=node["Node Type"] == "Index Only Scan",
            )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
