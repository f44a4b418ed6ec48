"""`python -m tests.fuzz_pictures`: damaged and hostile pictures through the door.

Every one is taken in or refused with a reason, and memory stays where it was. Prints one line;
exits with 1 where anything else happened.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import itertools
import os
import random
import struct
import sys
import time
import traceback
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from PIL import Image

from tests.catalog.pictures import encoded, photo

THREADS: Final = 4
MOST_GROWTH: Final = 1.3
MOST_PEAK: Final = 1_500_000_000
"""Bytes."""


@dataclasses.dataclass
class Report:
    """What became of the pictures, and the bytes of memory before, at most and after."""

    taken: int = 0
    refused: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    before: int = 0
    peak: int = 0
    after: int = 0

    def __str__(self) -> str:
        sizes = (f"{size / 1e6:.0f}" for size in (self.before, self.peak, self.after))
        return (
            f"{self.taken + self.refused} pictures: {self.taken} taken, {self.refused} refused,"
            f" {len(self.failures)} failures; memory {' → '.join(sizes)} MB (before, peak, after)."
        )


def seeds() -> dict[str, bytes]:
    """Good pictures of every format and of the kinds that formats have."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "words"
    small = photo(40, 30)
    grey, alpha = small.convert("I").point(lambda value: value * 200), small.convert("RGBA")
    found = {
        "progressive.jpg": encoded(small, progressive=True, exif=exif),
        "cmyk.jpg": encoded(small.convert("CMYK")),
        "two.jpg": encoded(small, "MPO", save_all=True, append_images=[photo(30, 20)]),
        "alpha.png": encoded(alpha, "PNG"),
        "palette.png": encoded(small.quantize(9), "PNG", transparency=0),
        "grey.png": encoded(grey.convert("I;16"), "PNG"),
        "lossless.webp": encoded(alpha, "WEBP", lossless=True, exif=exif.tobytes()),
        "strips.tif": encoded(small, "TIFF", compression="tiff_lzw"),
        "float.tif": encoded(small.convert("F"), "TIFF"),
        "interlaced.png": interlaced_png(40, 30),
    }
    for suffix, name in (
        *((".jpg", "JPEG"), (".png", "PNG"), (".gif", "GIF"), (".webp", "WEBP"), (".bmp", "BMP")),
        *((".tif", "TIFF"), (".avif", "AVIF"), (".heic", "HEIF")),
    ):
        found[f"plain{suffix}"] = encoded(photo(40, 30), name)
        if name in {"PNG", "GIF", "WEBP", "TIFF", "AVIF"}:
            found[f"frames{suffix}"] = encoded(
                photo(40, 30), name, save_all=True, append_images=[photo(40, 30).rotate(90)]
            )
    return found


