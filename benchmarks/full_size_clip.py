"""A CLIP ViT-B/32 of full size with random weights: what the real one costs, without a download.

    pip download --no-deps -r benchmarks/requirements.txt -d DIRECTORY
    python -m benchmarks.full_size_clip TARGET --wheel DIRECTORY/open_clip_torch-*.whl

The tokenizer is the real one: CLIP's byte-pair vocabulary out of the wheel.
"""

from __future__ import annotations

import argparse
import gzip
import json
import zipfile
from pathlib import Path
from typing import Any, Final

from embeddings.encoders.families.clip import bpe_tokenizer

VOCABULARY_FILE: Final = "open_clip/bpe_simple_vocab_16e6.txt.gz"
VOCABULARY_SIZE: Final = 49408
SEED: Final = 0


def build_full_size_clip(target: Path, wheel: Path) -> None:
    """Write weights, configuration, tokenizer and preprocessing into `target`."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(SEED)
    model: Any = CLIPModel(CLIPConfig())
    model.save_pretrained(target)
    preprocessing = {
        "do_resize": True,
        "size": {"shortest_edge": 224},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "do_convert_rgb": True,
    }
    (target / "preprocessor_config.json").write_text(json.dumps(preprocessing), encoding="utf-8")
    (target / "tokenizer.json").write_text(clip_tokenizer(wheel), encoding="utf-8")


def clip_tokenizer(wheel: Path) -> str:
    """Serialised CLIP tokenizer from the merges in open_clip's wheel.

    The vocabulary is, in order: the 256 bytes, the bytes at the end of a word, one token a merge,
    and the start and end tokens.
    """
    with zipfile.ZipFile(wheel) as archive:
        lines = gzip.decompress(archive.read(VOCABULARY_FILE)).decode("utf-8").splitlines()
    letters = byte_letters()
    merges = [
        (left, right)
        for left, right in (line.split() for line in lines[1 : VOCABULARY_SIZE - 2 * 256 - 1])
    ]
    tokens = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        *(left + right for left, right in merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    return bpe_tokenizer({token: index for index, token in enumerate(tokens)}, merges)


def byte_letters() -> list[str]:
    """The visible letter that stands for each byte, in the vocabulary's order.

    Printable bytes of Latin-1 stand for themselves and come first; the others are counted up
    from code point 256.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(others)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--wheel", type=Path, required=True)
    options = parser.parse_args()
    options.target.mkdir(parents=True, exist_ok=True)
    build_full_size_clip(options.target, options.wheel)


if __name__ == "__main__":
    main()
