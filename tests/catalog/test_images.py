from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.base import ContentFile
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pytest_django.fixtures import Settings

from catalog.ingest.images import (
    ImageRefused,
    ImageTooLarge,
    check_image,
    decode_query_image,
    open_preview,
    read_bytes,
)
from catalog.models import Item, LinkedFolder
from tests.catalog.pictures import corners, encoded, near, opened, photo, turned
from tests.fuzz_pictures import many_scans

SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "HEIF")


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds a few bytes: a decompression bomb's shape."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@functools.cache
def noise(image_format: str, size: tuple[int, int]) -> bytes:
    """A picture that no encoder makes small."""
    values = np.random.default_rng(7).integers(0, 255, (*size, 3), dtype=np.uint8)
    return encoded(Image.fromarray(values), image_format)


def upright(data: bytes) -> Image.Image:
    """What pages and encoder see of a file."""
    preview = check_image(data).preview
    return opened(preview) if preview is not None else decode_query_image(data)


# ── what comes in ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("image_format", FORMATS)
def test_check_image_accepts_every_supported_format(image_format: str) -> None:
    data = encoded(photo(64, 48), image_format)
    checked = check_image(data, filename=f"picture.{image_format.lower()}")
    assert (checked.format, checked.width, checked.height) == (image_format, 64, 48)
    assert checked.sha256 == hashlib.sha256(data).hexdigest()
    seen = decode_query_image(data)
    assert seen.mode == "RGB"
    tolerance = 60 if image_format == "GIF" else 12  # 256 colours
    assert near(corners(seen), corners(photo(64, 48)), tolerance)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_check_image_makes_no_second_file_of_a_small_plain_picture(image_format: str) -> None:
    assert check_image(encoded(photo(512, 400), image_format)).preview is None
    assert check_image(encoded(photo(300, 200).convert("L"), image_format)).preview is None


def test_check_image_makes_a_second_file_of_a_small_picture_with_much_metadata() -> None:
    data = encoded(photo(64, 48), comment=bytes(60_000))
    assert check_image(data).preview is None
    heavy = data[:2] + (b"\xff\xfe\xff\xff" + bytes(0xFFFD)) * 20 + data[2:]
    preview = check_image(heavy).preview
    assert preview is not None
    assert len(preview) < 5000


@pytest.mark.parametrize("image_format", ["GIF", "BMP", "TIFF", "AVIF", "HEIF"])
def test_check_image_makes_a_jpeg_of_what_browsers_or_encoder_read_badly(image_format: str) -> None:
    preview = check_image(encoded(photo(64, 48), image_format)).preview
    assert preview is not None
    image = opened(preview)
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 48))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_check_image_previews_a_large_picture_at_448_pixels(image_format: str) -> None:
    checked = check_image(encoded(photo(2000, 1500), image_format))
    assert (checked.width, checked.height) == (2000, 1500)
    assert checked.preview is not None
    image = opened(checked.preview)
    assert image.size == (597, 448)
    assert near(corners(image), corners(photo(2000, 1500)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(64, 48), (1200, 900)])
def test_check_image_turns_a_photo_upright(orientation: int, size: tuple[int, int]) -> None:
    stored = photo(*size)
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    expected = stored.transpose(turns[orientation]) if orientation in turns else stored
    data = turned(stored, orientation)
    checked = check_image(data)
    assert (checked.width, checked.height) == expected.size
    assert near(corners(upright(data)), corners(expected))
    assert near(corners(decode_query_image(data)), corners(expected))


