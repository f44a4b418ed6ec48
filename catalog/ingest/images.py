"""The door for pictures: check, decode once, make the preview that pages and encoder read.

Format and size are read from the content before anything is decoded. Whatever a hostile or broken
file makes the decoder do ends as an ImageRefused with a reason for people.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import BinaryIO, Final

import pillow_heif
from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from PIL import Image, UnidentifiedImageError

from catalog.ingest import containers, formats, pixels
from catalog.ingest.budget import Budget, BudgetExhausted, give_memory_back
from catalog.models import Item
from catalog.storage import CatalogStorage, PicturesUnavailable

# Pictures inside the picture are not asked for.
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
# Pillow would warn from a third of its own limit on; _open checks every header against ours.
Image.MAX_IMAGE_PIXELS = None
# Its remarks on odd metadata name its own source lines; they are no use to an operator.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\b")

OWN_PREVIEW_SIDE: Final = 512
"""Pixels of the short side up to which a plain picture needs no second file."""
OWN_PREVIEW_PIXELS: Final = 512 * 1024
OWN_PREVIEW_BYTES: Final = 2**20
"""More than that is metadata, which no page should carry."""
PREVIEW_QUALITY: Final = 92
BUDGET: Final = 12.5
"""Bytes a process lends for decoding, for each pixel that a picture may have."""
LEAST_BUDGET: Final = 2**28
PIXEL_BYTES: Final = {
    "JPEG": 5.0,
    "PNG": 10.0,
    "GIF": 10.0,
    "WEBP": 17.0,
    "BMP": 9.0,
    "TIFF": 12.5,
    "AVIF": 15.0,
    "HEIF": 12.5,
}
"""Memory that decoding and shrinking take at most, measured with every mode of the format."""
MANY_SCANS_BYTES: Final = 9.0
"""The same for a JPEG of several scans: its coefficients are all kept."""
MAX_SCAN_PIXELS: Final = 2_000_000_000
"""A JPEG is decoded once per scan: a small file may name thousands of scans."""
MAX_PROFILE_BYTES: Final = 8192

_BROWSER_FORMATS: Final = frozenset({"JPEG", "PNG", "WEBP"})
_budget = Budget()
give_memory_back()


class ImageRefused(ValueError):  # noqa: N818  the door's word, not a fault of ours
    """The file is no picture that we can use; the message says why."""


class ImageTooLarge(ImageRefused):
    """The file has more bytes than `MMSEARCH_MAX_UPLOAD_BYTES`."""


class ImageBusy(ImageRefused):
    """There is no memory to decode it just now; the picture itself may be good."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckedImage:
    """What the door found out about a picture; width and height are upright."""

    format: str
    width: int
    height: int
    sha256: str
    preview: bytes | None
    """An upright RGB JPEG, or None where the file serves as it is."""
    note: str = ""
    """What was odd about it and yet taken, for people."""

    @property
    def suffix(self) -> str:
        """The suffix to store the file under."""
        return formats.SUFFIXES[self.format][0]


def read_bytes(source: BinaryIO | bytes | Path) -> bytes:
    """All bytes of a picture file. Raises ImageTooLarge, or ImageRefused where it is empty."""
    limit = settings.MMSEARCH_MAX_UPLOAD_BYTES
    if isinstance(source, Path):
        with source.open("rb") as stream:
            data = stream.read(limit + 1)
    else:
        if not isinstance(source, bytes):
            source.seek(0)
        data = source if isinstance(source, bytes) else source.read(limit + 1)
    if len(data) > limit:
        raise ImageTooLarge(
            f"The file is larger than {limit / 2**20:g} MiB, the limit. Send a smaller picture."
        )
    if not data:
        raise ImageRefused("The file is empty (0 bytes).")
    return data


def check_image(data: bytes, *, filename: str = "") -> CheckedImage:
    """Check a picture by decoding it, once. Raises ImageRefused.

    A JPEG is decoded at reduced size where it is large, which still reads every byte of it.
    """
    with _opened(data, filename) as image:
        image_format, claimed = _format(image), formats.claimed_format(filename)
        profile = image.info.get("icc_profile") if image.mode == "RGB" else None
        serves = (
            len(data) <= OWN_PREVIEW_BYTES
            and claimed in _BROWSER_FORMATS | {None}  # a linked file is served by its name
            and _serves_as_it_is(image)
        )
        width, height = _load(image, halve=serves)
        turned = pixels.orientation(image)
        if turned >= 5:
            width, height = height, width
        preview = None if serves else _encode(pixels.to_preview(image, turned), profile)
    if serves and turned != 1:  # decoded at half size in vain: rare
        with _opened(data, filename) as image:
            _load(image)
            preview = _encode(pixels.to_preview(image, turned), profile)
    return CheckedImage(
        format=image_format,
        width=width,
        height=height,
        sha256=hashlib.sha256(data).hexdigest(),
        preview=preview,
        note=_mislabelled(filename, claimed, image_format),
    )


def decode_query_image(source: BinaryIO | bytes, *, filename: str = "") -> Image.Image:
    """An upright RGB picture to search by: as large as a preview. Raises ImageRefused."""
    return _decode(read_bytes(source), filename)


