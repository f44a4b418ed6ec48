from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from catalog.ingest import ItemRecord, LocalImage, Outcome, SourceError, open_source
from tests.catalog.pictures import encoded, photo

HEADER = "id,image_filename,caption,title,tags,category\n"


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def records(path: Path, *, images: Path | None = None, link: bool = False) -> list[ItemRecord]:
    read = list(open_source(path, images=images, link=link))
    assert all(isinstance(record, ItemRecord) for record in read), read
    return [record for record in read if isinstance(record, ItemRecord)]


def rejections(path: Path, *, images: Path | None = None) -> list[tuple[int | None, str, str]]:
    return [
        (outcome.line, outcome.field, outcome.reason)
        for outcome in open_source(path, images=images)
        if isinstance(outcome, Outcome)
    ]


def unusable(path: Path, *, images: Path | None = None) -> str:
    with pytest.raises(SourceError) as error:
        open_source(path, images=images)
    return str(error.value)


# ── CSV ─────────────────────────────────────────────────────────────────────────────────────────


def test_csv_of_the_request_is_read(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"a picture")
    path = write(
        tmp_path / "metadata.csv",
        HEADER
        + 'item1,cat.jpg,"A fluffy cat, sitting.","Fluffy Cat","cat,pet , animal","Animals"\n'
        + 'item3,,"A ""beautiful"" sunset\nover the mountains.",,,\n',
    )
    assert records(path) == [
        ItemRecord(
            item_id="item1",
            title="Fluffy Cat",
            caption="A fluffy cat, sitting.",
            tags=("cat", "pet", "animal"),
            category="Animals",
            image=LocalImage(path=(tmp_path / "cat.jpg").resolve()),
            line=2,
        ),
        ItemRecord(item_id="item3", caption='A "beautiful" sunset\nover the mountains.', line=3),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_csv_delimiter_mark_and_line_ends_are_recognised(
    tmp_path: Path, delimiter: str, mark: bytes, newline: str
) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=newline)
    writer.writerow([" ID ", "Image Filename", "CAPTION", "title", "Tags", "Category"])
    writer.writerow(["a", "", "one, two; three\tfour | five", "", "x,y", ""])
    path = write(tmp_path / "rows.csv", mark + stream.getvalue().encode())
    assert records(path) == [
        ItemRecord(item_id="a", caption="one, two; three\tfour | five", tags=("x", "y"), line=2)
    ]


