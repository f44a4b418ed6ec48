"""Deleting in the admin: any number at once, and the demo in one act."""

from __future__ import annotations

import html
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from catalog.models import Item

pytestmark = pytest.mark.django_db
ITEMS = "admin:catalog_item_changelist"


def _many(count: int, **fields: str) -> list[Item]:
    return Item.objects.bulk_create(
        Item(**{"item_id": f"i{number}", "caption": f"thing {number}", **fields})
        for number in range(count)
    )


def _hidden(page: str) -> dict[str, str]:
    """The hidden fields of the question, as the browser sends them back."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="(\w+)">', page))


def test_all_items_of_a_list_are_deleted_whatever_their_number(admin_client: Client) -> None:
    """More than Django takes fields in a form, and without naming them all."""
    _many(1_500, category="old")
    Item.objects.create(item_id="other", caption="stays")
    address = f"{reverse(ITEMS)}?category=old"
    one = Item.objects.filter(category="old").order_by("-pk").values_list("pk", flat=True)[:1]
    asked = admin_client.post(
        address,
        {"action": "delete_selected", "select_across": "1", "_selected_action": [str(one[0])]},
    )
    page = html.unescape(asked.content.decode())
    assert "Are you sure? This deletes 1,500 items" in page
    assert "<li>and 1,480 more</li>" in page
    assert len(page) < 20_000
    Item.objects.create(item_id="late", caption="came meanwhile", category="old")
    answer = admin_client.post(address, _hidden(page), follow=True)
    assert answer.redirect_chain == [(address, 302)]
    assert "Successfully deleted 1,500 items." in answer.content.decode()
    assert {*Item.objects.values_list("item_id", flat=True)} == {"other", "late"}
    assert [entry.object_repr for entry in LogEntry.objects.all()] == ["1,500 items"]


def test_selected_items_are_deleted_and_no_others(admin_client: Client) -> None:
    items = _many(5)
    chosen = [str(item.pk) for item in items[:3]]
    asked = admin_client.post(
        reverse(ITEMS), {"action": "delete_selected", "_selected_action": chosen}
    )
    page = asked.content.decode()
    assert re.findall(r'name="_selected_action" value="(\d+)"', page) == chosen
    admin_client.post(
        reverse(ITEMS), {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    )
    assert {*Item.objects.values_list("item_id", flat=True)} == {"i3", "i4"}
    assert {entry.object_repr for entry in LogEntry.objects.all()} == {
        "thing 0",
        "thing 1",
        "thing 2",
    }


def test_the_demo_is_removed_in_one_act(admin_client: Client) -> None:
    address = reverse("admin:catalog_item_remove_demo")
    Item.objects.create(item_id="own", caption="stays")
    assert "Remove the demo" not in admin_client.get(reverse(ITEMS)).content.decode()
    demo = Item.objects.create(
        item_id="1f600", title="sunflower", image="x", original_filename="1f600.webp"
    )
    page = admin_client.get(reverse(ITEMS)).content.decode()
    assert f'<a href="{address}">Remove the demo</a>' in page
    asked = admin_client.get(address).content.decode()
    assert "This deletes 1 item " in asked
    assert Item.objects.filter(pk=demo.pk).exists()
    answer = admin_client.post(address, _hidden(asked), follow=True)
    assert "Successfully deleted 1 item." in answer.content.decode()
    assert [item.item_id for item in Item.objects.all()] == ["own"]
    assert "There is nothing to delete." in admin_client.get(address).content.decode()


def test_the_demo_is_removed_only_by_who_may_delete(client: Client) -> None:
    client.force_login(User.objects.create_user("ann", is_staff=True))
    assert client.post(reverse("admin:catalog_item_remove_demo")).status_code == 403
