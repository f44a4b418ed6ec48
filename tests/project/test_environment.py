from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from mmsearch_project import environment as env

NAME = "MMSEARCH_THING"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", True), ("TRUE", True), (" on ", True), ("0", False), ("No", False), ("", False)],
)
def test_flag_reads_the_usual_words(
    monkeypatch: pytest.MonkeyPatch, value: str, *, expected: bool
) -> None:
    monkeypatch.setenv(NAME, value)
    assert env.flag(NAME, default=True) is expected


def test_flag_takes_the_default_where_the_variable_is_absent() -> None:
    assert env.flag(NAME, default=True) is True
    assert env.flag(NAME, default=False) is False


def test_flag_names_what_it_cannot_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "maybe")
    with pytest.raises(ImproperlyConfigured) as caught:
        env.flag(NAME, default=True)
    assert str(caught.value) == "MMSEARCH_THING='maybe' is neither 1 nor 0."


def test_choice_lists_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.choice(NAME, ("text", "json"), "text") == "text"
    monkeypatch.setenv(NAME, "xml")
    with pytest.raises(ImproperlyConfigured) as caught:
        env.choice(NAME, ("text", "json"), "text")
    assert str(caught.value) == "MMSEARCH_THING='xml': choose one of text, json."


@pytest.mark.parametrize("value", ["0.4", "1.1", "nan", "much"])
def test_number_refuses_what_is_out_of_range_or_no_number(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(NAME, value)
    with pytest.raises(ImproperlyConfigured) as caught:
        env.number(NAME, 0.99, low=0.5, high=1)
    assert str(caught.value) == f"MMSEARCH_THING={value!r} is not a number from 0.5 to 1."


def test_number_reads_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.number(NAME, None, low=0.5, high=1) is None
    monkeypatch.setenv(NAME, "0.5")
    assert env.number(NAME, None, low=0.5, high=1) == 0.5


@pytest.mark.parametrize("value", ["0", "65536", "80.5", "-1", "http", "８０"])
def test_whole_number_refuses_what_is_no_port(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(NAME, value)
    with pytest.raises(ImproperlyConfigured) as caught:
        env.whole_number(NAME, 8000, low=1, high=65_535)
    assert str(caught.value) == f"MMSEARCH_THING={value!r} is not a whole number from 1 to 65535."


def test_whole_number_reads_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.whole_number(NAME, 8000, low=1, high=65_535) == 8000
    monkeypatch.setenv(NAME, "65535")
    assert env.whole_number(NAME, 8000, low=1, high=65_535) == 65_535


def test_words_drops_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.words(NAME, ("a",)) == ["a"]
    monkeypatch.setenv(NAME, " one, two ,,")
    assert env.words(NAME, ("a",)) == ["one", "two"]


def test_service_url_is_checked_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    drivers = {"sqlite": "", "nosuch": "no_such_driver"}
    assert env.service_url(NAME, drivers) == ""
    monkeypatch.setenv(NAME, "sqlite:////tmp/x")
    assert env.service_url(NAME, drivers) == "sqlite:////tmp/x"
    schemes = "must begin with one of sqlite://, nosuch://"
    driver = (
        "needs the package no_such_driver: install it with"
        " `.venv/bin/pip install -r requirements-scale.txt`."
    )
    for url, message in (
        ("mysql://me:secret@host", schemes),
        ("sqlite", schemes),
        ("nosuch://me:secret@host", driver),
    ):
        monkeypatch.setenv(NAME, url)
        with pytest.raises(ImproperlyConfigured) as caught:
            env.service_url(NAME, drivers)
        assert str(caught.value) == f"MMSEARCH_THING {message}"


def test_writable_folder_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(NAME, str(tmp_path / "deep" / "down"))
    assert env.writable_folder(NAME, tmp_path) == (tmp_path / "deep" / "down").resolve()
    assert (tmp_path / "deep" / "down").is_dir()


def test_writable_folder_refuses_a_file_in_the_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "data"
    monkeypatch.setenv(NAME, str(folder))
    with pytest.raises(ImproperlyConfigured) as caught:
        env.writable_folder(NAME, tmp_path)
    assert str(caught.value) == (
        f"MMSEARCH_THING={folder} cannot be written (Not a directory). Choose another folder."
    )


def test_secret_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "secret_key"
    key = env.secret_key(NAME, file)
    assert len(key) > 50
    assert env.secret_key(NAME, file) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_secret_key_of_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(NAME, "given")
    assert env.secret_key(NAME, tmp_path / "secret_key") == "given"
    assert not (tmp_path / "secret_key").exists()


def test_first_line_is_empty_without_a_file(tmp_path: Path) -> None:
    assert env.first_line(tmp_path / "model") == ""
    (tmp_path / "model").write_text("starter\nmore\n")
    assert env.first_line(tmp_path / "model") == "starter"


def test_a_database_is_its_owners_alone(tmp_path: Path) -> None:
    database = tmp_path / "mmsearch.sqlite3"
    env.keep_private(database)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x)")
        names = ["mmsearch.sqlite3", "mmsearch.sqlite3-shm", "mmsearch.sqlite3-wal"]
        assert sorted(file.name for file in tmp_path.iterdir()) == names
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
        for file in tmp_path.iterdir():
            file.chmod(0o644)
        env.keep_private(database)
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_limits_on_pictures_come_from_the_environment(tmp_path: Path) -> None:
    code = (
        "from mmsearch_project import settings as s;"
        "print(s.MMSEARCH_MAX_UPLOAD_BYTES, s.MMSEARCH_MAX_IMAGE_PIXELS)"
    )

    def printed(**variables: str) -> str:
        environment = {**os.environ, "MMSEARCH_DATA_DIR": str(tmp_path), **variables}
        return subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    assert printed() == "26214400 100000000"
    given = {"MMSEARCH_MAX_UPLOAD_MB": "3", "MMSEARCH_MAX_IMAGE_MEGAPIXELS": "12"}
    assert printed(**given) == "3145728 12000000"


def test_bucket_is_read_from_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.bucket(NAME) == {}
    monkeypatch.setenv(NAME, "/srv/pictures")
    assert env.bucket(NAME) == {}
    monkeypatch.setenv(NAME, "s3://my-pictures/shop/eu/?endpoint=https://s3.lan:9000&region=eu-1")
    assert env.bucket(NAME) == {
        "bucket_name": "my-pictures",
        "location": "shop/eu",
        "endpoint_url": "https://s3.lan:9000",
        "region_name": "eu-1",
    }
    monkeypatch.setenv(NAME, "s3://my-pictures")
    assert env.bucket(NAME) == {
        "bucket_name": "my-pictures",
        "location": "",
        "endpoint_url": None,
        "region_name": None,
    }


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        (
            "s3://key:secret@pictures",
            "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        ),
        ("s3://My_Pictures", "'My_Pictures' is no bucket's name."),
        ("s3:///prefix", "'' is no bucket's name."),
        ("s3://pictures/../secrets", "'../secrets' is no prefix."),
        ("s3://pictures?endpoint=s3.lan", "'s3.lan' is no endpoint."),
        ("s3://pictures?zone=eu", "'zone' means nothing."),
    ],
)
def test_bucket_refuses_what_it_cannot_mean(
    monkeypatch: pytest.MonkeyPatch, url: str, mend: str
) -> None:
    monkeypatch.setenv(NAME, url)
    with pytest.raises(ImproperlyConfigured) as caught:
        env.bucket(NAME)
    form = "MMSEARCH_THING has to be s3://bucket/prefix?endpoint=https://…&region=…; "
    assert str(caught.value) == form + mend


