from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from catalog.models import Item
from embeddings import openings, switching, worker
from embeddings.models import Embedding, EmbeddingSpace, SpaceOpening
from embeddings.opening import note_complete, open_space
from embeddings.spaces import require_active_space
from search.tasks import maintain_index
from tests.spaces import build, take_over

PAGE = "admin:embeddings_embeddingspace_changelist"
ACT = "admin:embeddings_embeddingspace_act"


def text_of(client: Client) -> str:
    answer = client.get(reverse(PAGE))
    assert answer.status_code == 200
    plain = re.sub(r"<[^>]+>", " ", answer.content.decode())
    return re.sub(r"\s+", " ", html.unescape(plain))


def press(client: Client, action: str, **fields: object) -> str:
    """Press a button; the page that follows."""
    answer = client.post(reverse(ACT, args=[action]), fields, follow=True)
    assert answer.redirect_chain == [(reverse(PAGE), 302)]
    return html.unescape(answer.content.decode())


@pytest.fixture
def staff(client: Client, db: None) -> Callable[..., Client]:
    """Log a member of staff in, who may look, and what else is named."""

    def log_in(*permissions: str) -> Client:
        user = User.objects.create_user("clerk", is_staff=True)
        names = ["view_embeddingspace", *permissions]
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client.force_login(user)
        return client

    return log_in


@pytest.mark.usefixtures("indexed_items")
def test_the_page_says_how_far_each_space_is(admin_client: Client) -> None:
    active, other = require_active_space(), open_space("other").space
    assert other is not None
    Item.objects.create(item_id="new", caption="new")

    page = text_of(admin_client)

    assert f"{active.pk} colour 32 dimensions, fp32 active 4 of 5" in page
    assert f"{other.pk} other 32 dimensions, fp32 building 0 of 5" in page
    assert "other fp32 (32 dimensions) takes over once it is complete." in page


@pytest.mark.usefixtures("indexed_items")
def test_a_model_is_changed_and_back_and_given_up_by_buttons(admin_client: Client) -> None:
    first = require_active_space()
    assert "The worker opens the space of other." in press(admin_client, "open", model=" other ")
    assert "Opening other: Waiting for the worker." in text_of(admin_client)
    assert openings.open_asked() == 1
    worker.drain()
    other = EmbeddingSpace.objects.get(model="other")
    note_complete(other)
    assert switching.advance() == other

    said = press(admin_client, "rollback")
    assert f"Space {first.pk}, {first}, answers again in a moment." in said
    assert switching.advance() == first
    said = press(admin_client, "activate", space=other.pk)
    assert f"Space {other.pk}, {other}, answers in a moment." in said
    assert switching.advance() == other

    assert "answers searches. Let another one answer first" in press(
        admin_client, "retire", space=other.pk
    )
    assert "is retired: the worker deletes" in press(admin_client, "retire", space=first.pk)
    assert "8 rows are still to be deleted." in text_of(admin_client)
    maintain_index()
    assert "still to be deleted" not in text_of(admin_client)
    assert set(Embedding.objects.values_list("space", flat=True)) == {other.pk}


@pytest.mark.usefixtures("indexed_items")
def test_a_switch_is_called_off_by_activating_what_answers(admin_client: Client) -> None:
    build("other", takes_over=True)
    press(admin_client, "activate", space=require_active_space().pk)

    assert switching.outlook() is None


def test_what_is_incomplete_is_activated_as_it_is_once_told_what_is_missing(
    admin_client: Client, indexed_items: dict[str, Item]
) -> None:
    target = open_space("other", takes_over=False).space
    assert target is not None
    Item.objects.create(item_id="new", caption="new")  # nor does the active space have it
    page = text_of(admin_client)
    assert "Activate as it is 4 items that can be found now could not be found" in page

    said = press(admin_client, "activate", space=target.pk, as_it_is="")

    assert f"Space {target.pk}, {target}, answers in a moment." in said
    assert switching.advance() == target
    assert "Activate as it is" not in text_of(admin_client)
    (entry,) = LogEntry.objects.all()
    assert (entry.object_id, entry.change_message) == (str(target.pk), "Chosen to answer as it is.")


@pytest.mark.usefixtures("indexed_items")
def test_what_cannot_be_is_said(admin_client: Client) -> None:
    space = open_space("other").space
    assert space is not None
    assert "4 items that can be found now" in press(admin_client, "activate", space=space.pk)
    assert "Name a model" in press(admin_client, "open", model=" ")
    assert "There is no space 0." in press(admin_client, "activate", space="x" * 30)
    assert "'dance' is nothing" in press(admin_client, "dance", space=space.pk)
    assert "No space that answered before is kept." in press(admin_client, "rollback")


def test_an_opening_that_failed_says_why(admin_client: Client, space: EmbeddingSpace) -> None:
    press(admin_client, "open", model="gone")
    SpaceOpening.objects.update(error="The hub has no such model.")

    assert "Opening gone: The hub has no such model. Forget it" in text_of(admin_client)
    assert "The model gone is no longer asked for." in press(admin_client, "forget", model="gone")
    press(admin_client, "open", model="other")
    press(admin_client, "forget", model="other")
    assert SpaceOpening.objects.get().model == "other"  # which has not failed


@pytest.mark.usefixtures("indexed_items")
def test_who_may_only_look_has_no_buttons_and_is_refused(staff: Callable[..., Client]) -> None:
    former = require_active_space()
    take_over("other")
    client = staff()

    assert "<button" not in client.get(reverse(PAGE)).content.decode().split('id="spaces"')[1]
    for action in ("open", "activate", "rollback", "retire"):
        answer = client.post(reverse(ACT, args=[action]), {"space": former.pk, "model": "m"})
        assert answer.status_code == 403
    assert switching.outlook() is None
    assert not SpaceOpening.objects.exists()


@pytest.mark.usefixtures("indexed_items")
def test_who_may_change_may_not_retire(staff: Callable[..., Client]) -> None:
    former = require_active_space()
    take_over("other")
    client = staff("change_embeddingspace")

    assert client.post(reverse(ACT, args=["retire"]), {"space": former.pk}).status_code == 403
    press(client, "rollback")
    assert switching.advance() == former


@pytest.mark.usefixtures("space")
def test_a_form_of_another_site_and_a_link_do_nothing(admin_user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)

    assert client.post(reverse(ACT, args=["open"]), {"model": "m"}).status_code == 403
    assert client.get(reverse(ACT, args=["rollback"])).status_code == 405
    assert not SpaceOpening.objects.exists()


@pytest.mark.usefixtures("space")
def test_strangers_are_sent_to_the_login(client: Client) -> None:
    for address in (reverse(PAGE), reverse(ACT, args=["open"])):
        assert client.get(address)["Location"].startswith("/admin/login/")


@pytest.mark.usefixtures("space")
def test_query_count_grows_with_spaces_alone(
    admin_client: Client, make_item: Callable[..., Item]
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            text_of(admin_client)
        return len(captured)

    make_item(colour="red")
    queries()  # what every page may say is found once
    few = queries()
    for number in range(3):
        make_item(caption=f"words {number}")
    assert queries() == few
