"""API keys: told once, kept as digests."""

from __future__ import annotations

import html
import re
from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from rest_framework.authtoken.models import Token

from embeddings.models import EmbeddingSpace

LIST = "admin:authtoken_tokenproxy_changelist"


@pytest.fixture
def user(settings: Settings, space: EmbeddingSpace) -> User:
    settings.MMSEARCH_API_AUTH = "required"
    return User.objects.create_user("ann")


def opens(key: str) -> bool:
    answer = Client().get("/stats/", headers={"Authorization": f"Token {key}"})
    assert answer.status_code in {200, 401}
    return answer.status_code == 200


def everything_stored() -> str:
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        return "".join(
            str(cursor.execute(f'SELECT * FROM "{table}"').fetchall()) for table in tables
        )


def test_admin_shows_a_new_key_once_and_stores_it_nowhere(admin_client: Client, user: User) -> None:
    answer = admin_client.post(
        reverse("admin:authtoken_tokenproxy_add"), {"user": user.pk}, follow=True
    )
    found = re.search(r"The API key of ann is (\w{40}) ", html.unescape(answer.content.decode()))
    assert found is not None
    assert opens(found[1])
    assert found[1] not in everything_stored()
    stored = Token.objects.get().key
    assert not opens(stored)
    assert stored not in answer.content.decode()
    page = admin_client.get(reverse(LIST)).content.decode()
    assert "ann" in page
    assert stored not in page


def test_admin_revokes_a_key(admin_client: Client, user: User) -> None:
    call_command("drf_create_token", "ann")
    stored = Token.objects.get().key
    address = reverse("admin:authtoken_tokenproxy_delete", args=[user.pk])
    assert "API key of ann" in admin_client.get(address).content.decode()
    answer = admin_client.post(address, {"post": "yes"}, follow=True)
    assert stored not in answer.content.decode()
    assert not Token.objects.exists()
    assert LogEntry.objects.get().object_repr == "API key of ann"


def test_command_makes_keys_that_open(user: User, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("drf_create_token", "ann")
    first = capsys.readouterr().out.strip()
    assert opens(first)
    with pytest.raises(CommandError, match=r"^ann has a key, which was shown once."):
        call_command("drf_create_token", "ann")
    call_command("drf_create_token", "ann", reset=True)
    assert opens(capsys.readouterr().out.strip())
    assert not opens(first)
    with pytest.raises(CommandError, match=r"^There is no user 'bob'."):
        call_command("drf_create_token", "bob")


def test_keys_from_before_are_hashed_and_still_open(user: User, admin_user: User) -> None:
    old = [Token.objects.create(user=each).key for each in (user, admin_user)]
    LogEntry.objects.log_actions(admin_user.pk, Token.objects.all(), 1)
    migration = import_module("search.migrations.0001_hash_api_keys")
    migration.hash_keys(apps, None)
    migration.forget_keys_in_the_log(apps, None)
    assert [opens(key) for key in old] == [True, True]
    entries = str([*LogEntry.objects.values_list("object_repr", flat=True)])
    assert not any(key in entries + str(Token.objects.values_list("key")) for key in old)
