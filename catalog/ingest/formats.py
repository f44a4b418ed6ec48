"""Which picture formats come in, and what a file that is none of them looks like."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

SUFFIXES: Final = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
}
"""Formats that come in, by Pillow's name; the first suffix is the one that we store."""

SUPPORTED: Final = "JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF or HEIC"

_CLAIMS: Final = {suffix: name for name, suffixes in SUFFIXES.items() for suffix in suffixes} | {
    ".svg": "SVG",
    ".svgz": "SVG",
    ".pdf": "PDF",
    ".eps": "EPS",
    ".ps": "EPS",
    ".jp2": "JPEG 2000",
    ".jxl": "JPEG XL",
    ".psd": "PSD",
    ".ico": "ICO",
    ".tga": "TGA",
    ".txt": "text",
}

_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "a damaged JPEG picture"),
    (b"\x89PNG", "a damaged PNG picture"),
    (b"GIF8", "a damaged GIF picture"),
    (b"RIFF", "a damaged WebP picture, or no picture"),
    (b"II*\x00", "a damaged TIFF picture"),
    (b"MM\x00*", "a damaged TIFF picture"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"8BPS", "a Photoshop document"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x1aE\xdf\xa3", "a video"),
)
_BRANDS: Final = {
    **dict.fromkeys((b"avif", b"avis"), "a damaged AVIF picture"),
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "a damaged HEIC picture"
    ),
}


def claimed_format(filename: str) -> str | None:
    """The format that a file name's suffix claims, or None where it claims no picture."""
    return _CLAIMS.get(PurePath(filename).suffix.lower())


def is_picture_name(filename: str) -> bool:
    """Whether a file of this name is meant as a picture, readable or not."""
    return claimed_format(filename) not in {None, "PDF", "EPS", "text"}


def describe(data: bytes) -> str:
    """What bytes that no decoder knows seem to be, for people: `a PDF document`."""
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "a video")
    head = data[:1024].lower()
    if b"<svg" in head:
        return "an SVG drawing"
    if b"<html" in head or b"<!doctype html" in head:
        return "a web page"
    if b"\x00" not in head and _is_text(data[:1024]):
        return "a text"
    return "no picture that we know, or a damaged one"


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as exc:
        return exc.start > len(head) - 4  # a character cut in two by our own limit
    return True