def test_a_place_of_pictures_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("gs://me:secret@pictures", "ftp://pictures"):
        monkeypatch.setenv(NAME, url)
        with pytest.raises(ImproperlyConfigured) as caught:
            env.bucket(NAME)
        assert str(caught.value) == (
            "MMSEARCH_THING has to be a folder, like /srv/pictures, or a bucket: s3://bucket/prefix"
        )


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"MMSEARCH_MEDIA_URL": "here"},
            "MMSEARCH_MEDIA_URL: 'here' is a relative path. Write all of it, like /srv/pictures",
        ),
        (
            {"MMSEARCH_DATABASE_URL": "sqlite:///db"},
            "MMSEARCH_DATABASE_URL: 'db' is a relative path. Write all of it, like sqlite:////srv/db",
        ),
        (
            {"MMSEARCH_VECTOR_STORE": "milvus://"},
            "MMSEARCH_VECTOR_STORE has to name a host and its port: milvus://HOST:PORT.",
        ),
    ],
)
def test_half_a_place_is_refused_with_all_of_one(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    assert said_of(**variables, MMSEARCH_DATA_DIR=str(tmp_path)) == f"mmsearch: {said}\n"


@pytest.mark.parametrize("url", ["milvus://", "milvus://host", "milvus://:19530", "milvus://[::1"])
def test_a_store_without_host_or_port_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(NAME, url)
    with pytest.raises(ImproperlyConfigured, match=r"milvus://HOST:PORT\.$"):
        env.choice_or_url(NAME, ("faiss",), {"milvus": ""}, "faiss")


ROOT = Path(__file__).resolve().parents[2]


def said_of(**variables: str) -> str:
    """What a command says of these settings; empty where it takes them."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MMSEARCH_")}
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={
            **ours,
            "DJANGO_SETTINGS_MODULE": "mmsearch_project.settings",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    ).stderr


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("MMSEARCH_MODLE", "did you mean MMSEARCH_MODEL?"),
        ("MMSEARCH_MAX_UPLOAD_BYTES", "did you mean MMSEARCH_MAX_UPLOAD_MB?"),
        ("MMSEARCH_PORT", "did you mean PORT?"),
        ("MMSEARCH_XYZZY", "unset it."),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_nearest(
    tmp_path: Path, name: str, mend: str
) -> None:
    assert said_of(MMSEARCH_DATA_DIR=str(tmp_path), **{name: "secret"}) == (
        f"mmsearch: {name} is no setting: {mend} docs/configuration.md lists every setting.\n"
    )


def test_what_documents_and_kubernetes_name_is_taken(tmp_path: Path) -> None:
    deployment = [path for path in (ROOT / "deploy").iterdir() if path.is_file()]
    texts = [
        path.read_text(encoding="utf-8") for path in [*(ROOT / "docs").glob("*.md"), *deployment]
    ]
    named = dict.fromkeys(re.findall(r"\bMMSEARCH_[A-Z_]+\b", "\n".join(texts)), "")
    assert len(named) > 20
    kubernetes = {
        "MMSEARCH_PORT": "tcp://10.0.0.7:8000",
        "MMSEARCH_PORT_8000_TCP_ADDR": "10.0.0.7",
        "MMSEARCH_WEB_SERVICE_HOST": "10.0.0.7",
        "MMSEARCH_SERVICE_PORT_HTTP": "8000",
    }

    assert said_of(**named | kubernetes | {"MMSEARCH_DATA_DIR": str(tmp_path)}) == ""
