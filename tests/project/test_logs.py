from __future__ import annotations

import json
import logging
import logging.config
import sys

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


def test_text_line_has_time_level_and_message() -> None:
    configuration = logging_config("text")["formatters"]["text"]
    line = logging.Formatter(configuration["format"]).format(record("took %d ms", 3))
    assert line.endswith(" - INFO - took 3 ms")
