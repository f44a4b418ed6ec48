"""`manage.py evaluate` over a real, tiny catalogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from catalog.models import Item
from search.evaluation.systems import MIXTURES, OURS, OURS_RANKED, answers
from search.management.commands import evaluate
from tests.signals import press_ctrl_c

QUERIES = [
    {"kind": "exact title", "query": "Evening", "relevant": {"words": 3}},
    {"kind": "typo", "query": "quiet evenning", "relevant": {"words": 3}},
    {"kind": "picture only", "query": "red", "relevant": {"red": 3}},
    {"kind": "negative", "query": "colour -fire", "relevant": {"green": 3, "blue": 3}},
    {"kind": "filtered", "query": "blue", "category": ["cold"], "relevant": {"blue": 3}},
    {"kind": "nonsense", "query": "xqzzy", "relevant": {}},
]


@pytest.fixture
def qrels(tmp_path: Path) -> Path:
    path = tmp_path / "qrels.jsonl"
    path.write_text("\n".join(map(json.dumps, QUERIES)), encoding="utf-8")
    return path


@pytest.mark.usefixtures("indexed_items")
def test_evaluate_judges_every_way_by_kind(qrels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("evaluate", qrels, json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["queries"] == {query["kind"]: 1 for query in QUERIES}
    singles = {"words", "image vectors", "text vectors"}
    assert found["systems"].keys() == {OURS, OURS_RANKED, *singles, *MIXTURES}
    ours = found["systems"][OURS_RANKED]
    assert [ours[kind]["ndcg"] for kind in ("exact title", "typo", "picture only")] == [1, 1, 1]
    assert ours["filtered"]["ndcg"] == 1
    assert found["systems"]["words"]["picture only"]["ndcg"] == 1  # its title says red
    assert found["systems"]["text vectors"]["picture only"]["ndcg"] == 0
    assert found["systems"]["text vectors"]["exact title"]["shown"] == 1  # the only caption


@pytest.mark.usefixtures("indexed_items")
def test_evaluate_keeps_filters_and_what_is_left_out(
    qrels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("evaluate", qrels, json=True)
    systems = json.loads(capsys.readouterr().out)["systems"]
    for system in systems.values():
        assert system["negative"]["irrelevant"] <= 1  # never red, which has the tag fire
        assert system["filtered"]["shown"] <= 2  # green and blue are cold


@pytest.mark.usefixtures("indexed_items")
def test_evaluate_writes_the_tables_that_it_prints(
    qrels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.md"
    call_command("evaluate", qrels, report=report)
    printed = capsys.readouterr().out
    assert report.read_text(encoding="utf-8").strip() == printed.strip()
    assert "| nDCG@10 | exact title | typo | picture only | negative | filtered |" in printed


@pytest.mark.usefixtures("indexed_items")
def test_evaluate_interrupted_says_how_far_it_came_and_writes_nothing(
    qrels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> dict[str, list[str]]:
        press_ctrl_c()
        return answers(*arguments)

    monkeypatch.setattr(evaluate, "answers", interrupted)
    report = tmp_path / "report.md"
    with pytest.raises(CommandError, match=r"Stopped after 1 of 6 queries") as caught:
        call_command("evaluate", qrels, report=report)
    assert caught.value.returncode == 130
    assert not report.exists()


@pytest.mark.usefixtures("indexed_items")
def test_evaluate_says_what_is_wrong_with_its_arguments(qrels: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nowhere.jsonl: No such file or directory"):
        call_command("evaluate", tmp_path / "nowhere.jsonl")
    with pytest.raises(CommandError, match=r"There is no space 999"):
        call_command("evaluate", qrels, space=999)
    with pytest.raises(CommandError, match=r"--report .*: No such file or directory"):
        call_command("evaluate", qrels, report=tmp_path / "none" / "report.md")
    (tmp_path / "bad.jsonl").write_text("{}", encoding="utf-8")
    with pytest.raises(CommandError, match=r"bad.jsonl, line 1: an object with kind"):
        call_command("evaluate", tmp_path / "bad.jsonl")
    Item.objects.get(item_id="words").delete()
    with pytest.raises(CommandError, match=r"lacks 1 of the 4 items .* such as 'words': ingest"):
        call_command("evaluate", qrels)
