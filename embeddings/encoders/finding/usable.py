"""System checks that every CLIP encoder shares."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  Django's own name

from embeddings.encoders.base import EncoderError
from embeddings.encoders.finding.model_files import local_files

DEVICES = ("auto", "cpu", "cuda")


def check_model(model: str, device: str) -> list[CheckMessage]:
    """Whether `model` and `device` name something usable; reads no weights, uses no network."""
    messages: list[CheckMessage] = []
    try:
        files = local_files(model)
    except EncoderError as exc:
        messages.append(Error(str(exc), id="embeddings.E010"))  # it names the mend itself
    else:
        if files is None:
            messages.append(
                Warning(
                    f"The model {model!r} is not on this machine yet.",
                    hint="The first start downloads it: `manage.py prepare_model` does so now.",
                    id="embeddings.W010",
                )
            )
    if device not in DEVICES:
        messages.append(
            Error(
                f"MMSEARCH_DEVICE={device!r} is unknown.",
                hint=f"Set it to one of {', '.join(DEVICES)}.",
                id="embeddings.E011",
            )
        )
    return messages