def test_check_image_turns_other_formats_upright_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for image_format in ("PNG", "WEBP", "TIFF", "AVIF", "HEIF"):
        data = encoded(photo(64, 48), image_format, exif=exif.tobytes())
        checked = check_image(data)
        assert (image_format, checked.width, checked.height) == (image_format, 48, 64)
        assert near(
            corners(upright(data)), corners(photo(64, 48).transpose(Image.Transpose.ROTATE_270))
        )


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_check_image_passes_over_broken_exif() -> None:
    data = encoded(photo(), exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff garbage")
    assert check_image(data).preview is None


def test_check_image_converts_cmyk() -> None:
    data = encoded(photo(64, 48).convert("CMYK"), quality=95)
    assert near(corners(upright(data)), corners(photo(64, 48)))


def test_check_image_keeps_the_upper_byte_of_16_bit_grey() -> None:
    values = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    data = encoded(Image.fromarray(values), "PNG")
    expected = Image.fromarray((values >> 8).astype(np.uint8))
    assert near(corners(upright(data)), corners(expected))


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_check_image_stretches_wider_greys(dtype: type[np.number[Any]]) -> None:
    values: NDArray[np.number[Any]] = (
        np.linspace(-500, 90_000, 64 * 48).reshape(48, 64).astype(dtype)
    )
    image = upright(encoded(Image.fromarray(values), "TIFF"))
    expected = Image.fromarray(np.linspace(0, 255, 64 * 48).reshape(48, 64).astype(np.uint8))
    assert near(corners(image), corners(expected))


def test_check_image_stretches_wide_greys_of_large_pictures() -> None:
    values = np.linspace(0, 90_000, 900 * 600).reshape(600, 900).astype(np.float32)
    image = upright(encoded(Image.fromarray(values), "TIFF"))
    assert image.size == (672, 448)
    expected = Image.fromarray(np.linspace(0, 255, 900 * 600).reshape(600, 900).astype(np.uint8))
    assert near(corners(image), corners(expected))


def test_check_image_stretches_infinities_too() -> None:
    values = np.array([[-np.inf, 0], [0, np.inf]], dtype=np.float32)
    assert corners(upright(encoded(Image.fromarray(values), "TIFF"))) == [
        *[(0,) * 3, (127,) * 3, (255,) * 3, (127,) * 3]
    ]


def test_check_image_stretches_nothing_out_of_one_value() -> None:
    flat = Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32))
    assert corners(upright(encoded(flat, "TIFF"))) == [(0, 0, 0)] * 4


