from __future__ import annotations

import logging
import re

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from mmsearch_project.middleware import (
    CONTENT_SECURITY_POLICY,
    ContentSecurityPolicy,
    RequestLog,
)


def not_found(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=404)


def test_request_log_says_who_asked_what_and_what_came_of_it(
    caplog: pytest.LogCaptureFixture, rf: RequestFactory
) -> None:
    with caplog.at_level(logging.INFO):
        RequestLog(not_found)(rf.get("/items/x/"))
    (message,) = caplog.messages
    assert re.fullmatch(r"GET /items/x/ answered 404 in \d+\.\d ms", message)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/static/a.css"])
def test_request_log_keeps_probes_out_of_the_log(
    caplog: pytest.LogCaptureFixture, rf: RequestFactory, path: str
) -> None:
    with caplog.at_level(logging.INFO):
        RequestLog(not_found)(rf.get(path))
    assert caplog.messages == []


def test_policy_is_sent_unless_the_answer_brings_its_own(rf: RequestFactory) -> None:
    answer = ContentSecurityPolicy(not_found)(rf.get("/"))
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY

    def own(request: HttpRequest) -> HttpResponse:
        return HttpResponse(headers={"Content-Security-Policy": "default-src 'none'"})

    answer = ContentSecurityPolicy(own)(rf.get("/"))
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'"