def open_preview(item: Item) -> Image.Image:
    """An item's upright RGB picture, as pages show and the encoder reads it.

    Raises ImageRefused where the item has none, or its file is gone or broken, and
    PicturesUnavailable where that cannot be known just now.
    """
    file = item.preview_file
    if file is None:
        raise ImageRefused(f"Item {item.item_id!r} has no picture.")
    try:
        with CatalogStorage().open(file.name or "") as stored:
            data = read_bytes(stored.stream)
    except PicturesUnavailable:
        raise
    except FileNotFoundError as exc:
        raise ImageRefused(f"The file {file.name!r} is gone. Ingest the item again.") from exc
    except (OSError, SuspiciousFileOperation) as exc:
        raise ImageRefused(f"The file {file.name!r} cannot be read: {exc}") from exc
    return _decode(data, "")


def _decode(data: bytes, filename: str) -> Image.Image:
    with _opened(data, filename) as image:
        _load(image)
        return pixels.to_preview(image, pixels.orientation(image))


@contextlib.contextmanager
def _opened(data: bytes, filename: str) -> Iterator[Image.Image]:
    """Open and check a picture's header; whatever goes wrong inside becomes ImageRefused."""
    try:
        with contextlib.ExitStack() as held:
            yield _open(data, filename, held)
    except ImageRefused:
        raise
    except UnidentifiedImageError:
        raise ImageRefused(
            f"{_named(filename)} is {formats.describe(data)}."
            f" A picture has to be {formats.SUPPORTED}."
        ) from None
    except BudgetExhausted:
        raise ImageBusy("Too many large pictures are being read. Try again in a moment.") from None
    except MemoryError:
        raise ImageRefused(f"{_named(filename)} needs more memory than there is.") from None
    except Exception as exc:  # a decoder fed hostile bytes may raise anything
        raise ImageRefused(f"{_named(filename)} is damaged or cut short: {exc}.") from exc


def _open(data: bytes, filename: str, held: contextlib.ExitStack) -> Image.Image:
    """A picture whose header is good and for whose pixels there is room as long as `held` is."""
    container = containers.inspect(data)
    if container.canvas is not None:
        _check_size(container.canvas, filename)
        held.enter_context(_room("WEBP", container, container.canvas, filename))
    image = held.enter_context(Image.open(io.BytesIO(data), formats=tuple(formats.SUFFIXES)))
    _check_size(image.size, filename)
    if container.scans * image.width * image.height > MAX_SCAN_PIXELS:
        raise ImageRefused(f"{_named(filename)} would be decoded {container.scans} times over.")
    if container.canvas is None:
        held.enter_context(_room(_format(image), container, image.size, filename))
    return image


def _check_size(size: tuple[int, int], filename: str) -> None:
    width, height = size
    limit = settings.MMSEARCH_MAX_IMAGE_PIXELS
    if width < 1 or height < 1:
        raise ImageRefused(f"{_named(filename)} has no pixels ({width}×{height}).")
    if width * height > limit:
        raise ImageRefused(
            f"{_named(filename)} has {width}×{height} pixels; the limit is {limit / 1e6:g} million."
        )


def _room(
    image_format: str, container: containers.Container, size: tuple[int, int], filename: str
) -> contextlib.AbstractContextManager[None]:
    """The memory that decoding takes, waited for. Raises ImageRefused where it is never there."""
    rate = MANY_SCANS_BYTES if container.scans > 1 else PIXEL_BYTES[image_format]
    total = int(max(LEAST_BUDGET, BUDGET * settings.MMSEARCH_MAX_IMAGE_PIXELS))
    if rate * size[0] * size[1] > total:
        raise ImageRefused(
            f"{_named(filename)} has {size[0]}×{size[1]} pixels; the limit for {image_format} is"
            f" {total / rate / 1e6:.0f} million."
        )
    return _budget.lend(int(rate * size[0] * size[1]), total)


def _load(image: Image.Image, *, halve: bool = False) -> tuple[int, int]:
    """Decode, a JPEG at the smallest size that fills a preview. Returns the size as displayed."""
    size = image.size
    if _format(image) == "JPEG":
        side = (pixels.PREVIEW_SIDE, pixels.PREVIEW_SIDE)
        image.draft("RGB", ((size[0] + 1) // 2, (size[1] + 1) // 2) if halve else side)
        image.load()
        return size
    image.load()
    return image.size  # a TIFF turns itself upright while loading


def _serves_as_it_is(image: Image.Image) -> bool:
    """Whether browsers and encoder can read the file itself, its orientation aside."""
    width, height = image.size
    return (
        _format(image) in _BROWSER_FORMATS
        and image.mode in {"RGB", "L"}
        and min(width, height) <= OWN_PREVIEW_SIDE
        and width * height <= OWN_PREVIEW_PIXELS
        and max(width, height) <= pixels.MAX_ASPECT * min(width, height)
        and not image.has_transparency_data
        and (image.format in {"JPEG", "MPO"} or not getattr(image, "is_animated", False))
    )


def _encode(picture: Image.Image, profile: bytes | None) -> bytes:
    buffer = io.BytesIO()
    keep = profile if profile and len(profile) <= MAX_PROFILE_BYTES else None
    picture.info = {}  # Pillow would write the source's comment again
    picture.save(buffer, "JPEG", quality=PREVIEW_QUALITY, icc_profile=keep)
    return buffer.getvalue()


def _format(image: Image.Image) -> str:
    """Pillow's format name; a phone's JPEG with a second picture behind the first is a JPEG."""
    return "JPEG" if image.format == "MPO" else str(image.format)


def _mislabelled(filename: str, claimed: str | None, image_format: str) -> str:
    if claimed in {None, image_format}:
        return ""
    return (
        f"{_named(filename)} was taken as {image_format}, which it holds; its name says {claimed}."
    )


def _named(filename: str) -> str:
    return repr(PurePath(filename).name) if filename else "The file"
