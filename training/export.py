"""Joins the two towers into one directory that any CLIP loader reads.

Run: ``python -m training.export [--towers]``. Weights are written as float16 safetensors, and
beside them the networks for OpenVINO, so that a first start converts nothing.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from embeddings.encoders.finding.prepared import SHIPPED
from embeddings.encoders.preparing.export import export_model
from training.augment import MEAN, SIDE, STD
from training.corpus import TOKENIZER
from training.image import CHECKPOINT as IMAGE_CHECKPOINT
from training.text import CHECKPOINT as TEXT_CHECKPOINT
from training.towers import build_model
from training.workspace import STARTER

LIMIT: Final = 25_000_000  # bytes
LOGIT_SCALE: Final = 3.0  # log of the inverse temperature used in training


def load_joined() -> CLIPModel:
    """Both towers from their last checkpoints."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    model = build_model(len(tokenizer))
    for path in (IMAGE_CHECKPOINT, TEXT_CHECKPOINT):
        model.load_state_dict(torch.load(path, weights_only=True)["tower"], strict=False)
    model.logit_scale.data.fill_(LOGIT_SCALE)
    model.train(mode=False)
    return model


def main() -> None:
    """Write everything; with ``--towers`` only the networks of the weights that are there."""
    if "--towers" in sys.argv[1:]:
        ship_towers()
        return
    STARTER.mkdir(parents=True, exist_ok=True)
    model = load_joined()
    weights = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, STARTER / "model.safetensors", metadata={"format": "pt"})
    (STARTER / "model.safetensors").chmod(0o644)
    config = model.config
    config.architectures = ["CLIPModel"]
    config.dtype = "float16"
    config.save_pretrained(STARTER)
    CLIPTokenizer.from_pretrained(TOKENIZER).save_pretrained(STARTER)
    preprocessing = {
        "image_processor_type": CLIPImageProcessor.__name__,
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": SIDE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": SIDE, "width": SIDE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(MEAN),
        "image_std": list(STD),
    }
    text = json.dumps(preprocessing, indent=2) + "\n"
    (STARTER / "preprocessor_config.json").write_text(text, "utf-8")
    size = sum(path.stat().st_size for path in STARTER.iterdir())
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{count / 1e6:.2f} M parameters, {size / 1e6:.2f} MB in {STARTER.name}/")
    if size > LIMIT:
        raise SystemExit(f"{size} bytes is more than the {LIMIT} that the repository carries")
    ship_towers()


def ship_towers() -> None:
    """Put the networks, in the precisions that were chosen, beside the weights."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = export_model("starter", Path(folder), progress=print)
        shutil.rmtree(STARTER / SHIPPED, ignore_errors=True)
        shutil.copytree(prepared.directory, STARTER / SHIPPED)
    (STARTER / SHIPPED).chmod(0o755)
    for path in (STARTER / SHIPPED).iterdir():
        path.chmod(0o644)


if __name__ == "__main__":
    main()
