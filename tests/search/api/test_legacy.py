"""The four original endpoints: exact shapes, exact refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from catalog.ingest.formats import SUPPORTED
from catalog.models import Item
from embeddings.models import EmbeddingSpace
from tests.conftest import picture
from tests.encoders import POISON

JSON = "application/json"


def upload(name: str = "red.png", data: bytes | None = None) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, picture("red") if data is None else data)


def test_ingest_stream_answers_in_the_original_shape(client: Client, space: EmbeddingSpace) -> None:
    answer = client.post(
        "/ingest_stream/",
        {
            "text_caption": "A fluffy cat.",
            "image_file": upload("cat.png"),
            "item_id": "cat-1",
            "title": "Cat",
            "tags_str": "pet, animal,pet",
            "category": "Animals",
        },
    )
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"message", "item_id", "processing_time"}
    assert body["message"] == "Item accepted for processing."
    assert body["item_id"] == "cat-1"
    assert isinstance(body["processing_time"], float)
    item = Item.objects.get(item_id="cat-1")
    assert (item.title, item.caption, item.category) == ("Cat", "A fluffy cat.", "Animals")
    assert item.original_filename == "cat.png"
    assert sorted(tag.name for tag in item.tags.all()) == ["animal", "pet"]


def test_ingest_stream_makes_an_id_where_none_is_given(
    client: Client, space: EmbeddingSpace
) -> None:
    first, second = (
        client.post("/ingest_stream/", {"text_caption": "A cat.", "item_id": ""}).json()["item_id"]
        for _ in range(2)
    )
    assert first != second
    assert set(Item.objects.values_list("item_id", flat=True)) == {first, second}


def test_ingest_stream_updates_the_item_of_the_same_id(
    client: Client, space: EmbeddingSpace
) -> None:
    first = {"item_id": "cat-1", "text_caption": "A cat.", "title": "Cat", "tags_str": "pet"}
    for fields in (first, {"item_id": "cat-1", "text_caption": "A black cat."}):
        assert client.post("/ingest_stream/", fields).json()["item_id"] == "cat-1"
    item = Item.objects.get()
    assert (item.caption, item.title) == ("A black cat.", "Cat")
    assert [tag.name for tag in item.tags.all()] == ["pet"]


@pytest.mark.parametrize("content_type", ["multipart", "form"])
def test_ingest_stream_takes_a_form_without_a_file(
    client: Client, space: EmbeddingSpace, content_type: str
) -> None:
    if content_type == "multipart":
        answer = client.post("/ingest_stream/", {"text_caption": "A cat.", "image_file": ""})
    else:
        answer = client.post(
            "/ingest_stream/", "text_caption=A+cat.", "application/x-www-form-urlencoded"
        )
    assert answer.status_code == 200
    assert Item.objects.get().caption == "A cat."


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, {"text_caption": ["Give a caption, an image file, or both."]}),
        (
            {"text_caption": "  ", "title": "x"},
            {"text_caption": ["Give a caption, an image file, or both."]},
        ),
        ({"text_caption": "a\x00b"}, {"text_caption": ["Null characters are not allowed."]}),
        (
            {"text_caption": "a", "title": "t" * 301},
            {"title": ["Ensure this field has no more than 300 characters."]},
        ),
        (
            {"image_file": "a text"},
            {"image_file": ["Send the picture as a file of a multipart form."]},
        ),
    ],
)
def test_ingest_stream_names_the_field_at_fault(
    client: Client, space: EmbeddingSpace, fields: dict[str, str], error: dict[str, list[str]]
) -> None:
    answer = client.post("/ingest_stream/", fields)
    assert (answer.status_code, answer.json()) == (400, error)
    assert not Item.objects.exists()


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.png", b"", "The picture has no bytes."),
        ("cut.jpg", picture("red", format="JPEG")[:600], "damaged or cut short"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        ("paper.pdf", b"%PDF-1.7", "a PDF document"),
    ],
)
def test_ingest_stream_refuses_a_bad_picture_with_the_reason(
    client: Client, space: EmbeddingSpace, name: str, data: bytes, reason: str
) -> None:
    answer = client.post("/ingest_stream/", {"image_file": upload(name, data)})
    assert answer.status_code == 400
    assert answer.json().keys() == {"image_file"}
    assert reason in answer.json()["image_file"][0]


def test_ingest_stream_refuses_a_picture_over_the_limit(
    client: Client, space: EmbeddingSpace, settings: Settings
) -> None:
    settings.MMSEARCH_MAX_UPLOAD_BYTES = 50
    answer = client.post("/ingest_stream/", {"image_file": upload()})
    size = len(picture("red"))
    assert answer.status_code == 413
    assert answer.json() == {"detail": f"The picture has {size} bytes; at most 50 are accepted."}


def test_ingest_stream_refuses_a_body_over_the_limit_unread(
    client: Client, space: EmbeddingSpace, settings: Settings
) -> None:
    settings.MMSEARCH_MAX_UPLOAD_BYTES = 1000
    answer = client.post("/ingest_stream/", {"image_file": upload(data=b"x" * (2**20 + 2000))})
    assert answer.status_code == 413
    assert "at most 1,049,576 are accepted" in answer.json()["detail"]


def test_search_text_answers_in_the_original_shape(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    answer = client.post("/search_text/", {"query_text": "red", "top_n": 2}, JSON)
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"results", "query_time"}
    assert isinstance(body["query_time"], float)
    assert len(body["results"]) == 2
    best = body["results"][0]
    item = indexed_items["red"]
    assert isinstance(best.pop("score"), float)
    assert best == {
        "id": str(item.pk),
        "item_id": "red",
        "text": "",
        "image_path": item.image.name,
        "metadata": {
            "title": "Red",
            "tags": "colour,fire",
            "category": "warm",
            "original_filename": "red.png",
            "faiss_id": item.pk,
        },
    }


def test_search_text_gives_five_results_unless_told(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    answer = client.post("/search_text/", {"query_text": "red"}, JSON)
    assert answer.json()["results"][0]["item_id"] == "red"
    assert len(answer.json()["results"]) == 4


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("{}", {"query_text": ["This field is required."]}),
        ('{"query_text": ""}', {"query_text": ["This field may not be blank."]}),
        ('{"query_text": " \\n"}', {"query_text": ["This field may not be blank."]}),
        ('{"query_text": null}', {"query_text": ["This field may not be null."]}),
        ('{"query_text": 5}', {"query_text": ["Not a valid string."]}),
        ('{"query_text": ["a"]}', {"query_text": ["Not a valid string."]}),
        ('{"query_text": "a\\u0000"}', {"query_text": ["Null characters are not allowed."]}),
        (
            '{"query_text": "\\ud800"}',
            {"query_text": ["Surrogate characters are not allowed: U+D800."]},
        ),
        (
            '{"query_text": "a", "top_n": 0}',
            {"top_n": ["Ensure this value is greater than or equal to 1."]},
        ),
        (
            '{"query_text": "a", "top_n": 1001}',
            {"top_n": ["Ensure this value is less than or equal to 1000."]},
        ),
        ('{"query_text": "a", "top_n": "many"}', {"top_n": ["A valid integer is required."]}),
        ('{"query_text": "a", "top_n": 2.5}', {"top_n": ["A valid integer is required."]}),
        ('{"query_text": "a", "top_n": true}', {"top_n": ["A valid integer is required."]}),
        ('{"query_text": "a", "top_n": null}', {"top_n": ["This field may not be null."]}),
        (
            '{"query_text": "%s"}' % ("a" * 2001),
            {"query_text": ["Ensure this field has no more than 2000 characters."]},
        ),
        (
            "[1]",
            {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]},
        ),
        (
            '{"query_text": ',
            {"detail": "JSON parse error - Expecting value: line 1 column 16 (char 15)"},
        ),
        ("[" * 100_000, {"detail": "JSON parse error - nested too deeply."}),
    ],
)
def test_search_text_names_what_is_wrong(
    client: Client, space: EmbeddingSpace, body: str, error: dict[str, list[str]]
) -> None:
    answer = client.post("/search_text/", body, JSON)
    assert (answer.status_code, answer.json()) == (400, error)


def test_search_text_refuses_bytes_that_are_no_text(client: Client, space: EmbeddingSpace) -> None:
    answer = client.post("/search_text/", b'{"query_text": "\xff"}', JSON)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("JSON parse error - 'utf-8' codec can't decode")


def test_search_text_refuses_a_huge_body_unread(
    client: Client, space: EmbeddingSpace, settings: Settings
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    answer = client.post("/search_text/", {"query_text": "a" * 100}, JSON)
    assert answer.status_code == 413
    assert answer.json()["detail"].endswith("at most 100 are accepted.")


def test_search_text_answers_500_as_json_where_encoding_fails(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    answer = client.post("/search_text/", {"query_text": POISON}, JSON)
    assert answer.status_code == 500
    assert answer.json() == {"detail": "The query could not be encoded: This text is poison."}


@pytest.mark.django_db
def test_search_text_says_503_before_a_model_is_open(client: Client) -> None:
    answer = client.post("/search_text/", {"query_text": "red"}, JSON)
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("No model is open yet.")


def test_search_image_finds_what_looks_alike(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    answer = client.post(
        "/search_image/", {"image_file": upload("b.png", picture("blue")), "top_n": "1"}
    )
    assert answer.status_code == 200
    assert answer.json().keys() == {"results", "query_time"}
    assert [result["item_id"] for result in answer.json()["results"]] == ["blue"]


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ({}, 400, {"image_file": ["This field is required."]}),
        ({"image_file": upload(data=b"")}, 400, {"image_file": ["The picture has no bytes."]}),
        (
            {"image_file": upload("a.pdf", b"%PDF")},
            400,
            {"image_file": [f"'a.pdf' is a PDF document. A picture has to be {SUPPORTED}."]},
        ),
    ],
)
def test_search_image_names_what_is_wrong(
    client: Client,
    space: EmbeddingSpace,
    fields: dict[str, object],
    status: int,
    error: dict[str, list[str]],
) -> None:
    answer = client.post("/search_image/", fields)
    assert (answer.status_code, answer.json()) == (status, error)


@pytest.mark.parametrize(
    ("path", "fields", "error"),
    [
        (
            "/ingest_stream/",
            {"caption": "A cat.", "tags": "pet", "image": upload()},
            {
                "caption": ["There is no such field. Did you mean 'text_caption'?"],
                "image": ["There is no such field. Did you mean 'image_file'?"],
                "tags": ["There is no such field. Did you mean 'tags_str'?"],
            },
        ),
        (
            "/search_image/",
            {"file": upload()},
            {
                "image_file": ["This field is required."],
                "file": [
                    "There is no such field. Known are image_file, min_score, top_n.",
                ],
            },
        ),
        (
            "/search_text/",
            {"query": "red"},
            {
                "query_text": ["This field is required."],
                "query": ["There is no such field. Did you mean 'query_text'?"],
            },
        ),
        (
            "/search_text/",
            {"query_text": "red", "topn": 50},
            {"topn": ["There is no such field. Did you mean 'top_n'?"]},
        ),
    ],
)
def test_wrong_names_are_refused_with_the_right_ones(
    client: Client,
    indexed_items: dict[str, Item],
    path: str,
    fields: dict[str, object],
    error: dict[str, list[str]],
) -> None:
    if path == "/search_text/":
        answer = client.post(path, fields, JSON)
    else:
        answer = client.post(path, fields)
    assert (answer.status_code, answer.json()) == (400, error)
    assert Item.objects.count() == 4


def test_stats_count_items_and_vectors(client: Client, indexed_items: dict[str, Item]) -> None:
    body = client.get("/stats/").json()
    original = {
        "message": str,
        "total_vectors_in_faiss": int,
        "memory_rss_mb": float,
        "memory_vms_mb": float,
        "cpu_percent": float,
        "faiss_index_path": str,
        "metadata_db_path": str,
    }
    assert {name: type(body[name]) for name in original} == original
    assert body["message"] == "System Stats"
    assert body["total_vectors_in_faiss"] == 4
    assert (body["items"], body["indexed"], body["pending"], body["failed"]) == (4, 4, 0, 0)
    assert [(index["modality"], index["vectors"]) for index in body["indexes"]] == [
        ("image", 3),
        ("text", 1),
    ]


@pytest.mark.parametrize("staff", [True, False])
def test_stats_show_whole_paths_to_staff_alone(
    client: Client, indexed_items: dict[str, Item], django_user_model: type[User], *, staff: bool
) -> None:
    client.force_login(django_user_model.objects.create_user("ann", is_staff=staff))
    with override_settings(MMSEARCH_API_AUTH="required"):
        body = client.get("/stats/").json()
    paths = [body["faiss_index_path"], body["metadata_db_path"]]
    database = str(settings.DATABASES["default"]["NAME"])
    if staff:
        assert paths == [str(settings.MMSEARCH_INDEX_DIR), database]
    else:
        assert paths == ["index", Path(database).name]


def test_search_text_asks_as_many_queries_for_one_result_as_for_three(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    counts = []
    for top_n in (1, 3):
        client.post("/search_text/", {"query_text": "red", "top_n": top_n}, JSON)
        with CaptureQueriesContext(connection) as queries:
            client.post("/search_text/", {"query_text": "red", "top_n": top_n}, JSON)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 7  # space and log, words, items with their tags