def interlaced_png(width: int, height: int, *, kept: float = 1.0) -> bytes:
    """A black interlaced PNG of 24-bit colour; with `kept` below 1 its pixels end early."""
    raw = bytearray()
    for x, y, dx, dy in (
        *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
        *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
    ):
        columns, rows = -((x - width) // dx), -((y - height) // dy)
        raw += bytes((1 + 3 * columns) * rows) if columns > 0 else b""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return png(header, zlib.compress(bytes(raw[: int(len(raw) * kept)]), 9))


def png(header: bytes, content: bytes) -> bytes:
    """A PNG file of a header and compressed lines."""
    chunks = ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def huge_webp(width: int = 9990, height: int = 9990) -> bytes:
    """36 bytes that hold a lossless picture of one colour."""
    small = encoded(Image.new("RGB", (16, 16)), "WEBP", lossless=True)
    bits = int.from_bytes(small[21:25], "little") & ~0xFFFFFFF
    size = ((width - 1) | (height - 1) << 14 | bits).to_bytes(4, "little")
    return small[:21] + size + small[25:]


def many_scans(width: int, height: int, scans: int) -> bytes:
    """A baseline JPEG in scans of one colour each, without any data: ten bytes a scan."""
    data = encoded(Image.new("RGB", (width, height)), "JPEG", subsampling=0)
    headers = data[: data.rindex(b"\xff\xda")]
    return (
        headers
        + b"".join(
            b"\xff\xda\x00\x08\x01" + bytes((1 + number % 3, 0, 0, 63, 0))
            for number in range(scans)
        )
        + b"\xff\xd9"
    )


def hostile() -> dict[str, bytes]:
    """Small files that ask for much memory or time."""
    return {
        "huge.webp": huge_webp(),
        "large.webp": huge_webp(8000, 8000),
        "late.png": interlaced_png(5000, 5000, kept=0.99),
        "scans.jpg": many_scans(3000, 2000, 900),
        "bomb.png": png(
            struct.pack(">IIBBBBB", 9999, 9999, 8, 6, 0, 0, 0), zlib.compress(bytes(9))
        ),
        "bomb.gif": b"GIF89a" + struct.pack("<HH", 9999, 9999) + encoded(photo(), "GIF")[10:],
    }


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The same with bytes changed, cut, repeated or overwritten by the numbers that hurt most."""
    content = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(content))
        kind = chance.randrange(6)
        if kind <= 1:
            content[at] = chance.randrange(256)
        elif kind == 2:
            content[at : at + 4] = chance.choice((b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4)))
        elif kind == 3 and len(content) > 60:
            del content[max(at, 30) :]
        elif kind == 4:
            content[at:at] = content[at : at + chance.randint(1, 200)] * chance.randint(1, 50)
        else:
            content[at : at + chance.randint(1, 20)] = chance.randbytes(chance.randint(0, 20))
    return bytes(content)


def pictures(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents: one in forty is hostile, the others are damaged."""
    chance = random.Random(seed)
    good, bad = list(seeds().items()), itertools.cycle(hostile().items())
    for number in range(count):
        if number % 40 == 0:
            yield next(bad)
        else:
            name, data = good[number % len(good)]
            yield name, mutated(data, chance)


def through_the_door(name: str, data: bytes) -> tuple[str, str]:
    """`taken`, `refused` with its reason, or `failed` with whatever else happened."""
    from catalog.ingest import ImageRefused, UploadedImage
    from catalog.ingest.pictures import prepare_picture

    try:
        prepare_picture("fuzz", UploadedImage(data=data, filename=name), None, store=False)
    except ImageRefused as exc:
        return ("refused", str(exc)) if str(exc) else ("failed", "refused without a reason")
    except Exception:  # noqa: BLE001  what it is all about
        return "failed", traceback.format_exc(limit=-3)
    return "taken", ""


def run(count: int, seed: int) -> Report:
    """Send `count` pictures through the door, as many at a time as ingestion does."""
    report = Report()
    for name, data in seeds().items():
        outcome, reason = through_the_door(name, data)
        if outcome != "taken":
            report.failures.append(f"{name}, undamaged: {reason}")
    gc.collect()
    report.before = memory("VmRSS")
    source = pictures(count, seed)
    with ThreadPoolExecutor(THREADS) as pool:
        while batch := list(itertools.islice(source, 8 * THREADS)):
            results = pool.map(lambda picture: through_the_door(*picture), batch)
            for (name, _), (outcome, reason) in zip(batch, results, strict=True):
                report.taken += outcome == "taken"
                report.refused += outcome == "refused"
                if outcome == "failed":
                    report.failures.append(f"{name}: {reason}")
    gc.collect()
    report.after, report.peak = memory("VmRSS"), memory("VmHWM")
    if report.after > MOST_GROWTH * report.before:
        report.failures.append(f"Memory grew by more than {MOST_GROWTH} times.")
    if report.peak > MOST_PEAK:
        report.failures.append(f"Memory went beyond {MOST_PEAK / 1e6:.0f} MB.")
    return report


def memory(field: str) -> int:
    """Bytes of a field of this process's status (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if field in line)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    started = time.monotonic()
    report = run(options.count, options.seed)
    for failure in report.failures:
        print(failure, file=sys.stderr)  # noqa: T201
    print(f"{report} Seed {options.seed}, {time.monotonic() - started:.0f} s.")  # noqa: T201
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