def test_csv_columns_may_be_few_reordered_and_unknown(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "size,caption,colour\n9,hello,red\n")
    source = open_source(path)
    assert source.notices == ["Columns that are not known are left out: size, colour."]
    (record,) = records(path)
    assert (record.caption, record.title, record.tags, record.image) == ("hello", None, None, None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty: its first line has to name the columns."),
        (b"\n", "is empty: its first line has to name the columns."),
        (
            b"id,name\n1,2\n",
            (
                "has neither a column caption nor image_filename; its first line names 'id, name'."
                " Known columns are id, image_filename, caption, title, tags, category."
            ),
        ),
        (b"id,caption,Caption\n", "names the column caption twice. Rename one of them."),
        ('id,caption\n1,"x"\n'.encode("utf-16"), "is UTF-16. Save it as UTF-8."),
        (b"\x00\x01\x02", "is no text: give a CSV or JSON file, or a folder."),
    ],
)
def test_unusable_files_are_named_with_the_mend(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = write(tmp_path / "rows.csv", content)
    assert unusable(path) == f"{path} {reason}"


def test_unusable_places_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.csv"
    assert unusable(missing) == f"{missing} is neither a file nor a folder."
    rows = write(tmp_path / "rows.csv", HEADER)
    for images in (rows, tmp_path / "nowhere"):
        said = f"--images {images}: there is no such folder."
        assert unusable(rows, images=images) == said
    empty = tmp_path / "empty"
    empty.mkdir()
    assert unusable(empty) == f"{empty} holds no pictures."
    assert "leave out --images" in unusable(empty, images=tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert unusable(pipe) == f"{pipe} is neither a file nor a folder."


def test_csv_ragged_rows_reject_themselves_alone(tmp_path: Path) -> None:
    path = write(
        tmp_path / "rows.csv",
        "id,caption,title\na,one,A\nb,two\n\nc,three, with a comma,C\nd,four,D,,\n,,\ne,five,E\n",
    )
    assert [r.item_id for r in open_source(path) if isinstance(r, ItemRecord)] == ["a", "d", "e"]
    hint = "Put quotes around a text that holds a delimiter."
    assert rejections(path) == [
        (3, "", f"The row has 2 fields, the header 3. {hint}"),
        (5, "", f"The row has 4 fields, the header 3. {hint}"),
    ]


def test_csv_quote_left_open_says_which_lines_it_swallowed(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", 'id,caption\na,one\n"b,two\nc,three\n')
    assert rejections(path) == [
        (
            3,
            "",
            (
                "The row has 1 fields, the header 2."
                " Lines 3 to 4 were read as one: is a quote left open?"
            ),
        )
    ]


def test_csv_bytes_that_are_no_utf8_reject_their_row_alone(tmp_path: Path) -> None:
    content = "id,caption\na,déjà\n".encode() + "b,déjà\n".encode("latin-1") + b"c,fine\n"
    read = list(open_source(write(tmp_path / "rows.csv", content)))
    assert [(r.item_id, r.line) for r in read] == [("a", 2), ("b", 3), ("c", 4)]
    # The record itself is refused by its own check: its caption holds half of nothing.
    assert isinstance(read[1], ItemRecord)
    assert read[1].caption == "d\udce9j\udce0"


def test_csv_endless_line_is_refused_at_bounded_memory(tmp_path: Path) -> None:
    content = b'id,caption\na,"' + b"x" * 5_000_000 + b'"\nb,fine\n'
    read = list(open_source(write(tmp_path / "rows.csv", content)))
    assert isinstance(read[0], Outcome)
    assert read[0].reason == "The row cannot be read: field larger than field limit (524288)."
    assert [r.item_id for r in read if isinstance(r, ItemRecord)] == ["b"]


def test_csv_rows_without_id_get_the_same_one_each_time(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "caption\none\ntwo\n")
    first, again = records(path), records(path)
    assert first == again
    assert len({record.item_id for record in first}) == 2


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "caption": st.text(st.characters(exclude_categories=["Cs"])),
                "title": st.text(st.characters(exclude_categories=["Cs"])),
                "tags": st.lists(st.text(st.sampled_from("ab é"), min_size=1).map(str.strip)),
            }
        ),
        max_size=5,
    ),
    delimiter=st.sampled_from(",;\t|"),
)
@hypothesis_settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)
def test_whatever_csv_and_json_write_is_read_back(
    tmp_path: Path, rows: list[dict[str, object]], delimiter: str
) -> None:
    def expected(row: dict[str, object]) -> tuple[object, ...]:
        tags = tuple(tag for tag in row["tags"] if tag)  # type: ignore[attr-defined]
        texts = [text if str(text).strip() else None for text in (row["caption"], row["title"])]
        return (*texts, tags or None)

    table = tmp_path / "rows.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerow(["id", "caption", "title", "tags"])
        for number, row in enumerate(rows):
            tags = ",".join(row["tags"])  # type: ignore[arg-type]
            writer.writerow([f"r{number}", row["caption"], row["title"], tags])
    lines = tmp_path / "rows.jsonl"
    lines.write_text(
        "".join(json.dumps({"id": f"r{n}", **row}) + "\n" for n, row in enumerate(rows))
    )
    for path in (table, lines):
        read = [(r.caption, r.title, r.tags) for r in records(path)]
        assert read == [expected(row) for row in rows]


def test_estimate_is_near_for_even_rows(tmp_path: Path) -> None:
    rows = "".join(f"r{n:06},caption number {n:06}\n" for n in range(100_000))
    source = open_source(write(tmp_path / "rows.csv", "id,caption\n" + rows))
    assert abs(source.estimated - 100_000) < 1000
    lines = "".join(json.dumps({"caption": f"caption {n:06}"}) + "\n" for n in range(100_000))
    source = open_source(write(tmp_path / "rows.jsonl", lines))
    assert abs(source.estimated - 100_000) < 1000


# ── JSON Lines ──────────────────────────────────────────────────────────────────────────────────


