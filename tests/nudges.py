"""What the queue of background jobs holds, wherever it is kept."""

from __future__ import annotations

from django_q.brokers import get_broker
from django_q.signing import SignedPackage


def forget() -> None:
    """Empty the queue: one outside the database is not rolled back with a test."""
    get_broker().purge_queue()


def queued() -> list[str]:
    """The functions that are asked for, taken out of the queue."""
    broker = get_broker()
    packages = [
        package
        for _ in range(broker.queue_size())
        for _, package in broker.dequeue()  # one at a time, as the settings say
    ]
    return [SignedPackage.loads(package)["func"] for package in packages]
