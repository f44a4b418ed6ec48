"""Liveness, readiness and metrics, for whatever watches over the server."""

from __future__ import annotations

from django.http import HttpResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from search.api import schema
from search.operations.health import readiness
from search.operations.metrics import exposition


class Healthz(APIView):
    """Whether the process answers at all; asks neither database nor model. Open to everyone."""

    authentication_classes = ()
    permission_classes = ()

    @schema.HEALTHZ
    def get(self, request: Request) -> Response:  # noqa: ARG002
        """Always `ok`."""
        return Response({"status": "ok"})


class Readyz(APIView):
    """Whether searches can be answered. Open to everyone: load balancers have no login."""

    authentication_classes = ()
    permission_classes = ()

    @schema.READYZ
    def get(self, request: Request) -> Response:  # noqa: ARG002
        """Database, model and index, each `ok` or what it waits for."""
        found = readiness()
        return Response(
            {"ready": found.ready, "parts": found.parts}, status=200 if found.ready else 503
        )


class Metrics(APIView):
    """Counts and latencies for Prometheus; asks for a token where the API does."""

    @schema.METRICS
    def get(self, request: Request) -> HttpResponse:  # noqa: ARG002
        """Prometheus' text format."""
        return HttpResponse(exposition(), content_type=CONTENT_TYPE_PLAIN_0_0_4)
