"""The shared queue where it is in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.conf import settings

if TYPE_CHECKING:
    from redis import Redis as Client

CONNECT_TIMEOUT: Final = 2.0
ANSWER_TIMEOUT: Final = 5.0
"""Seconds that Redis may take: longer than it is asked to wait for a task."""


def redis_broker(list_key: str | None = None) -> Any:
    """What django-q2 makes its broker with; the driver is imported where it is used."""
    import redis
    from django_q.brokers.redis_broker import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    class RedisBroker(Redis):  # type: ignore[misc]  # django_q has no types
        """One that is slow or gone keeps nobody waiting for long."""

        @staticmethod
        def get_connection(list_key: str | None = None) -> Client:  # noqa: ARG004
            client: Client = redis.Redis.from_url(
                settings.MMSEARCH_BROKER_URL,
                socket_connect_timeout=CONNECT_TIMEOUT,
                socket_timeout=ANSWER_TIMEOUT,
                retry=Retry(NoBackoff(), 0),  # whoever asks goes on without it
            )
            return client

        def set_stat(self, *_: object) -> None:
            """Keep no statistics, which nobody reads."""

    return RedisBroker(list_key=list_key)
