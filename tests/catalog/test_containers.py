from __future__ import annotations

import struct

import pytest
from PIL import Image

from catalog.ingest import containers
from catalog.ingest.containers import Container, Malformed, inspect
from catalog.ingest.images import ImageRefused, check_image
from tests.catalog.pictures import encoded, photo
from tests.fuzz_pictures import huge_webp, many_scans, seeds


def animated(image_format: str) -> bytes:
    """Three frames of noise-like content, so that each takes room in the file."""
    frames = [photo(64, 48).rotate(angle) for angle in (0, 90, 180)]
    return encoded(
        frames[0].copy(), image_format, save_all=True, append_images=frames[1:], duration=50
    )


@pytest.mark.parametrize("name", seeds())
def test_inspect_passes_whole_files(name: str) -> None:
    inspect(seeds()[name])
    inspect(seeds()[name] + b"\0trailing")


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_check_image_refuses_a_file_cut_after_its_first_frame(image_format: str) -> None:
    data = animated(image_format)
    assert check_image(data).width == 64
    for kept in (len(data) - 20, int(len(data) * 0.8)):
        with pytest.raises(ImageRefused, match=r"^The file is damaged or cut short: "):
            check_image(data[:kept])


def test_inspect_finds_a_later_page_whose_strips_are_not_there() -> None:
    data = bytearray(encoded(photo(8, 8), "TIFF", save_all=True, append_images=[photo(8, 8)]))
    (first,) = struct.unpack_from("<L", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    (second,) = struct.unpack_from("<L", data, first + 2 + 12 * entries)
    (entries,) = struct.unpack_from("<H", data, second)
    for at in range(second + 2, second + 2 + 12 * entries, 12):
        if data[at : at + 2] == (273).to_bytes(2, "little"):
            data[at + 8 : at + 12] = len(data).to_bytes(4, "little")
    with pytest.raises(Malformed, match="it ends in the middle"):
        inspect(bytes(data))


def test_inspect_refuses_a_tiff_whose_pages_go_round_in_a_circle() -> None:
    data = bytearray(encoded(photo(8, 8), "TIFF"))
    (first,) = struct.unpack_from("<L", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<L", data, first + 2 + 12 * entries, first)
    with pytest.raises(Malformed, match="its chain of pages has no end"):
        inspect(bytes(data))


@pytest.mark.parametrize(
    ("start", "part", "reason"),
    [
        (encoded(photo(), "PNG")[:-12], bytes(4) + b"teXt" + bytes(4), "chunks"),
        (encoded(photo(), "GIF")[:-1], b"!\xfe\x01x\x00", "blocks"),
        (encoded(photo())[:2], b"\xff\xfe\x00\x02", "segments"),
        (encoded(photo(), "AVIF"), b"\x00\x00\x00\x08free", "boxes"),
    ],
)
def test_inspect_refuses_a_file_of_endless_parts(start: bytes, part: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=f"it has more than 200,000 {reason}"):
        inspect(start + part * (containers.MAX_PARTS + 1))


def test_inspect_counts_the_scans_of_baseline_and_progressive_jpegs() -> None:
    assert inspect(encoded(photo(), quality=95)) == Container(scans=1)
    assert inspect(many_scans(64, 48, 900)) == Container(scans=900)
    assert inspect(encoded(photo(), progressive=True)).scans == 10
    thumbnail = encoded(photo(), comment=many_scans(8, 8, 9))  # in a segment: nobody decodes it
    assert inspect(thumbnail).scans == 1


def test_inspect_reads_the_canvas_of_every_webp() -> None:
    picture = Image.new("RGB", (300, 200))
    assert inspect(huge_webp()).canvas == (9990, 9990)
    for options in ({}, {"lossless": True}, {"exif": b"Exif\0\0II*\0"}):
        assert inspect(encoded(picture, "WEBP", **options)).canvas == (300, 200)
