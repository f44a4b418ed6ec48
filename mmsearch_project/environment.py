"""Typed reads of environment variables; a wrong value names itself and the mend."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from django.core.exceptions import ImproperlyConfigured

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = "MMSEARCH_"
_OF_COMPOSE = {"MMSEARCH_LISTEN", "MMSEARCH_MODELS"}
"""Read by deploy/compose*.yaml, and often exported with the rest."""
_OF_KUBERNETES = re.compile(r"_(SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP|SCTP)\w*)")
"""What it tells every container of a service that is called mmsearch."""
_known = {*_OF_COMPOSE}
"""Names that were asked for: what is a setting is not written down twice."""


def text(name: str, default: str = "") -> str:
    """The variable's value without surrounding spaces."""
    _known.add(name)
    return os.environ.get(name, default).strip()


def refuse_unknown() -> None:
    """Raise ImproperlyConfigured where a variable of ours is none that was read before.

    A misspelt setting would set nothing, and nobody would notice.
    """
    unknown = [name for name in sorted(os.environ) if name.startswith(_PREFIX)]
    if said := " ".join(_mend(name) for name in unknown if not _is_known(name)):
        raise ImproperlyConfigured(f"{said} docs/configuration.md lists every setting.")


def _is_known(name: str) -> bool:
    of_kubernetes = _OF_KUBERNETES.search(name) or os.environ[name].startswith("tcp://")
    return name in _known or bool(of_kubernetes)


def _mend(name: str) -> str:
    """The prefix, which all have, makes none of them alike."""
    ours = {known.removeprefix(_PREFIX): known for known in sorted(_known)}
    near = difflib.get_close_matches(name.removeprefix(_PREFIX), ours, n=1)
    meant = f"did you mean {ours[near[0]]}?" if near else "unset it."
    return f"{name} is no setting: {meant}"


def flag(name: str, *, default: bool) -> bool:
    """A boolean: 1/true/yes/on or 0/false/no/off."""
    value = text(name, "1" if default else "0").lower()
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise ImproperlyConfigured(f"{name}={value!r} is neither 1 nor 0.")


def choice(name: str, allowed: tuple[str, ...], default: str) -> str:
    """One of `allowed`."""
    value = text(name) or default
    if value not in allowed:
        raise ImproperlyConfigured(f"{name}={value!r}: choose one of {', '.join(allowed)}.")
    return value


def number(name: str, default: float | None, *, low: float, high: float) -> float | None:
    """A number between `low` and `high`, or `default` where the variable is empty."""
    value = text(name)
    if not value:
        return default
    try:
        parsed = float(value)
    except ValueError:
        parsed = float("nan")
    if not low <= parsed <= high:
        raise ImproperlyConfigured(f"{name}={value!r} is not a number from {low:g} to {high:g}.")
    return parsed


def whole_number(name: str, default: int, *, low: int, high: int) -> int:
    """An integer between `low` and `high`, or `default` where the variable is empty."""
    value = text(name) or str(default)
    if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
        raise ImproperlyConfigured(f"{name}={value!r} is not a whole number from {low} to {high}.")
    return int(value)


def words(name: str, default: tuple[str, ...]) -> list[str]:
    """A comma-separated list."""
    value = text(name)
    return [word.strip() for word in value.split(",") if word.strip()] if value else list(default)


def service_url(name: str, drivers: Mapping[str, str]) -> str:
    """A URL whose scheme is one of `drivers`, or an empty string.

    `drivers` gives the importable module that each scheme needs, empty where it needs none; all are
    in requirements-scale.txt. The URL is never part of a message: it may hold a password.
    """
    value = text(name)
    if not value:
        return ""
    scheme, separator, _ = value.partition("://")
    if not separator or scheme not in drivers:
        allowed = ", ".join(f"{known}://" for known in drivers)
        raise ImproperlyConfigured(f"{name} must begin with one of {allowed}")
    driver = drivers[scheme]
    if driver and importlib.util.find_spec(driver) is None:
        raise ImproperlyConfigured(
            f"{name} needs the package {driver}: install it with"
            " `.venv/bin/pip install -r requirements-scale.txt`."
        )
    return value


