"""Models that were asked for: from the row that asks to the space that is open.

Opening a model may take minutes of downloading and preparing: the worker does it, and whoever asks
only writes a row.
"""

from __future__ import annotations

import logging
from pathlib import Path

from django.db import transaction

from embeddings.encoders.base import EncoderError
from embeddings.encoders.finding.model_files import located
from embeddings.models import SpaceOpening
from embeddings.opening import open_space
from embeddings.spaces import require_active_space

logger = logging.getLogger(__name__)


def ask(model: str, *, is_wish: bool = True) -> SpaceOpening:
    """Have the worker open the space of `model`. Asking again tries again what failed."""
    opening, _ = SpaceOpening.objects.update_or_create(
        model=located(model),
        defaults={"note": "Waiting for the worker.", "error": ""},
        create_defaults={"is_wish": is_wish, "note": "Waiting for the worker."},
    )
    if is_wish and not opening.is_wish:
        opening.is_wish = True
        opening.save(update_fields=["is_wish"])
    transaction.on_commit(nudge)
    return opening


def ask_at_start(model: str, *, last_model: str) -> None:
    """Have the worker look at `model`, the chosen one, and at the active space's for changes.

    The choice is a wish where it differs from `last_model`, that of the last start on any host:
    where it is as it was, another space may have been activated by hand since, and goes on
    answering.
    """
    active = require_active_space()
    model = located(model)
    if model != located(last_model or active.source):
        ask(model)
    elif Path(model).name == active.model:  # a directory, which may have moved
        ask(model, is_wish=False)
    else:
        ask(active.source, is_wish=False)


def open_asked() -> int:
    """Open what was asked for, the oldest first; returns how many spaces are open by that.

    What fails keeps its row, with the reason.
    """
    opened = 0
    while opening := SpaceOpening.objects.filter(error="").first():
        opening.note = "The model is looked up, and prepared for this machine if need be."
        opening.save(update_fields=["note"])
        try:
            open_space(opening.model, is_wish=opening.is_wish)
        except EncoderError as exc:
            logger.error("The model %s cannot be opened: %s", opening.model, exc)  # noqa: TRY400
            opening.error = str(exc)
            opening.save(update_fields=["note", "error"])
            continue
        # Unless somebody asked for it again meanwhile.
        SpaceOpening.objects.filter(pk=opening.pk, asked_at=opening.asked_at).delete()
        opened += 1
    return opened


def forget_failed(model: str) -> None:
    """Ask no longer for a model that could not be opened."""
    SpaceOpening.objects.filter(model=model).exclude(error="").delete()


def nudge() -> None:
    """Ask a worker to look. A lost nudge is healed by the sweep."""
    from django_q.tasks import async_task

    try:
        async_task("embeddings.tasks.open_asked")
    except Exception:
        logger.exception("The job broker took no nudge; the next sweep opens the model")
