"""The search page: asking, browsing, filters, paging, and errors in words."""

from __future__ import annotations

import html
from collections.abc import Callable
from contextlib import closing

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from catalog.ingest import ItemRecord, ingest
from catalog.models import Installation, Item
from embeddings import overview, worker
from embeddings.models import EmbeddingSpace
from search.answer.answering import search
from search.answer.syntax import ask
from search.pages import query_pictures
from search.pages.addresses import PAGE_SIZE
from tests.conftest import picture
from tests.search.pages.page_reading import links, text_of, tiles

MakeItem = Callable[..., Item]


@pytest.mark.django_db
def test_empty_catalogue_says_how_to_add(client: Client) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert "The catalogue is empty" in text_of(response)
    assert links(response)["Upload a picture"] == "/upload/"
    assert "Try" not in text_of(response)


def test_landing_shows_newest_and_some_from_all_over(client: Client, make_item: MakeItem) -> None:
    made = [make_item(item_id=f"i{number:02}", caption=f"{number}").item_id for number in range(60)]
    Item.objects.filter(item_id__in=made[1:3]).delete()
    response = client.get("/")
    shown = tiles(response)
    assert shown[:3] == made[:-4:-1]
    assert len(shown) == len(set(shown)) == PAGE_SIZE
    assert shown == sorted(shown, reverse=True)
    assert shown[-1] == "i00"
    everything = links(response)["All 58 items"]
    first = client.get(everything)
    assert tiles(first) == made[: -PAGE_SIZE - 1 : -1]
    second = client.get(links(first)["More"])
    assert tiles(second)[0] == made[-PAGE_SIZE - 1]
    assert links(second)["Previous"] == everything


def test_landing_shows_newest_and_examples(client: Client, indexed_items: dict[str, Item]) -> None:
    response = client.get("/")
    assert tiles(response) == ["words", "blue", "green", "red"]
    assert links(response)["a red apple"] == "/?q=a%20red%20apple"


