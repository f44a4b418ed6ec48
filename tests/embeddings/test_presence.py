"""Which processes live, told by real ones."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from embeddings import presence
from embeddings.models import LivingProcess
from embeddings.presence import EXPIRY, Role

LIVE = """
import django
django.setup()
from embeddings import presence
print(presence.process_id(), flush=True)
input()
"""


def test_a_death_on_this_host_is_noticed_at_once_and_forgotten_once() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LIVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert name != presence.process_id()
        assert name not in presence.dead_here()
        process.kill()
    assert name in presence.dead_here()
    assert presence.process_id() not in presence.dead_here()


@pytest.mark.django_db
def test_a_worker_is_alive_while_its_heart_beats_on_any_host() -> None:
    presence.Presence(Role.SERVING)._write()
    assert not presence.worker_is_alive()

    LivingProcess.objects.create(pk="far", role=Role.WORKING, host="far", pid=1, seen_at=Now())
    assert presence.worker_is_alive()
    LivingProcess.objects.filter(pk="far").update(seen_at=Now() - EXPIRY - timedelta(seconds=1))
    assert not presence.worker_is_alive()


@pytest.mark.django_db
def test_a_dead_process_of_this_host_is_not_alive_whatever_its_row_says() -> None:
    dead = subprocess.run(
        [sys.executable, "-c", LIVE], input="\n", capture_output=True, text=True, check=True
    ).stdout.strip()
    LivingProcess.objects.create(pk=dead, role=Role.WORKING, host="here", pid=1, seen_at=Now())
    assert not presence.worker_is_alive()

    presence.forget([dead])
    assert dead not in presence.dead_here()
    assert not LivingProcess.objects.exists()