def test_json_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"a picture")
    path = write(
        tmp_path / "rows.jsonl",
        b'\xef\xbb\xbf{"id": 7, "image_filename": "cat.jpg", "tags": ["a", "b, c"], "other": {}}\n'
        b"\n"
        b'{"item_id": "x", "caption": "one", "tags": "a,b", "title": " ", "category": null}\n',
    )
    assert records(path) == [
        ItemRecord(
            item_id="7",
            tags=("a", "b, c"),
            image=LocalImage(path=(tmp_path / "cat.jpg").resolve()),
            line=1,
        ),
        ItemRecord(item_id="x", caption="one", tags=("a", "b"), line=3),
    ]


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        ("{", "", "The line is not valid JSON: Expecting property name"),
        ("[" * 100_000, "", "The line is not valid JSON: "),
        ('{"caption": "x"} trailing', "", "The line is not valid JSON: Extra data"),
        ("[1]", "", "The line is not a JSON object"),
        ('"text"', "", "The line is not a JSON object"),
        ('{"caption": 5}', "caption", "caption has to be a text, not a number."),
        ('{"caption": ["x"]}', "caption", "caption has to be a text, not a list."),
        ('{"title": {"a": 1}}', "title", "title has to be a text, not an object."),
        ('{"id": true}', "item_id", "id has to be a text, not true or false."),
        ('{"id": 1.5}', "item_id", "id has to be a text, not a number."),
        ('{"tags": [1]}', "tags", "tags has to be a list of texts, or one text with commas."),
        ('{"tags": {"a": 1}}', "tags", "tags has to be a list of texts"),
        ('{"image": "AAAA"}', "image", "A file names its pictures: use image_filename."),
        ('{"image_filename": 3}', "image", "image_filename has to be a text, not a number."),
    ],
)
def test_json_lines_reject_themselves_alone(
    tmp_path: Path, line: str, field: str, reason: str
) -> None:
    good = '{"caption": "good"}'
    path = write(tmp_path / "rows.jsonl", f"{good}\n{line}\n{good}\n")
    read = list(open_source(path))
    assert [type(r) for r in read] == [ItemRecord, Outcome, ItemRecord]
    ((number, found, said),) = rejections(path)
    assert (number, found) == (2, field)
    assert said.startswith(reason)


def test_json_lines_refuse_bytes_that_are_no_utf8_and_endless_lines(tmp_path: Path) -> None:
    content = (
        b'{"caption": "d\xe9"}\n' + b'{"caption": "' + b"x" * 3_000_000 + b'"}\n{"caption": "c"}'
    )
    path = write(tmp_path / "rows.jsonl", content)
    first, second = rejections(path)
    assert first[0] == 1
    assert "utf-8" in first[2]
    assert second == (2, "", "The line is longer than 1,048,576 bytes, the limit.")
    last = list(open_source(path))[-1]
    assert isinstance(last, ItemRecord)
    assert (last.caption, last.line) == ("c", 3)


def test_json_lines_keep_lone_surrogates_for_the_records_check(tmp_path: Path) -> None:
    (record,) = records(write(tmp_path / "rows.jsonl", '{"caption": "\\ud800"}\n'))
    assert record.caption == "\ud800"


@pytest.mark.parametrize("key", ["image_filename", "file_name", "filename"])
def test_pictures_have_the_names_that_data_sets_give_them(tmp_path: Path, key: str) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"a picture")
    row = {"id": "a", key: "cat.jpg", "caption": "A cat"}
    expected = ItemRecord(
        item_id="a", caption="A cat", image=LocalImage(path=(tmp_path / "cat.jpg").resolve())
    )
    for name, content in (
        ("rows.csv", f"id,{key},caption\na,cat.jpg,A cat\n"),
        ("rows.jsonl", json.dumps(row)),
        ("rows.json", json.dumps([row])),
    ):
        (record,) = records(write(tmp_path / name, content))
        assert dataclasses.replace(record, line=None) == expected, name
    both = write(tmp_path / "both.csv", "id,filename,image_filename\na,other.jpg,cat.jpg\n")
    (record,) = records(both)
    assert record.image == expected.image


# ── JSON arrays ─────────────────────────────────────────────────────────────────────────────────


def test_json_array_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "rows.json",
        b'\xef\xbb\xbf \n[{"id": 1, "caption": "one"},\n\n {"id": "b",\n "tags": ["a, b"],'
        b' "caption": "]}\\","},5,\n{"caption": 7}]\n',
    )
    assert list(open_source(path))[:2] == [
        ItemRecord(item_id="1", caption="one", line=2),
        ItemRecord(item_id="b", caption=']}",', tags=("a, b",), line=4),
    ]
    assert rejections(path) == [
        (5, "", 'The entry is not a JSON object: {"caption": "…"}.'),
        (6, "caption", "caption has to be a text, not a number."),
    ]
    assert list(open_source(write(tmp_path / "none.json", "[ ]"))) == []


@pytest.mark.parametrize("piece", [1, 7, 2**16])
def test_json_array_is_the_same_in_whatever_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr("catalog.ingest.json_array._PIECE", piece)
    rows = [{"id": f"r{n}", "caption": "é,]" * n, "tags": ["x"] * (n % 3)} for n in range(40)]
    path = write(tmp_path / "rows.json", json.dumps(rows, ensure_ascii=False, indent=1))
    assert [(r.item_id, r.caption) for r in records(path)] == [
        (row["id"], row["caption"] or None) for row in rows
    ]


