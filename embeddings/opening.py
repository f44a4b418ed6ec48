"""How spaces open and retire."""

from __future__ import annotations

import dataclasses
import logging

from django.db import transaction

from embeddings import jobs
from embeddings.backends import default_encoder
from embeddings.models import Embedding, EmbeddingJob, EmbeddingSpace, VectorChange
from embeddings.spaces import SpaceError, active_space

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Opening:
    """What opening the configured model's space did."""

    space: EmbeddingSpace
    previous: EmbeddingSpace | None
    """The space that was active before, where another one was."""
    enqueued: int
    """Items that the space lacked."""

    def __str__(self) -> str:
        if self.previous is None:
            return f"Vectors are made by {self.space}; {self.enqueued:,} items wait."
        return (
            f"The model changed from {self.previous} to {self.space}: {self.enqueued:,} items are"
            " embedded anew in the background. The old vectors stay until"
            f" `manage.py retire_space {self.previous.pk}`."
        )


def open_space() -> Opening:
    """Make the configured encoder's space the active one and enqueue what it lacks.

    Raises EncoderError where the model cannot be found.
    """
    description = default_encoder().describe()
    with transaction.atomic():
        previous = active_space()
        if previous is not None and previous.fingerprint == description.fingerprint:
            return Opening(previous, None, jobs.enqueue_missing(previous))
        if previous is not None:
            previous.state = EmbeddingSpace.State.BUILDING
            previous.save(update_fields=["state"])
        not_retired = EmbeddingSpace.objects.exclude(state=EmbeddingSpace.State.RETIRED)
        space, _ = not_retired.update_or_create(
            fingerprint=description.fingerprint,
            defaults={
                "model": description.model,
                "revision": description.revision,
                "precision": description.precision,
                "preprocessing": description.preprocessing,
                "dimension": description.dimension,
                "modalities": list(description.modalities),
                "state": EmbeddingSpace.State.ACTIVE,
            },
        )
        opening = Opening(space, previous, jobs.enqueue_missing(space))
    logger.info("%s", opening)
    return opening


def retire_space(space: EmbeddingSpace) -> int:
    """Delete a space's vectors and jobs; returns the count of vectors. The row stays as a record.

    Raises SpaceError for the active space.
    """
    with transaction.atomic():
        space.refresh_from_db()
        if space.state == EmbeddingSpace.State.ACTIVE:
            raise SpaceError(f"{space} is in use. Start with another MMSEARCH_MODEL first.")
        deleted, _ = Embedding.objects.filter(space=space).delete()
        EmbeddingJob.objects.filter(space=space).delete()
        VectorChange.objects.filter(space=space).delete()
        space.state = EmbeddingSpace.State.RETIRED
        space.save(update_fields=["state"])
    logger.info("Retired %s: %d vectors deleted", space, deleted)
    return deleted