@override_settings(MMSEARCH_DEMO=False)
def test_landing_without_demo_gives_no_examples(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    assert "a red apple" not in links(client.get("/"))


def test_search_shows_what_the_service_finds_in_order(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    found = search(ask("blue", top_n=24))
    response = client.get("/", {"q": "blue"})
    assert tiles(response) == [hit.item.item_id for hit in found.hits]
    assert tiles(response)[0] == "blue"
    best = found.hits[0]
    assert f"<span>{best.score:.2f}</span> by picture and words" in text_of(response)
    assert "from 0 to 1; by picture alone 1.00, words alone 0.97" in text_of(response)
    assert "1–4 of 4 ranked" in text_of(response)


def test_search_shows_thumbnail_with_size_and_alternative_text(
    client: Client, make_item: MakeItem
) -> None:
    item = make_item(item_id="cup", colour="red", caption='a "tall" cup', title="Cup")
    worker.drain()
    page = text_of(client.get("/", {"q": "red", "all": "1"}))
    image = f'<img src="{item.image.url}" alt="a &quot;tall&quot; cup" width="32" height="32"'
    assert image in page


def test_search_lazily_loads_thumbnails_below_the_first(
    client: Client, make_item: MakeItem
) -> None:
    for _ in range(7):
        make_item(colour="red")
    page = text_of(client.get("/"))
    assert (page.count('loading="eager"'), page.count('loading="lazy"')) == (6, 1)


def test_search_filters_by_category_tags_and_modality(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    assert tiles(client.get("/", {"q": "red", "category": "cold"})) == ["green", "blue"]
    assert tiles(client.get("/", {"q": "red", "tag": ["colour", "sea"]})) == ["blue"]
    assert tiles(client.get("/", {"q": "red", "modality": "text"})) == ["words"]


def test_search_filters_are_links_that_toggle(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    offered = links(client.get("/", {"q": "red"}))
    assert offered["cold"] == "/?q=red&category=cold"
    assert offered["sea"] == "/?q=red&tag=sea"
    assert offered["Pictures"] == "/?q=red&modality=image"
    chosen = links(client.get(offered["cold"]))
    assert chosen["cold × (chosen; follow to remove)"] == "/?q=red"


def test_browsing_by_filter_needs_no_query(client: Client, indexed_items: dict[str, Item]) -> None:
    response = client.get("/", {"category": "cold", "tag": "colour"})
    assert tiles(response) == ["blue", "green"]
    assert "1–2 of 2" in text_of(response)


@pytest.mark.parametrize("searched", [{}, {"q": "red"}])
def test_many_tags_are_one_condition(
    client: Client, make_item: MakeItem, searched: dict[str, str]
) -> None:
    """More of them than SQLite joins tables."""
    tags = tuple(f"t{number}" for number in range(70))
    make_item(item_id="all", caption="red", tags=tags)
    make_item(item_id="few", caption="red", tags=tags[1:])
    worker.drain()
    assert tiles(client.get("/", {**searched, "tag": [*tags]})) == ["all"]
    both = tiles(client.get("/", {**searched, "tag": [*tags[1:], tags[1]]}))
    assert sorted(both) == ["all", "few"]


def test_search_like_what_no_item_can_be_called_is_not_found(
    client: Client, space: EmbeddingSpace
) -> None:
    response = client.get("/", {"like": "a/b"})
    assert response.status_code == 404
    assert "Resembling the item a/b." in text_of(response)


def test_search_without_a_hit_offers_the_way_back(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    response = client.get("/", {"q": "red", "category": "none such"})
    assert response.status_code == 200
    assert "Nothing that was asked for has these filters." in text_of(response)
    assert links(response)["Search without them"] == "/?q=red"
    assert links(response)["See the nearest anyway"] == "/?q=red&category=none+such&all=1"


def test_search_before_anything_is_indexed_says_so(client: Client, make_item: MakeItem) -> None:
    make_item(colour="red")
    assert "No item is indexed yet." in text_of(client.get("/", {"q": "sea", "all": "1"}))


def test_search_pages_through_everything_once(client: Client, space: EmbeddingSpace) -> None:
    made = {*_many(PAGE_SIZE + 2)}
    worker.drain()
    first = client.get("/", {"q": "red", "all": "1"})
    assert len(tiles(first)) == PAGE_SIZE
    assert "1–24 of 26" in text_of(first)
    assert "Previous" not in links(first)
    assert links(first)["More"] == f"/?q=red&all=1&offset={PAGE_SIZE}"
    second = client.get(links(first)["More"])
    assert len(tiles(second)) == 2
    assert "25–26 of 26" in text_of(second)
    assert links(second)["Previous"] == "/?q=red&all=1"
    assert "More" not in links(second)
    assert {*tiles(first), *tiles(second)} == made


def test_search_past_the_end_links_to_the_first_page(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    response = client.get("/", {"q": "red", "offset": "400"})
    assert "There are no more results." in text_of(response)
    assert links(response)["Back to the first"] == "/?q=red"


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ({"q": "red", "offset": "-1"}, 400, "The offset '-1' is not a whole number from 0."),
        ({"q": "red", "offset": "²"}, 400, "The offset '²' is not a whole number from 0."),
        ({"q": "red", "offset": "10001"}, 400, "10001 is not from 0 to 10000."),
        ({"q": "red", "modality": "sound"}, 400, "'sound' is none of any, image, text."),
        ({"q": "r" * 2001}, 400, "At most 2000 characters, not 2001."),
        ({"q": "red\x00"}, 400, "Null characters are not allowed."),
        ({"category": "\x00"}, 400, "Null characters are not allowed."),
        ({"like": "nobody"}, 404, "There is no item 'nobody'."),
        ({"picture": "../../secret_key"}, 400, "The picture of this search is no longer kept."),
        ({"picture": "x" * 22}, 400, "The picture of this search is no longer kept."),
    ],
)
def test_search_says_errors_in_words(
    client: Client,
    indexed_items: dict[str, Item],
    address: dict[str, str],
    status: int,
    words: str,
) -> None:
    response = client.get("/", address)
    assert response.status_code == status
    assert '<p class="error" role="alert">' in text_of(response)
    assert words in html.unescape(text_of(response))


@pytest.mark.django_db
def test_search_without_a_space_says_what_to_do(client: Client) -> None:
    response = client.get("/", {"q": "red"})
    assert response.status_code == 503
    assert "No model is open yet. Start the application once" in text_of(response)


def test_search_like_an_item_leaves_it_out(client: Client, indexed_items: dict[str, Item]) -> None:
    response = client.get("/", {"like": "red"})
    assert sorted(tiles(response)) == ["blue", "green", "words"]
    assert links(response)["red"] == "/items/red/"


def test_pages_escape_hostile_words(client: Client, make_item: MakeItem) -> None:
    hostile = '<script>alert("1")</script>'
    make_item(
        item_id="<b>'x'",
        colour="red",
        title=hostile,
        caption=f"{hostile}!",
        category=hostile,
        tags=(hostile,),
    )
    worker.drain()
    for address in ("/", f"/?q={hostile}", f"/?q=red&category={hostile}", "/items/<b>'x'/"):
        response = client.get(address)
        assert response.status_code == 200
        assert "alert(&quot;1&quot;)" in text_of(response)
        assert "<script>alert" not in text_of(response)
        assert "<b>" not in text_of(response)


def test_search_query_count_does_not_grow_with_hits(client: Client, make_item: MakeItem) -> None:
    def queries(address: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(address).status_code == 200
        return len(captured)

    addresses = ("/", "/?q=red", "/?category=warm", "/?q=red&category=warm&tag=fire")
    make_item(colour="red", caption="red", category="warm", tags=("fire",))
    worker.drain()
    client.get("/?q=red")  # opens the index
    few = [queries(address) for address in addresses]
    for _ in range(2):
        make_item(colour="red", caption="red", category="warm", tags=("fire", "hot"))
    worker.drain()
    client.get("/?q=red")  # follows the change log
    assert [queries(address) for address in addresses] == few


def test_picture_query_finds_and_pages_by_plain_links(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    with_picture = {"picture_file": _file(picture("green")), "q": "", "category": "cold"}
    posted = client.post("/", with_picture)
    assert posted.status_code == 302
    response = client.get(posted["Location"])
    assert tiles(response) == ["green", "blue"]
    assert "Resembling your picture." in text_of(response)
    assert links(response)["Remove it"] == "/?category=cold"
    (token,) = [part[8:] for part in posted["Location"][2:].split("&") if part[:8] == "picture="]
    with closing(client.get(f"/media/{query_pictures.name(token)}")) as shown:
        assert (shown.status_code, shown["Content-Type"]) == (200, "image/png")


def test_picture_query_agrees_with_the_api(client: Client, indexed_items: dict[str, Item]) -> None:
    posted = client.post("/", {"picture_file": _file(picture((200, 30, 90))), "q": "evening"})
    page = client.get(posted["Location"])
    api = client.post(
        "/api/v1/search/", {"q": "evening", "image": _file(picture((200, 30, 90))), "top_n": 4}
    )
    assert api.status_code == 200, api.content
    assert tiles(page) == [result["item_id"] for result in api.json()["results"]]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("broken.png", picture("red")[:60], "'broken.png' is damaged or cut short"),
        ("empty.png", b"", "This file is empty."),
        ("page.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "A picture has to be"),
    ],
)
def test_picture_query_refuses_what_is_no_picture(
    client: Client, indexed_items: dict[str, Item], name: str, data: bytes, words: str
) -> None:
    response = client.post("/", {"picture_file": _file(data, name), "q": "red"})
    assert response.status_code == 400
    assert words in html.unescape(text_of(response))


def test_picture_query_without_a_picture_asks_for_one(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    response = client.post("/", {"q": "red"})
    assert response.status_code == 400
    assert "Choose a picture to search with." in text_of(response)


def test_picture_query_too_large_is_refused(client: Client, indexed_items: dict[str, Item]) -> None:
    with override_settings(MMSEARCH_MAX_UPLOAD_BYTES=50):
        response = client.post("/", {"picture_file": _file(picture("red"))})
    assert response.status_code == 413
    assert "The file is larger than" in text_of(response)


@override_settings(MMSEARCH_API_AUTH="required")
@pytest.mark.parametrize("path", ["/", "/?q=red", "/upload/", "/items/red/", "/media/images/x.png"])
def test_pages_ask_for_a_login_where_required(
    client: Client, admin_client: Client, indexed_items: dict[str, Item], path: str
) -> None:
    response = client.get(path)
    assert response.status_code == 302
    assert response["Location"].startswith("/login/?next=")
    assert admin_client.get(path).status_code == (404 if "media" in path else 200)


def test_notice_of_the_starter_model_stands_only_while_it_is_in_use(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    words = "You are trying the starter model."
    assert words not in text_of(client.get("/"))
    EmbeddingSpace.objects.update(source="starter")
    overview.forget_outline()
    assert words in text_of(client.get("/"))


def test_missing_page_is_said_in_words(client: Client, db: None) -> None:
    response = client.get("/no/such/page/")
    assert response.status_code == 404
    assert "There is nothing at this address." in text_of(response)


def test_the_icon_is_found_where_browsers_look_unasked(client: Client) -> None:
    """On pages that name none, as the answers of the API."""
    assert client.get("/favicon.ico")["Location"] == "/static/mmsearch/icon.svg"


def _many(count: int) -> list[str]:
    """Store items in one batch; their ids, oldest first."""
    records = [ItemRecord(item_id=f"i{number:02}", caption="red") for number in range(count)]
    return [outcome.item_id for outcome in ingest(records)]


def _file(data: bytes, name: str = "query.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data)


def test_error_keeps_the_words_to_be_mended(client: Client, indexed_items: dict[str, Item]) -> None:
    for response in (
        client.get("/", {"q": "a <red> one", "offset": "x"}),
        client.post("/", {"q": "a <red> one"}),
    ):
        assert 'type="search" value="a &lt;red&gt; one"' in text_of(response)


def test_what_is_not_indexed_yet_is_told(client: Client, make_item: MakeItem) -> None:
    def told() -> str:
        overview.forget_outline()
        return text_of(client.get("/"))

    make_item(colour="red")
    assert '<div id="arriving"></div>' not in told()
    assert "0 of 1 items are indexed so far. The others are found by their words alone." in told()
    worker.drain()
    assert '<div id="arriving"></div>' in told()
    make_item(colour="blue")
    assert "1 of 2 items are indexed so far" in told()
    assert '<progress max="2" value="1"' in told()


def test_the_demo_catalogue_is_awaited(client: Client, make_item: MakeItem) -> None:
    Installation.objects.create(demo=Installation.Demo.LOADING)
    page = text_of(client.get("/"))
    assert "The demo catalogue is on its way." in page
    assert "The catalogue is empty" not in page
    make_item(colour="red")
    worker.drain()
    overview.forget_outline()
    page = text_of(client.get("/"))
    assert "The demo catalogue is not complete yet: 1 of 1 items are indexed so far." in page
