from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as configured
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from pytest_django import Settings

from embeddings import model_lock
from embeddings.backends import encoder_of
from embeddings.models import EmbeddingSpace
from embeddings.retiring import retire_space
from embeddings.spaces import require_active_space
from search.answer.answering import search
from search.answer.syntax import ask
from search.comparison import asked
from search.comparison.asked import note_asked, recent_texts, write_asked
from search.comparison.comparing import compare_answers, compare_spaces
from search.comparison.verdicts import Verdicts, verdicts, vote
from search.models import AskedText, Preference, ShadowAnswer
from search.tasks import answer_shadow_queries
from tests.search.pages.page_reading import links
from tests.spaces import build

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("indexed_items")]


@pytest.fixture(autouse=True)
def _nothing_gathered() -> Iterator[None]:
    asked._gathered.clear()
    yield
    asked._gathered.clear()


@pytest.fixture
def other(indexed_items: object) -> EmbeddingSpace:
    """A second space, of another model that makes the same vectors."""
    return build("others")


def test_two_spaces_that_answer_alike_are_alike(other: EmbeddingSpace) -> None:
    active = require_active_space()
    found = compare_spaces(active, other, texts=["red", "evening"])
    assert (found.queries, found.overlap, found.correlation) == (2, 1.0, 1.0)
    assert (found.left.space, found.right.space) == (active.pk, other.pk)
    assert found.left.p50_ms
    assert found.left.index_mb == found.right.index_mb
    assert found.left.index_mb
    assert (found.judged, found.left.ndcg, found.shadow) == (0, None, None)


def test_each_side_is_answered_by_its_own_space(other: EmbeddingSpace) -> None:
    other.embeddings.all().delete()  # and so it knows the words alone
    for swapped in (False, True):
        change = compare_answers(require_active_space(), other, "ruby", swapped=swapped)
        assert change.right == ()
        assert change.left == tuple(hit.item.item_id for hit in search(ask("ruby", top_n=10)).hits)


def test_what_changes_most_comes_first(other: EmbeddingSpace) -> None:
    texts = ["evening", "red", "blue", "ruby"]
    other.embeddings.filter(item__item_id="red").delete()  # "red" finds it by its words
    found = compare_spaces(require_active_space(), other, texts=texts)
    assert found.queries == 4
    assert {change.text for change in found.most_changed} == {"evening", "blue", "ruby"}
    overlaps = [change.overlap for change in found.most_changed]
    assert overlaps == sorted(overlaps)


def test_only_live_texts_are_logged(client: Client, other: EmbeddingSpace) -> None:
    client.post("/search_text/", {"query_text": "red"}, content_type="application/json")
    client.get("/api/v1/search/?q=blue+sky&offset=10")
    client.get("/?q=green")
    search(ask("purple"), space=other)
    write_asked(at_once=True)
    assert recent_texts(10) == ["green", "red"]


def test_drawn_texts_are_asked_of_the_space_beside(
    settings: Settings, client: Client, other: EmbeddingSpace
) -> None:
    settings.MMSEARCH_SHADOW = 1.0
    client.get("/?q=red")
    write_asked(at_once=True)
    assert answer_shadow_queries() == 1
    answer = ShadowAnswer.objects.get()
    assert (answer.text, answer.active, answer.other) == ("red", require_active_space(), other)
    assert (answer.overlap, answer.correlation) == (1.0, 1.0)
    assert AskedText.objects.filter(is_drawn=True).count() == 0
    assert answer_shadow_queries() == 0
    shadow = compare_spaces(other, require_active_space(), texts=[]).shadow
    assert shadow is not None
    assert (shadow.queries, shadow.overlap) == (1, 1.0)


