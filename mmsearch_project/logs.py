"""The format of log lines, in every process."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """time, level, logger, message, whatever was passed as `extra`, and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in vars(record).items() if key not in _STANDARD},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


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
            "text": {"format": "%(asctime)s - %(levelname)s - %(message)s"},
            "json": {"()": "mmsearch_project.logs.JsonFormatter"},
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
            "django-q": {"handlers": [], "level": "WARNING", "propagate": True},
            "faiss": {"level": "WARNING"},  # it tells how it looks for its own library
            "waitress": {"level": "WARNING"},  # it tells of every client that goes
            "waitress.queue": {"level": "ERROR"},  # and of every request that waits for a thread
        },
    }
