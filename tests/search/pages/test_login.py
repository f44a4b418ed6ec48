"""Logging in and out of the pages, and names that the server does not answer to."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from embeddings.models import EmbeddingSpace
from tests.search.pages.page_reading import links

pytestmark = pytest.mark.django_db
REFUSED = "pictures.example.org:8000"


@pytest.fixture
def user(space: EmbeddingSpace, settings: Settings) -> User:
    settings.MMSEARCH_API_AUTH = "required"
    return User.objects.create_user("ann", password="secret")


def test_anyone_with_an_account_logs_in_and_out(user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    asked = client.get("/upload/", follow=True)
    assert asked.redirect_chain == [("/login/?next=/upload/", 302)]
    login = {
        "username": "ann",
        "password": "secret",
        "next": "/upload/",
        "csrfmiddlewaretoken": asked.context["csrf_token"],
    }
    wrong = client.post("/login/", {**login, "password": "guess"})
    assert "Please enter a correct username and password" in wrong.content.decode()
    page = client.post("/login/", login, follow=True)
    assert page.redirect_chain == [("/upload/", 302)]
    text = page.content.decode()
    assert 'title="Logged in">ann</span>' in text
    assert 'href="/admin/"' not in text
    assert client.get("/logout/").status_code == 405
    left = client.post("/logout/", {"csrfmiddlewaretoken": page.context["csrf_token"]}, follow=True)
    assert left.redirect_chain == [("/", 302), ("/login/?next=/", 302)]


def test_a_login_leads_to_no_other_site(user: User) -> None:
    login = {"username": "ann", "password": "secret", "next": "https://evil.example/"}
    assert Client().post("/login/", login)["Location"] == "/"


def test_staff_and_strangers_see_the_way_to_the_admin(
    admin_client: Client, client: Client, space: EmbeddingSpace
) -> None:
    assert 'href="/admin/"' in admin_client.get("/").content.decode()
    page = client.get("/").content.decode()
    assert 'href="/admin/"' in page


def test_whoever_is_not_logged_in_is_offered_a_login_and_comes_back(
    admin_client: Client, client: Client, space: EmbeddingSpace
) -> None:
    assert links(client.get("/?q=red"))["Log in"] == "/login/?next=/%3Fq%3Dred"
    assert links(client.get("/login/"))["Log in"] == "/login/"
    logged_in = admin_client.get("/").content.decode()
    assert "Log out" in logged_in
    assert "Log in" not in logged_in


def test_a_strange_name_is_refused_with_the_mend(client: Client) -> None:
    page = client.get("/", headers={"Host": REFUSED})
    assert page.status_code == 400
    text = page.content.decode()
    assert f"does not answer to <code>{REFUSED}</code>" in text
    assert "<code>MMSEARCH_ALLOWED_HOSTS=pictures.example.org</code>" in text
    forged = client.get("/", headers={"Host": "<b>x</b>"}).content.decode()
    assert "<b>" not in forged


@pytest.mark.parametrize("path", ["/stats/", "/api/v1/items/", "/api/none", "/search_text/"])
def test_a_strange_name_is_refused_to_programs_as_json(client: Client, path: str) -> None:
    answer = client.get(path, headers={"Host": REFUSED})
    assert (answer.status_code, answer.json()) == (
        400,
        {
            "detail": f"This server does not answer to {REFUSED!r}."
            " Add MMSEARCH_ALLOWED_HOSTS=pictures.example.org"
        },
    )
