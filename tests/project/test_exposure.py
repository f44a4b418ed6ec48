"""Who can come in, told from the settings alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
from django.core.exceptions import ImproperlyConfigured

from mmsearch_project import exposure
from tests.databases import servers_of

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = {"host": "127.0.0.1", "names": (), "https": False, "origins": ()}
Entry = namedtuple("Entry", "address")  # noqa: PYI024  as psutil's


@pytest.mark.parametrize(
    ("settings", "by"),
    [
        ({}, ""),
        ({"host": "::1"}, ""),
        ({"host": "127.0.0.2", "names": ("localhost", "127.0.0.1", "[::1]")}, ""),
        ({"host": "0.0.0.0"}, "HOST=0.0.0.0"),
        ({"host": "192.168.1.7"}, "HOST=192.168.1.7"),
        ({"names": ("localhost", "pictures.example.org")}, "MMSEARCH_ALLOWED_HOSTS=pictures"),
        ({"names": ("*",)}, "MMSEARCH_ALLOWED_HOSTS=*"),
        ({"https": True}, "MMSEARCH_HTTPS=1"),
        ({"origins": ("https://a.example",)}, "MMSEARCH_TRUSTED_ORIGINS=https://a.example"),
    ],
)
def test_whatever_lets_others_in_is_found(settings: dict[str, object], by: str) -> None:
    found = exposure.exposed_by(**{**LOOPBACK, **settings})  # type: ignore[arg-type]
    assert found.startswith(by)
    assert bool(found) is bool(by)


def test_login_is_required_wherever_others_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exposure.api_auth("", anonymous_writes=False) == "open"
    assert exposure.api_auth("MMSEARCH_HTTPS=1", anonymous_writes=False) == "required"
    assert exposure.api_auth("MMSEARCH_HTTPS=1", anonymous_writes=True) == "required"
    monkeypatch.setenv("MMSEARCH_API_AUTH", "open")
    assert exposure.api_auth("", anonymous_writes=False) == "open"
    assert exposure.api_auth("MMSEARCH_HTTPS=1", anonymous_writes=True) == "open"
    with pytest.raises(ImproperlyConfigured) as caught:
        exposure.api_auth("MMSEARCH_HTTPS=1", anonymous_writes=False)
    assert str(caught.value) == (
        "MMSEARCH_API_AUTH=open together with MMSEARCH_HTTPS=1 would let anyone on the network add,"
        " change and delete items. Leave MMSEARCH_API_AUTH out, or if that is what you want, add"
        " MMSEARCH_ALLOW_ANONYMOUS_WRITES=1."
    )


def test_own_addresses_are_answered_and_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    interfaces = {
        "lo": [Entry("127.0.0.1"), Entry("::1")],
        "eth0": [Entry("192.168.1.7"), Entry("fe80::1%eth0"), Entry("00:16:3e:00:00:01")],
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: interfaces)
    assert exposure.own_names("0.0.0.0") == ["192.168.1.7"]
    assert exposure.own_names("::") == ["192.168.1.7", "[fe80::1]"]
    assert exposure.own_names("10.0.0.5") == ["10.0.0.5"]
    assert exposure.own_names("pictures.lan") == ["pictures.lan"]


def test_the_documented_production_settings_ask_for_a_login(tmp_path: Path) -> None:
    """An anonymous DELETE of an existing item, in a process set up as the documentation says."""
    script = (
        "import django; django.setup()\n"
        "from django.core.management import call_command; call_command('migrate', verbosity=0)\n"
        "from catalog.models import Item; Item.objects.create(item_id='a', caption='x')\n"
        "from django.test import Client\n"
        "headers = {'Host': 'pictures.example.org', 'X-Forwarded-Proto': 'https'}\n"
        "print(Client().delete('/api/v1/items/a/', headers=headers).status_code,"
        " Item.objects.count())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "mmsearch_project.settings",
            "MMSEARCH_DATA_DIR": str(tmp_path),
            **servers_of(tmp_path),
            "MMSEARCH_ALLOWED_HOSTS": "pictures.example.org",
            "MMSEARCH_HTTPS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "401 1\n", done.stderr
