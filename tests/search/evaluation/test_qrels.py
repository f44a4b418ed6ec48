"""Judged queries are read strictly, and those of the demo are sound."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.catalogues import Kept, code, kept, mixed_row, write_products
from search.evaluation.qrels import Half, JudgedQuery, Kind, QrelsError, read_qrels

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "demo"
GOOD = {"kind": "typo", "query": "aple", "relevant": {"1f34e": 3}}


@pytest.fixture(scope="module")
def demo() -> list[JudgedQuery]:
    return read_qrels(DEMO / "relevance.jsonl")


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, str]]:
    with (DEMO / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        return {row["id"]: mixed_row(row) for row in csv.DictReader(stream)}


def _write(tmp_path: Path, *lines: Any) -> Path:
    path = tmp_path / "qrels.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


def test_a_line_is_a_judged_query(tmp_path: Path) -> None:
    path = _write(tmp_path, {**GOOD, "category": ["fruit"], "tags": ["red", "sweet"]}, "")
    assert read_qrels(path) == [
        JudgedQuery(
            kind=Kind.TYPO,
            query="aple",
            category=("fruit",),
            tags=("red", "sweet"),
            relevant={"1f34e": 3},
        )
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ([], "line 2: an object with kind, query and relevant is needed"),
        ({"kind": "typo", "query": "x"}, "line 2: an object with kind, query and relevant"),
        ({**GOOD, "grade": 1}, "line 2: 'grade' is none of category, kind, query, relevant, tags"),
        (
            {**GOOD, "kind": "guess"},
            "line 2: kind 'guess' is none of exact title, code",
        ),
        ({**GOOD, "kind": []}, "line 2: kind \\[\\] is none of"),
        ({**GOOD, "query": " "}, "line 2: query is not a text"),
        (
            {**GOOD, "relevant": {"a": 4}},
            "line 2: relevant is not item ids with grades from 1",
        ),
        ({**GOOD, "relevant": {"a": True}}, "line 2: relevant is not item ids with grades"),
        ({**GOOD, "relevant": ["a"]}, "line 2: relevant is not item ids with grades"),
        ({**GOOD, "relevant": {}}, "line 2: 'aple' is typo: items answer every kind but nonsense"),
        ({**GOOD, "kind": "nonsense"}, "line 2: 'aple' is nonsense: items answer every kind but"),
        ({**GOOD, "tags": "red"}, "line 2: tags is not a list of texts"),
        ({**GOOD, "query": "pear"}, "line 2: 'pear' is asked in line 1 already"),
    ],
)
def test_a_line_at_fault_is_named(tmp_path: Path, line: Any, message: str) -> None:
    path = _write(tmp_path, {**GOOD, "query": "pear"}, line)
    with pytest.raises(QrelsError, match=message):
        read_qrels(path)


def test_a_file_without_queries_or_not_in_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QrelsError, match="holds no query"):
        read_qrels(_write(tmp_path, ""))
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(QrelsError, match="is not UTF-8"):
        read_qrels(binary)


def test_the_half_depends_on_what_is_asked_alone() -> None:
    one = JudgedQuery(kind=Kind.TYPO, query="aple", relevant={"a": 3})
    other = JudgedQuery(kind=Kind.DESCRIPTION, query="aple", relevant={"b": 1})
    assert one.half is other.half
    halves = {
        JudgedQuery(kind=Kind.TYPO, query="aple", tags=(str(n),), relevant={}).half
        for n in range(20)
    }
    assert halves == set(Half)


def test_demo_judges_enough_queries_of_every_kind_in_both_halves(demo: list[JudgedQuery]) -> None:
    assert len(demo) >= 400
    counts = Counter((query.kind, query.half) for query in demo)
    kinds = set(Kind) - {Kind.RARE_WORDS, Kind.CATEGORY}  # those of the other catalogue
    assert {query.kind for query in demo} == kinds
    assert min(counts[kind, half] for kind in kinds for half in Half) >= 15


def test_demo_judges_items_that_it_has(
    demo: list[JudgedQuery], rows: dict[str, dict[str, str]]
) -> None:
    assert {item for query in demo for item in query.relevant} <= rows.keys()


def test_demo_judgements_keep_to_the_filters(
    demo: list[JudgedQuery], rows: dict[str, dict[str, str]]
) -> None:
    for query in demo:
        for item in query.relevant:
            row = rows[item]
            assert not query.category or row["category"] in query.category, query
            assert set(query.tags) <= set(row["tags"].split(",")), query


def test_demo_titles_and_codes_stand_in_the_mixed_catalogue(
    demo: list[JudgedQuery], rows: dict[str, dict[str, str]]
) -> None:
    codes = {code(item): item for item in rows if code(item)}
    assert len(codes) == sum(bool(code(item)) for item in rows)
    for query in demo:
        (best, *_) = sorted(query.relevant, key=lambda item: -query.relevant[item]) or [""]
        if query.kind is Kind.EXACT_TITLE:
            assert rows[best]["title"].removesuffix(code(best)).strip() == query.query
        elif query.kind is Kind.CODE:
            asked = query.query.split()[-1].upper().replace("-", "")
            assert code(best).replace("-", "") == asked
        elif query.kind is Kind.PICTURE_ONLY:
            assert kept(best) is Kept.PICTURE


def test_demo_synonyms_share_no_word_with_what_they_ask_for(
    demo: list[JudgedQuery], rows: dict[str, dict[str, str]]
) -> None:
    for query in demo:
        if query.kind is Kind.SYNONYM:
            long_words = {word for word in query.query.lower().split() if len(word) > 5}
            for item in (item for item, grade in query.relevant.items() if grade >= 2):
                row = rows[item]
                written = " ".join((row["title"], row["caption"], row["tags"])).lower()
                assert not long_words & set(written.replace(",", " ").split()), query


def test_mixed_catalogue_always_leaves_words_or_a_picture(rows: dict[str, dict[str, str]]) -> None:
    shares = Counter(map(kept, rows))
    assert all(0.15 < shares[part] / len(rows) < 0.4 for part in Kept)
    for row in rows.values():
        assert row["caption"] or row["image_filename"]
        assert bool(row["image_filename"]) is (kept(row["id"]) is not Kept.WORDS)


def test_products_are_the_same_every_time_and_readable(tmp_path: Path) -> None:
    for name in "ab":
        write_products(DEMO, tmp_path / f"{name}.csv", tmp_path / f"{name}.jsonl")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    queries = read_qrels(tmp_path / "a.jsonl")
    assert Counter(query.kind for query in queries) == {
        Kind.TYPO: 60,
        Kind.CODE: 60,
        Kind.RARE_WORDS: 60,
        Kind.CATEGORY: 24,
        Kind.NONSENSE: 50,
    }
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as stream:
        ids = {row["id"] for row in csv.DictReader(stream)}
    assert {item for query in queries for item in query.relevant} <= ids
