"""The format of log lines, in every process."""

from __future__ import annotations

import logging
from typing import Any, Final

_ESCAPES: Final = {
    code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)
}
"""Of control characters and whatever else ends a line."""


class OneLine(logging.Formatter):
    """Writes a record's message as one line: no request can put in a line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        return super().formatMessage(record).translate(_ESCAPES)


def is_news(record: logging.LogRecord) -> bool:
    """False for what says nothing: "not ready yet", and that an answer to HEAD has no body."""
    not_ready = getattr(record, "status_code", None) == 503 and not record.exc_info
    return not not_ready and not record.getMessage().startswith(
        "WSGI app sent body bytes on a no-body response"
    )


def logging_config(log_format: str) -> dict[str, Any]:
    """Configuration for `logging.config.dictConfig`; `log_format` is ``text`` or ``json``."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {
                "()": "mmsearch_project.logs.OneLine",
                "fmt": "%(asctime)s - %(levelname)s - %(message)s",
            },
            "json": {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "fmt": ["levelname", "name", "message"],
                "rename_fields": {
                    "timestamp": "time",
                    "levelname": "level",
                    "name": "logger",
                    "exc_info": "traceback",
                },
                "timestamp": True,
                "json_ensure_ascii": False,
            },
        },
        "filters": {"news": {"()": "django.utils.log.CallbackFilter", "callback": is_news}},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": log_format,
                "filters": ["news"],
            }
        },
        "root": {"handlers": ["console"], "level": "INFO"},
        "loggers": {
            # The request log says it better, and Django would mail it to nobody.
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            "django.request": {"level": "ERROR"},
            "botocore": {"level": "WARNING"},  # it tells where it found credentials
            "django-q": {"handlers": [], "level": "WARNING", "propagate": True},
            "faiss": {"level": "WARNING"},  # it tells how it looks for its own library
            "waitress": {"level": "WARNING"},  # it tells of every client that goes
            "waitress.queue": {"level": "ERROR"},  # and of every request that waits for a thread
        },
    }
