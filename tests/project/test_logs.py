from __future__ import annotations

import io
import json
import logging
import logging.config
import re
import sys
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import Client

from embeddings.models import EmbeddingSpace
from mmsearch_project.logs import logging_config


def record(message: str, *args: object, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("catalog", logging.INFO, "file.py", 1, message, args, None)
    made.created = 0.25
    vars(made).update(fields)
    return made


def json_formatter() -> logging.Formatter:
    """The formatter as logging itself builds it."""
    given = logging_config("json")["formatters"]
    configurator = logging.config.DictConfigurator({"version": 1})
    made: logging.Formatter = configurator.configure_formatter(given["json"])
    return made


def test_json_line_carries_message_and_extra_fields() -> None:
    line = json_formatter().format(record("took %d ms", 3, item="a-1"))
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.250000+00:00",
        "level": "INFO",
        "logger": "catalog",
        "message": "took 3 ms",
        "item": "a-1",
    }


def test_json_line_carries_the_traceback_in_one_line() -> None:
    made = record("failed")
    try:
        int("no")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = json_formatter().format(made)
    assert "\n" not in line
    assert json.loads(line)["traceback"].startswith("Traceback")


@pytest.fixture
def text_log() -> Iterator[io.StringIO]:
    """What the configured console handler writes in the text format."""
    configuration = logging_config("text")
    stream = io.StringIO()
    configuration["handlers"]["console"]["stream"] = stream
    logging.config.dictConfig(configuration)
    yield stream
    logging.config.dictConfig(settings.LOGGING)


def test_text_line_has_time_level_and_message(text_log: io.StringIO) -> None:
    logging.getLogger("catalog").info("took %d ms", 3)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d [\d:,]{12} - INFO - took 3 ms\n", text_log.getvalue())


def test_no_path_forges_a_line_of_the_log(
    space: EmbeddingSpace, text_log: io.StringIO, client: Client
) -> None:
    client.get("/x%0A2026-01-01 00:00:00,000 - INFO - all is well%1B[2J%C2%85%E2%80%A8/")
    (line,) = text_log.getvalue().splitlines()
    assert "GET /x\\n2026-01-01 00:00:00,000 - INFO - all is well\\x1b[2J\\x85\\u2028/" in line


def test_a_traceback_keeps_its_lines(text_log: io.StringIO) -> None:
    try:
        int("no")
    except ValueError:
        logging.getLogger("catalog").exception("failed")
    lines = text_log.getvalue().splitlines()
    assert lines[0].endswith(" - ERROR - failed")
    assert lines[1] == "Traceback (most recent call last):"