@pytest.mark.parametrize(
    "rest",
    ["", ",", ', {"caption": "two"', ', {"caption": "two"} {', "} ]", ", nothing]", "] [", "," * 9],
)
def test_json_array_that_breaks_off_is_read_up_to_there(tmp_path: Path, rest: str) -> None:
    path = write(tmp_path / "rows.json", '[{"id": "a", "caption": "one"},\n{"id": "b"}' + rest)
    read = list(open_source(path))
    assert isinstance(read[0], ItemRecord)
    last = read[-1]
    assert isinstance(last, Outcome)
    assert last.line == 2
    assert last.reason.startswith("From here on the file is not a valid JSON array: ")


def test_json_array_of_endless_or_deep_entries_is_refused_at_bounded_memory(tmp_path: Path) -> None:
    for content in ('[{"caption": "' + "x" * 5_000_000 + '"}]', "[" * 3_000_000):
        ((line, _, reason),) = rejections(write(tmp_path / "rows.json", content))
        assert line == 1
        assert "From here on" in reason


# ── compressed files ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.jsonl.gz", "rows.json.gz", "rows"])
def test_compressed_files_are_read_like_others(tmp_path: Path, name: str) -> None:
    rows = [{"id": f"r{n}", "caption": f"caption {n}"} for n in range(3_000)]
    if name == "rows.csv.gz":
        content = "id,caption\n" + "".join(f"{row['id']},{row['caption']}\n" for row in rows)
    elif name == "rows.json.gz":
        content = json.dumps(rows)
    else:
        content = "".join(json.dumps(row) + "\n" for row in rows)
    path = write(tmp_path / name, gzip.compress(content.encode()))
    assert [(r.item_id, r.caption) for r in records(path)] == [
        (row["id"], row["caption"]) for row in rows
    ]
    assert abs(open_source(path).estimated - len(rows)) < len(rows) / 5


def test_compressed_file_that_is_cut_short_is_an_error_of_reading(tmp_path: Path) -> None:
    content = "id,caption\n" + "".join(f"r{n},{os.urandom(99).hex()}\n" for n in range(12_000))
    packed = gzip.compress(content.encode())
    path = write(tmp_path / "rows.csv.gz", packed[:-5000])
    source = open_source(path)
    read: list[ItemRecord | Outcome] = []
    with pytest.raises(OSError, match=r"rows\.csv\.gz is cut short or damaged as a gzip file: "):
        read.extend(source)
    assert len(read) > 11_000
    assert "is cut short or damaged" in unusable(write(path, packed[:500]))


@pytest.mark.parametrize("form", ["{}\n{}\n", "[{}, {}]"])
def test_keys_that_are_not_known_are_named_once_a_file(tmp_path: Path, form: str) -> None:
    rows = [{"id": "a", "caption": "x", "captoin": "y"}, {"id": "b", "caption": "x", "source": "z"}]
    path = write(tmp_path / "rows.jsonl", form.format(*map(json.dumps, rows)))
    source = open_source(path)
    assert [record.item_id for record in source] == ["a", "b"]
    assert source.notices == ["Keys that are not known are left out: captoin, source."]


# ── where pictures are ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder `album` with a picture, beside a secret that must never be reached."""
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "cat.jpg").write_bytes(encoded(photo()))
    (tmp_path / "secret.jpg").write_bytes(encoded(photo()))
    (tmp_path / "album-too").mkdir()
    (tmp_path / "album-too" / "cat.jpg").write_bytes(encoded(photo()))
    (folder / "inside.jpg").symlink_to("sub/cat.jpg")
    (folder / "outside.jpg").symlink_to("../secret.jpg")
    (folder / "away").symlink_to(tmp_path, target_is_directory=True)
    (folder / "circle.jpg").symlink_to("circle.jpg")
    return folder


def image_row(tmp_path: Path, name: str) -> Path:
    return write(tmp_path / "rows.jsonl", json.dumps({"id": "a", "image_filename": name}))


@pytest.mark.parametrize(
    "name", ["sub/cat.jpg", "sub\\cat.jpg", " sub/cat.jpg ", "./sub/../sub/cat.jpg", "inside.jpg"]
)
def test_pictures_inside_the_folder_are_found(tmp_path: Path, album: Path, name: str) -> None:
    (record,) = records(image_row(tmp_path, name), images=album)
    assert record.image == LocalImage(path=(album / "sub/cat.jpg").resolve())