@pytest.mark.parametrize("lock", ["embedding", "model"])
def test_drawn_texts_wait_while_another_process_embeds_or_holds_the_model(
    settings: Settings, other: EmbeddingSpace, lock: str
) -> None:
    settings.MMSEARCH_SHADOW = 1.0
    model_lock.let_go()  # of what an earlier test embedded
    note_asked("red")
    write_asked(at_once=True)
    with (configured.MMSEARCH_DATA_DIR / f"{lock}.lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert answer_shadow_queries() == 0
        assert AskedText.objects.filter(is_drawn=True).count() == 1
    assert answer_shadow_queries() == 1


def test_who_answered_drawn_texts_holds_no_model_afterwards(
    settings: Settings, other: EmbeddingSpace
) -> None:
    settings.MMSEARCH_SHADOW = 1.0
    held = encoder_of(other)
    note_asked("red")
    write_asked(at_once=True)
    assert answer_shadow_queries() == 1
    with (configured.MMSEARCH_DATA_DIR / "model.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # or this raises
    assert encoder_of(other) is not held


def test_without_a_space_beside_drawn_texts_are_let_go(settings: Settings) -> None:
    settings.MMSEARCH_SHADOW = 1.0
    note_asked("red")
    write_asked(at_once=True)
    assert answer_shadow_queries() == 0
    assert AskedText.objects.filter(is_drawn=True).count() == 0


def test_a_person_has_one_vote_a_text(other: EmbeddingSpace, admin_user: object) -> None:
    active, user_id = require_active_space(), admin_user.pk  # type: ignore[attr-defined]
    for better, worse in ((active, other), (other, active)):
        vote(text="red", better=better, worse=worse, is_tie=False, user_id=user_id)
    vote(text="blue", better=active, worse=other, is_tie=True, user_id=user_id)
    assert verdicts(active, other) == Verdicts(left=0, right=1, ties=1)
    assert verdicts(other, active) == Verdicts(left=1, right=0, ties=1)


@pytest.mark.parametrize(
    ("votes", "chance"),
    [(Verdicts(0, 0, 3), 1.0), (Verdicts(1, 0, 0), 1.0), (Verdicts(5, 0, 0), 2 / 32)],
)
def test_an_uneven_vote_is_held_against_chance(votes: Verdicts, chance: float) -> None:
    assert votes.chance == pytest.approx(chance)


def test_the_command_says_what_differs(
    other: EmbeddingSpace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    active = require_active_space()
    texts, qrels = tmp_path / "texts.txt", tmp_path / "qrels.jsonl"
    texts.write_text("red\n\nevening\nred\n", encoding="utf-8")
    judged = {"kind": "exact title", "query": "Evening", "relevant": {"words": 3}}
    qrels.write_text(json.dumps(judged) + "\n", encoding="utf-8")
    arguments = (str(active.pk), str(other.pk), f"--queries={texts}", f"--qrels={qrels}")
    call_command("compare_spaces", *arguments, "--json")
    found = json.loads(capsys.readouterr().out)
    assert (found["queries"], found["judged"], found["overlap"]) == (2, 1, 1.0)
    assert found["left"]["ndcg"] == found["right"]["ndcg"] == 1.0
    call_command("compare_spaces", *arguments)
    written = capsys.readouterr().out
    assert "2 texts: 100.0% of the ten shown are the same" in written
    assert f"A: space {active.pk}, {active}" in written
    assert "nDCG@10                        1.000         1.000" in written
    assert "What changes most" not in written


def test_the_command_shows_no_figure_that_was_not_measured(
    other: EmbeddingSpace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("red\n", encoding="utf-8")
    pair = [str(require_active_space().pk), str(other.pk)]
    call_command("compare_spaces", *pair, f"--queries={texts}")
    written = capsys.readouterr().out
    assert "nDCG" not in written
    assert "recall" not in written
    assert "–" not in written


def test_the_command_uses_the_texts_that_people_asked(
    other: EmbeddingSpace, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = [str(require_active_space().pk), str(other.pk)]
    with pytest.raises(CommandError, match="Nobody has asked anything yet"):
        call_command("compare_spaces", *pair)
    client.get("/?q=red")
    write_asked(at_once=True)
    call_command("compare_spaces", *pair)
    assert "1 text: 100.0%" in capsys.readouterr().out


def test_the_command_names_what_is_wrong(other: EmbeddingSpace, tmp_path: Path) -> None:
    active = str(require_active_space().pk)
    with pytest.raises(CommandError, match="give two numbers"):
        call_command("compare_spaces", active, active)
    with pytest.raises(CommandError, match="There is no space 999"):
        call_command("compare_spaces", active, "999")
    missing = tmp_path / "missing.txt"
    with pytest.raises(CommandError, match=r"missing\.txt: No such file or directory"):
        call_command("compare_spaces", active, str(other.pk), f"--queries={missing}")


def test_the_page_shows_both_answers_and_keeps_a_verdict(
    other: EmbeddingSpace, admin_client: Client
) -> None:
    active = require_active_space()
    page = admin_client.get("/compare/?q=red").content.decode()
    assert f"A: {active.model}" in page
    assert f"B: {other.model}" in page
    assert "100 % of what is shown is the same" in page
    fields = {"q": "red", "a": active.pk, "b": other.pk, "better": "b"}
    answer = admin_client.post("/compare/", fields)
    assert answer.status_code == 302
    assert answer["Location"] == f"/compare/?a={active.pk}&b={other.pk}&q=red"
    page = admin_client.get(answer["Location"]).content.decode()
    assert "Your verdict is kept." in page
    assert "A 0, B 1, neither 0" in page
    kept = Preference.objects.get()
    assert (kept.text, kept.better, kept.worse, kept.is_tie) == ("red", other, active, False)


def test_the_page_refuses_what_is_no_verdict(
    other: EmbeddingSpace, admin_client: Client, client: Client
) -> None:
    fields = {"q": "red", "a": require_active_space().pk, "b": other.pk}
    assert admin_client.post("/compare/", {**fields, "better": "c"}).status_code == 400
    assert admin_client.get(f"/compare/?a={other.pk}&b=99999").status_code == 404
    assert admin_client.get(f"/compare/?a={other.pk}&b={other.pk}").status_code == 404
    assert Preference.objects.count() == 0


def test_evaluate_tells_what_people_found_better(
    other: EmbeddingSpace,
    admin_client: Client,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    active = require_active_space()
    admin_client.post("/compare/", {"q": "red", "a": active.pk, "b": other.pk, "better": "b"})
    qrels = tmp_path / "qrels.jsonl"
    judged = {"kind": "exact title", "query": "Evening", "relevant": {"words": 3}}
    qrels.write_text(json.dumps(judged) + "\n", encoding="utf-8")
    call_command("evaluate", str(qrels), "--json")
    assert json.loads(capsys.readouterr().out)["verdicts"] == [
        {"spaces": [active.pk, other.pk], "left": 0, "right": 1, "ties": 0, "chance": 1.0}
    ]
    call_command("evaluate", str(qrels))
    assert f"space {other.pk} ({other}) 1 times" in capsys.readouterr().out


def test_the_page_is_for_staff(client: Client) -> None:
    assert client.get("/compare/?q=red").status_code == 302


def test_what_was_said_of_a_space_goes_with_its_vectors(
    other: EmbeddingSpace, admin_client: Client
) -> None:
    active = require_active_space()
    admin_client.post("/compare/", {"q": "red", "a": active.pk, "b": other.pk, "better": "a"})
    retire_space(other)
    page = admin_client.get("/compare/?q=red").content.decode()
    assert "There is one space" in page
    assert "Verdicts" not in page


def test_where_there_is_one_space_the_page_says_how_to_get_another(
    admin_client: Client, space: EmbeddingSpace
) -> None:
    page = admin_client.get("/compare/?q=red")
    assert page.status_code == 200
    text = page.content.decode()
    assert f"There is one space, {space.pk}: {space}." in text
    assert "<code>manage.py open_space MODEL</code>" in text
    assert links(page)["page of the spaces"] == "/admin/embeddings/embeddingspace/"
    assert "<select" not in text


def test_what_is_wrong_with_the_spaces_is_said_without_backticks(
    other: EmbeddingSpace, admin_client: Client
) -> None:
    page = admin_client.get(f"/compare/?a={other.pk}&b=99999").content.decode()
    assert "There is no space 99999. <code>manage.py spaces</code> lists them." in page