def choice_or_url(
    name: str, allowed: tuple[str, ...], drivers: Mapping[str, str], default: str
) -> str:
    """One of `allowed`, or a URL as `service_url` takes it, with a host."""
    urls = [f"{scheme}://HOST:PORT" for scheme in drivers]
    if "://" in text(name):
        value = service_url(name, drivers)
        if not _names_a_host(value):
            raise ImproperlyConfigured(f"{name} has to name a host and its port: {urls[0]}.")
        return value
    value = text(name) or default
    if value not in allowed:
        raise ImproperlyConfigured(
            f"{name}={value!r}: choose one of {', '.join((*allowed, *urls))}."
        )
    return value


def _names_a_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname and parts.port)
    except ValueError:  # no port, or no address, can be written so
        return False


def require_absolute(name: str, path: str, *, example: str) -> None:
    """Raise ImproperlyConfigured for a path that means another place from every folder."""
    if not Path(path).expanduser().is_absolute():
        raise ImproperlyConfigured(
            f"{name}: {path!r} is a relative path. Write all of it, like {example}"
        )


def bucket(name: str) -> dict[str, str | None]:
    """What `s3://bucket/prefix?endpoint=…&region=…` says; empty where the variable is a folder."""
    value = text(name)
    if "://" not in value:
        if value:
            require_absolute(name, value, example="/srv/pictures")
        return {}
    if not value.startswith("s3://"):
        raise ImproperlyConfigured(
            f"{name} has to be a folder, like /srv/pictures, or a bucket: s3://bucket/prefix"
        )
    url = urlsplit(service_url(name, {"s3": "storages"}))
    options = dict(parse_qsl(url.query))
    prefix = url.path.strip("/")
    endpoint = options.pop("endpoint", None)
    region = options.pop("region", None)
    form = f"{name} has to be s3://bucket/prefix?endpoint=https://…&region=…; "
    if "@" in url.netloc:
        raise ImproperlyConfigured(
            f"{form}credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if not _BUCKET.fullmatch(url.netloc):
        raise ImproperlyConfigured(f"{form}{url.netloc!r} is no bucket's name.")
    if ".." in prefix.split("/"):
        raise ImproperlyConfigured(f"{form}{prefix!r} is no prefix.")
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise ImproperlyConfigured(f"{form}{endpoint!r} is no endpoint.")
    if options:
        raise ImproperlyConfigured(f"{form}{next(iter(options))!r} means nothing.")
    return {
        "bucket_name": url.netloc,
        "location": prefix,
        "endpoint_url": endpoint,
        "region_name": region,
    }


def writable_folder(name: str, default: Path) -> Path:
    """A folder, made if absent. Raises ImproperlyConfigured where it cannot be written."""
    folder = Path(text(name) or default).expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError("permission denied")
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise ImproperlyConfigured(
            f"{name}={folder} cannot be written ({reason}). Choose another folder."
        ) from exc
    return folder


def first_line(file: Path) -> str:
    """The first line of a file, empty where there is none."""
    try:
        return file.read_text(encoding="utf-8").partition("\n")[0].strip()
    except FileNotFoundError:
        return ""


def secret_key(name: str, file: Path) -> str:
    """The variable, or a key generated once into `file` (mode 600)."""
    if value := text(name):
        return value
    if not file.exists():
        draft = file.with_name(f".{file.name}-{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_urlsafe(64))
        try:
            os.link(draft, file)  # all or nothing: no other process reads half a key
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return file.read_text().strip()


def keep_private(database: Path) -> None:
    """Let its owner alone read a SQLite file, made if absent; SQLite makes the files beside it so.

    Files of someone else, and file systems without modes, stay as they are.
    """
    with contextlib.suppress(OSError):  # opening the database tells what is wrong
        os.close(os.open(database, os.O_RDWR | os.O_CREAT, 0o600))
    for suffix in ("", "-wal", "-shm"):
        file = database.with_name(database.name + suffix)
        with contextlib.suppress(OSError):
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)