@pytest.mark.parametrize(
    "name",
    [
        "../secret.jpg",
        "sub/../../secret.jpg",
        "..\\secret.jpg",
        "../album-too/cat.jpg",
        "outside.jpg",
        "away/secret.jpg",
    ],
)
def test_names_that_lead_out_of_the_folder_are_rejected(
    tmp_path: Path, album: Path, name: str
) -> None:
    ((_, field, reason),) = rejections(image_row(tmp_path, name), images=album)
    assert field == "image"
    assert reason == (
        f"{name!r} leads out of {album}. Copy the picture into that folder, or choose another one"
        " with --images."
    )


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "\\etc\\passwd", "C:\\cat.jpg", "c:cat.jpg", "//x/y"]
)
def test_absolute_names_are_rejected(tmp_path: Path, album: Path, name: str) -> None:
    ((_, field, reason),) = rejections(image_row(tmp_path, name), images=album)
    assert (field, reason) == (
        "image",
        f"{name!r} is an absolute path. Name the file relative to the folder.",
    )


@pytest.mark.parametrize("name", ["dog.jpg", "sub", ".", "sub/cat.jpg/more"])
def test_names_of_no_file_are_rejected(tmp_path: Path, album: Path, name: str) -> None:
    ((_, field, reason),) = rejections(image_row(tmp_path, name), images=album)
    assert (field, reason) == ("image", f"There is no file {name!r} in {album}.")


@pytest.mark.parametrize("name", ["circle.jpg", "x" * 5000, "a\x00b.jpg", "a\ud800.jpg"])
def test_names_that_no_file_can_have_are_rejected(tmp_path: Path, album: Path, name: str) -> None:
    ((_, field, reason),) = rejections(image_row(tmp_path, name), images=album)
    assert field == "image"
    assert "cannot be used" in reason or "is not UTF-8" in reason or "There is no file" in reason


def test_accents_are_found_however_they_are_composed(tmp_path: Path, album: Path) -> None:
    (album / unicodedata.normalize("NFD", "été.jpg")).write_bytes(encoded(photo()))
    (record,) = records(image_row(tmp_path, unicodedata.normalize("NFC", "été.jpg")), images=album)
    assert isinstance(record.image, LocalImage)


def test_link_names_the_folder(tmp_path: Path, album: Path) -> None:
    (record,) = records(image_row(tmp_path, "inside.jpg"), images=album, link=True)
    assert record.image == LocalImage(path=album / "sub/cat.jpg", linked_root=album)


# ── folders ─────────────────────────────────────────────────────────────────────────────────────


def test_folder_is_read_in_order_with_captions(tmp_path: Path, album: Path) -> None:
    for link in ("outside.jpg", "circle.jpg", "away", "inside.jpg"):
        (album / link).unlink()
    write(album / "sub" / "cat.txt", b"\xef\xbb\xbfA cat.\n")
    write(album / "b.png", encoded(photo(), "PNG"))
    write(album / "a.HEIC", b"unreadable, but meant as a picture")
    write(album / ".hidden.png", b"x")
    (album / ".git").mkdir()
    write(album / ".git" / "c.png", b"x")
    write(album / "notes.txt", "no picture has this name")
    write(album / "paper.pdf", "%PDF")
    write(album / "Makefile", "all:")
    source = open_source(album)
    assert source.estimated == 3
    read = [r for r in source if isinstance(r, ItemRecord)]
    assert [(r.item_id, r.caption, r.line) for r in read] == [
        ("a.HEIC", None, None),
        ("b.png", None, None),
        ("sub:cat.jpg", "A cat.\n", None),
    ]
    assert source.notices == ["2 files that are no pictures were passed over."]


def test_folder_rejects_links_out_and_unreadable_captions_alone(album: Path) -> None:
    write(album / "sub" / "cat.txt", b"\xff\xfe\x00bad")
    write(album / "z.png", encoded(photo(), "PNG"))
    read = list(open_source(album))
    assert [(r.item_id, isinstance(r, ItemRecord)) for r in read] == [
        ("circle.jpg", False),
        ("inside.jpg", True),
        ("outside.jpg", False),
        ("z.png", True),
        ("sub:cat.jpg", False),
    ]
    assert [field for _, field, _ in rejections(album)] == ["image", "image", "caption"]


def test_source_can_be_read_twice(album: Path) -> None:
    source = open_source(album)
    assert len(list(source)) == len(list(source)) == 4
