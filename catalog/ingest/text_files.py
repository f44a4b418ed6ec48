"""Files of rows, plain or compressed with gzip, as streams."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import BinaryIO, Final, TextIO

_GZIP_MARK: Final = b"\x1f\x8b"
_SAMPLE_BYTES: Final = 2**20


def open_bytes(path: Path) -> BinaryIO:
    """The content of a file; what gzip compressed is unpacked as it is read. Raises OSError."""
    if _is_packed(path):
        return io.BufferedReader(_Unpacked(path))
    return path.open("rb")


def open_text(path: Path) -> TextIO:
    """The same as text, line ends as they are."""
    # Bytes that are no UTF-8 become lone surrogates, which reject their own row alone.
    return io.TextIOWrapper(
        open_bytes(path), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )


def estimate(path: Path, mark: bytes) -> int:
    """How often `mark` is in a file, judged by the first megabyte."""
    with open_bytes(path) as stream:
        sample = stream.read(_SAMPLE_BYTES)
    sampled = len(gzip.compress(sample, 6) if _is_packed(path) else sample)
    return round(path.stat().st_size / (sampled or 1) * (sample.count(mark) or 1))


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_GZIP_MARK)) == _GZIP_MARK


class _Unpacked(io.RawIOBase):
    """A gzip file whose damage is an OSError, like every other failure to read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = gzip.open(path)  # noqa: SIM115  closed below

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._file.read1(len(buffer))
        except (EOFError, OSError, zlib.error) as exc:
            raise OSError(f"{self._path} is cut short or damaged as a gzip file: {exc}") from exc
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
