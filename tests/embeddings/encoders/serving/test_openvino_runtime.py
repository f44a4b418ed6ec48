from __future__ import annotations

import mmap
import os
from pathlib import Path

from embeddings.encoders.serving.openvino_runtime import let_go_of_pages


def resident(file: Path) -> int:
    """Bytes of a mapped file that this process holds."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.endswith(f" {file}"))
    (size,) = (line.split()[1] for line in lines[start : start + 8] if line.startswith("Rss:"))
    return int(size) * 1024


def test_pages_of_one_file_go_and_come_back_as_they_were(tmp_path: Path) -> None:
    weights, other = tmp_path / "image tower.bin", tmp_path / "text tower.bin"
    content = bytes(range(256)) * 4096
    maps = []
    for file in (weights, other):
        file.write_bytes(content)
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())  # a page that waits to be written stays
            maps.append(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    assert [bytes(each) == content for each in maps] == [True, True]
    assert resident(weights) == resident(other) == len(content)

    let_go_of_pages(weights)

    assert (resident(weights), resident(other)) == (0, len(content))
    assert bytes(maps[0]) == content
