"""How spaces are opened: the one of another model beside the one that answers."""

from __future__ import annotations

import contextlib
import dataclasses
import logging

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from catalog.models import Item
from embeddings import jobs, switching
from embeddings.backends import build_encoder, encoder_of
from embeddings.encoders.base import EncoderDescription, EncoderError
from embeddings.encoders.finding.model_files import is_here, located
from embeddings.encoders.finding.naming import as_path
from embeddings.models import EmbeddingJob, EmbeddingSpace
from embeddings.spaces import active_space, live_spaces

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Opening:
    """What opening a model's space did."""

    space: EmbeddingSpace | None
    """None where the model is nobody's choice, and no space's either."""
    enqueued: int
    """Items that the space lacked."""
    takes_over: bool
    """Whether it becomes active by itself once it is complete."""

    def __str__(self) -> str:
        if self.space is None:
            return "No space has this model."
        waiting = f"{self.enqueued:,} items wait to be embedded"
        if self.space.state == EmbeddingSpace.State.ACTIVE:
            return f"Space {self.space.pk}, {self.space}, answers; {waiting}."
        then = (
            "It takes over once it is complete"
            if self.takes_over
            else f"`manage.py activate_space {self.space.pk}` lets it answer once it is complete"
        )
        return (
            f"Space {self.space.pk}, {self.space}, is kept beside the active one; {waiting}."
            f" {then}."
        )


def open_space(
    model: str | None = None, *, is_wish: bool = True, takes_over: bool | None = None
) -> Opening:
    """Open the space of a model, by default that of `MMSEARCH_MODEL`, and enqueue what it lacks.

    It is active at once where nothing can be found anyway. Else it is built beside the active one
    and takes over once it is complete: with `takes_over`, by default as `MMSEARCH_SWITCH` says. The
    latest wish wins. What is no wish opens a space only where the active one's own model changed.

    Prepares the model where it is not yet, which takes minutes. Safe to run again after a death at
    any point. Raises EncoderError where the model cannot be found.
    """
    name = located(settings.MMSEARCH_MODEL if model is None else model)
    if takes_over is None:
        takes_over = settings.MMSEARCH_SWITCH == "auto"
    description = _describe(name)
    with transaction.atomic():
        active = active_space()
        space = _live_space(name, description)
        is_new = space is None
        if space is None:
            if not (is_wish or (active is not None and active.model == description.model)):
                return Opening(None, 0, takes_over=False)
            space = _create(name, description)
        is_empty = not Item.objects.exists()
        if is_empty:
            space.complete_since = timezone.now()
            space.save(update_fields=["complete_since"])
        if active is None or is_empty:
            switching.make_active(space)
        elif (is_wish or is_new) and (takes_over or space == active):
            switching.wish(space)
    opening = Opening(space, jobs.enqueue_missing(space), takes_over=switching.is_wished(space))
    logger.info("%s", opening)
    return opening


def note_complete(space: EmbeddingSpace) -> bool:
    """Take down that a space holds all that the active one holds, once it does; whether it does.

    Of the active space: all that there is, but for what failed.
    """
    if space.complete_since is not None:
        return True
    if space.state == EmbeddingSpace.State.ACTIVE:
        lacking = EmbeddingJob.objects.filter(space=space, failed_at__isnull=True)
    else:
        lacking = switching.lacking_beside_active(space)
    if lacking.exists() or jobs.enqueue_missing(space):
        return False
    space.complete_since = timezone.now()
    rows = EmbeddingSpace.objects.filter(pk=space.pk)
    rows.update(complete_since=timezone.now())
    if rows.filter(state=EmbeddingSpace.State.BUILDING).update(state=EmbeddingSpace.State.READY):
        logger.info("Space %d, %s, is complete", space.pk, space)
    return True


def _describe(name: str) -> EncoderDescription:
    """What a model makes; where its files are gone, what the prepared copy of its space does."""
    try:
        return build_encoder(name).describe()
    except EncoderError:
        kept = None if is_here(name) else _describe_kept(name)
        if kept is None:
            raise
        return kept


def _describe_kept(name: str) -> EncoderDescription | None:
    """What is made by the prepared copy of a model whose files are gone, if a space has one."""
    names = {name, str(as_path(name).resolve())}
    with contextlib.suppress(DatabaseError):  # before the first start there are no spaces
        for space in live_spaces():
            if space.source in names:
                with contextlib.suppress(EncoderError):
                    description = encoder_of(space).describe()
                    logger.warning(
                        "The files of %s are gone. Space %d, %s, goes on with the copy that was"
                        " prepared of them.",
                        *(name, space.pk, space),
                    )
                    return description
    return None


def _live_space(name: str, description: EncoderDescription) -> EmbeddingSpace | None:
    """The space that holds such vectors already, told where its model is and how it serves now."""
    spaces = EmbeddingSpace.objects.exclude(state=EmbeddingSpace.State.RETIRED)
    space = spaces.filter(fingerprint=description.fingerprint).first()
    if space is not None:
        space.source, space.precision = name, description.precision
        space.save(update_fields=["source", "precision"])
    return space


def _create(name: str, description: EncoderDescription) -> EmbeddingSpace:
    return EmbeddingSpace.objects.create(
        source=name,
        fingerprint=description.fingerprint,
        model=description.model,
        revision=description.revision,
        precision=description.precision,
        preprocessing=description.preprocessing,
        dimension=description.dimension,
        modalities=list(description.modalities),
    )