@pytest.mark.parametrize("size", [(64, 48), (1200, 900)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_check_image_lays_transparency_on_white(mode: str, size: tuple[int, int]) -> None:
    image = Image.new("RGBA", size, (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (size[0] // 2, 0, *size))
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    seen = upright(encoded(image, "PNG"))
    black, white = (0, 0, 0), (255, 255, 255)
    assert near(corners(seen), [white, black, black, white])


def test_check_image_lays_a_transparent_colour_on_white() -> None:
    image = Image.new("RGB", (8, 8), (255, 0, 0))
    seen = upright(encoded(image, "PNG", transparency=(255, 0, 0)))
    assert near(corners(seen), [(255, 255, 255)] * 4)


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_check_image_takes_the_first_frame(image_format: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "green")]
    data = encoded(frames[0], image_format, save_all=True, append_images=frames[1:], duration=50)
    checked = check_image(data)
    assert checked.preview is not None
    assert near(corners(opened(checked.preview)), [(255, 0, 0)] * 4)


def test_check_image_reads_a_phones_two_pictures_in_one_as_jpeg() -> None:
    data = encoded(photo(64, 48), "MPO", save_all=True, append_images=[photo(32, 24)])
    checked = check_image(data, filename="phone.jpg")
    assert (checked.format, checked.width, checked.preview) == ("JPEG", 64, None)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_check_image_accepts_one_pixel(image_format: str) -> None:
    data = encoded(Image.new("RGB", (1, 1), "blue"), image_format)
    assert (check_image(data).width, upright(data).size) == (1, (1, 1))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("size", "seen"),
    [((12_000, 50), (400, 50)), ((50, 12_000), (50, 400)), ((12_000, 1000), (3584, 448))],
)
def test_check_image_previews_the_centre_of_a_very_long_picture(
    image_format: str, size: tuple[int, int], seen: tuple[int, int]
) -> None:
    checked = check_image(encoded(photo(*size), image_format))
    assert (checked.width, checked.height) == size
    assert checked.preview is not None
    image = opened(checked.preview)
    assert image.size == seen
    middle = [tuple(channel // 2 for channel in colour) for colour in [(255, 255, 120)]]
    centre = image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert near([centre], middle)  # type: ignore[list-item]


def test_check_image_keeps_a_small_colour_profile() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    small = check_image(encoded(photo(900, 900), icc_profile=profile)).preview
    large = check_image(encoded(photo(900, 900), icc_profile=profile + bytes(10_000))).preview
    assert small is not None
    assert large is not None
    assert opened(small).info["icc_profile"] == profile
    assert "icc_profile" not in opened(large).info


def test_reduced_decoding_sees_what_full_decoding_sees() -> None:
    picture = photo(3000, 2250)
    seen = decode_query_image(encoded(picture, quality=90))
    full = opened(encoded(picture, quality=90)).resize(seen.size, Image.Resampling.BICUBIC)
    difference = np.abs(np.asarray(seen, dtype=int) - np.asarray(full, dtype=int))
    assert seen.size == (597, 448)
    assert difference.mean() < 1.0


# ── what stays out ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "filename", "reason"),
    [
        (SVG, "drawing.svg", "'drawing.svg' is an SVG drawing."),
        (SVG, "drawing.png", "'drawing.png' is an SVG drawing."),
        (PDF, "paper.pdf", "'paper.pdf' is a PDF document."),
        (PDF, "paper.jpg", "'paper.jpg' is a PDF document."),
        (EPS, "figure.eps", "'figure.eps' is a PostScript document."),
        (b"just some words", "words.jpg", "'words.jpg' is a text."),
        ("Wörter, später".encode(), "", "The file is a text."),
        (b"<!DOCTYPE html><html></html>", "", "The file is a web page."),
        (b"PK\x03\x04" + bytes(60), "", "The file is a ZIP archive."),
        (b"\x00\x00\x00\x18ftypheic" + bytes(60), "x", "'x' is a damaged HEIC picture."),
        (b"\x00\x00\x00\x18ftypisom" + bytes(60), "", "The file is a video."),
        (bytes(100), "", "The file is no picture that we know, or a damaged one."),
    ],
)
def test_check_image_says_what_a_file_is_instead_of_a_picture(
    data: bytes, filename: str, reason: str
) -> None:
    with pytest.raises(ImageRefused) as refusal:
        check_image(data, filename=filename)
    assert str(refusal.value) == (
        f"{reason} A picture has to be JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF or HEIC."
    )


@pytest.mark.parametrize("image_format", FORMATS)
def test_check_image_knows_a_picture_whose_beginning_is_damaged(image_format: str) -> None:
    data = encoded(photo(64, 48), image_format)
    with pytest.raises(ImageRefused, match=r"damaged"):
        check_image(data[:40])


@pytest.mark.parametrize("image_format", ["PPM", "TGA", "ICO", "JPEG2000", "DDS", "SGI"])
def test_check_image_refuses_formats_that_pillow_could_read(image_format: str) -> None:
    data = encoded(photo(64, 64), image_format)
    with pytest.raises(ImageRefused, match="A picture has to be JPEG, PNG"):
        check_image(data)


def test_check_image_takes_a_picture_by_its_content_whatever_its_name_says() -> None:
    data = encoded(photo(), "PNG")
    checked = check_image(data, filename="C:/photos/cat.jpg")
    assert (checked.format, checked.suffix, checked.preview) == ("PNG", ".png", None)
    assert checked.note == "'cat.jpg' was taken as PNG, which it holds; its name says JPEG."
    for name in ("cat.PNG", "cat", "cat.upload", ""):
        assert check_image(data, filename=name).note == ""


def test_check_image_makes_a_second_file_where_the_name_keeps_browsers_from_the_first() -> None:
    for name in ("cat.svg", "cat.heic", "cat.tiff"):
        assert check_image(encoded(photo(), "PNG"), filename=name).preview is not None


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("kept", [0.3, 0.7])
@pytest.mark.parametrize("size", [(200, 150), (600, 500)])
def test_check_image_refuses_a_truncated_file(
    image_format: str, kept: float, size: tuple[int, int]
) -> None:
    data = noise(image_format, size)
    with pytest.raises(ImageRefused, match=r"damaged"):
        check_image(data[: int(len(data) * kept)])


def test_check_image_refuses_an_empty_file() -> None:
    with pytest.raises(ImageRefused, match=r"^The file is empty \(0 bytes\)\.$"):
        read_bytes(b"")


def test_read_bytes_refuses_more_bytes_than_the_limit(settings: Settings, tmp_path: Path) -> None:
    settings.MMSEARCH_MAX_UPLOAD_BYTES = 2**20
    path = tmp_path / "large"
    path.write_bytes(bytes(2**20 + 1))
    reason = r"^The file is larger than 1 MiB, the limit\. Send a smaller picture\.$"
    for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
        with pytest.raises(ImageTooLarge, match=reason):
            read_bytes(source)
    path.write_bytes(bytes(2**20))
    assert len(read_bytes(path)) == 2**20


def test_read_bytes_reads_an_open_file_from_its_beginning() -> None:
    stream = io.BytesIO(b"content")
    stream.seek(3)
    assert read_bytes(stream) == b"content"


def test_check_image_refuses_a_decompression_bomb_by_its_header() -> None:
    with pytest.raises(ImageRefused) as refusal:
        check_image(png_header(60_000, 60_000), filename="bomb.png")
    assert str(refusal.value) == ("'bomb.png' has 60000×60000 pixels; the limit is 100 million.")


def test_check_image_counts_pixels_exactly(settings: Settings) -> None:
    settings.MMSEARCH_MAX_IMAGE_PIXELS = 64 * 48
    assert check_image(encoded(photo(64, 48))).width == 64
    with pytest.raises(ImageRefused, match="64×49 pixels"):
        check_image(encoded(photo(64, 49)))


def test_check_image_refuses_a_progressive_jpeg_of_endless_scans() -> None:
    data = encoded(photo(4000, 3000), progressive=True)
    assert check_image(data).width == 4000
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(ImageRefused, match=r"would be decoded \d+ times over"):
        check_image(data[:-2] + scan * 900 + data[-2:])


def test_check_image_refuses_a_baseline_jpeg_of_endless_scans() -> None:
    assert check_image(many_scans(3000, 2000, 12)).width == 3000
    with pytest.raises(ImageRefused, match="would be decoded 900 times over"):
        check_image(many_scans(3000, 2000, 900))


@pytest.mark.parametrize("image_format", FORMATS)
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_check_image_refuses_or_accepts_damaged_bytes_but_never_fails(
    image_format: str, data: st.DataObject
) -> None:
    content = bytearray(encoded(photo(40, 30), image_format))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ImageRefused):  # whatever else it raises fails the test
        checked = check_image(bytes(content))
        assert checked.width * checked.height >= 1


# ── what encoder and pages read ─────────────────────────────────────────────────────────────────


def stored_item(data: bytes, suffix: str) -> Item:
    item = Item(item_id="one", image_hash=hashlib.sha256(data).hexdigest())
    item.image.save(f"x{suffix}", ContentFile(data), save=False)
    return item


def test_open_preview_reads_the_picture_where_it_is_its_own_preview() -> None:
    image = open_preview(stored_item(encoded(photo(300, 200)), ".jpg"))
    assert (image.mode, image.size) == ("RGB", (300, 200))
    assert near(corners(image), corners(photo(300, 200)))


def test_open_preview_prefers_the_preview() -> None:
    item = stored_item(encoded(photo(300, 200)), ".jpg")
    item.preview.save("x.jpg", ContentFile(encoded(Image.new("RGB", (9, 9), "red"))), save=False)
    assert open_preview(item).size == (9, 9)


def test_open_preview_refuses_an_item_without_a_picture() -> None:
    with pytest.raises(ImageRefused, match=r"^Item 'words' has no picture\.$"):
        open_preview(Item(item_id="words", caption="words"))


def test_open_preview_says_when_the_file_is_gone() -> None:
    item = stored_item(encoded(photo()), ".jpg")
    Path(item.image.path).unlink()
    with pytest.raises(ImageRefused, match=r"is gone\. Ingest the item again\.$"):
        open_preview(item)


def test_open_preview_refuses_a_link_whose_folder_was_withdrawn(db: None, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(encoded(photo()))
    folder = LinkedFolder.objects.create(path=str(tmp_path))
    item = Item(item_id="cat", image=f"linked/{folder.pk}/cat.jpg")
    assert open_preview(item).size == (64, 48)
    folder.delete()
    with pytest.raises(ImageRefused, match="names a linked folder that is not allowed"):
        open_preview(item)
