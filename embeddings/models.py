"""What items mean: spaces of vectors, the vectors, the queue that makes them, the change log.

No index is on `space` alone: nearly all rows are of one space, and SQLite, which does not know
that, would choose such an index and read them all for each item.
"""

from __future__ import annotations

import secrets
from typing import ClassVar

import numpy as np
from django.db import models
from django.db.models import F, Q
from numpy.typing import NDArray

from catalog.models import Item
from embeddings.encoders.base import Modality


def new_generation() -> str:
    """A name that no other space has, of this database or of one that was deleted."""
    return secrets.token_hex(6)


class EmbeddingSpace(models.Model):
    """One generation of vectors: whatever an equal encoder description makes.

    One is active: it answers. Every other that is not retired is fed beside it, so that it can take
    over at any time. A retired one stays as a record; opening its model again makes another.
    """

    class State(models.TextChoices):
        BUILDING = "building"
        READY = "ready"
        ACTIVE = "active"
        RETIRED = "retired"

    fingerprint = models.CharField(max_length=64)
    generation = models.CharField(
        max_length=12,
        default=new_generation,
        editable=False,
        help_text="Part of the name of the index's files: no other space's are taken for them.",
    )
    source = models.CharField(
        max_length=1000,
        help_text="How its model was named: a hub name, or a directory's full path.",
    )
    model = models.CharField(max_length=500)
    revision = models.CharField(max_length=100)
    precision = models.CharField(max_length=20)
    preprocessing = models.CharField(max_length=100)
    dimension = models.PositiveIntegerField()
    modalities = models.JSONField(help_text="The kinds of content that it has vectors of.")
    state = models.CharField(max_length=10, choices=State, default=State.BUILDING)
    log_start = models.PositiveBigIntegerField(
        default=0, help_text="Changes up to this seq are pruned from the log."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    complete_since = models.DateTimeField(
        null=True, blank=True, help_text="When it first held all that the active space held."
    )
    activated_at = models.DateTimeField(null=True, blank=True, help_text="When it last took over.")
    rate = models.FloatField(default=0, help_text="Items a second, when last embedded for it.")
    rate_at = models.DateTimeField(null=True, blank=True)
    problem = models.TextField(
        blank=True, help_text="Why nothing is embedded for it: its model cannot be used."
    )

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["state"], condition=Q(state="active"), name="one_active_space"
            ),
            models.UniqueConstraint(
                fields=["fingerprint"],
                condition=~Q(state="retired"),
                name="one_open_space_per_fingerprint",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.precision} ({self.dimension} dimensions)"

    @property
    def covers(self) -> tuple[Modality, ...]:
        """The modalities that it has vectors of."""
        return tuple(Modality(name) for name in self.modalities)


class SpaceOpening(models.Model):
    """A model that was asked for; gone once the worker has opened its space.

    One that failed stays, with the reason, until it is asked for again or forgotten.
    """

    model = models.CharField(max_length=1000, unique=True)
    is_wish = models.BooleanField(
        help_text="Somebody chose it; otherwise its files are only looked at for changes."
    )
    asked_at = models.DateTimeField(auto_now=True)
    note = models.TextField(blank=True, help_text="What is going on.")
    error = models.TextField(blank=True)

    class Meta:
        ordering: ClassVar = ["asked_at"]

    def __str__(self) -> str:
        return f"opening {self.model}"


class SpaceSwitch(models.Model):
    """The one switch that is wished for: its target takes over once it is complete.

    It is announced from then on: every serving process makes the target warm, and says so in its
    row; the last one that does makes it active.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    target = models.ForeignKey(EmbeddingSpace, models.CASCADE, related_name="+")
    incomplete_too = models.BooleanField(default=False)
    asked_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id=1), name="one_switch_at_a_time"),
        ]

    def __str__(self) -> str:
        return f"switch to {self.target}"


class LivingProcess(models.Model):
    """A process that answers or works, while it is alive: its row expires without a heartbeat.

    Host and process number are for people. Containers share both, so the id is random.
    """

    class Role(models.TextChoices):
        STARTING = "starting"
        SERVING = "serving"
        WORKING = "working"

    id = models.CharField(primary_key=True, max_length=16, editable=False)
    role = models.CharField(max_length=8, choices=Role, default=Role.SERVING)
    host = models.CharField(max_length=100)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField()
    warm = models.ForeignKey(
        EmbeddingSpace,
        models.SET_NULL,
        null=True,
        related_name="+",
        help_text="The target of the announced switch, once it could answer here.",
    )
    problem = models.TextField(blank=True, help_text="Why the target cannot answer here.")
    reads_from = models.JSONField(
        default=dict, help_text="By space, from where on it needs the change log."
    )

    class Meta:
        ordering: ClassVar = ["started_at"]
        verbose_name_plural = "living processes"

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


MODALITY_CHOICES = [(modality.value, modality.value) for modality in Modality]


class Embedding(models.Model):
    """The unit vector of one modality of one item in one space."""

    id = models.BigAutoField(primary_key=True)
    space = models.ForeignKey(
        EmbeddingSpace, models.CASCADE, related_name="embeddings", db_index=False
    )
    item = models.ForeignKey(Item, models.CASCADE, related_name="embeddings", db_index=True)
    modality = models.CharField(max_length=5, choices=MODALITY_CHOICES)
    content_hash = models.CharField(
        max_length=64, help_text="Digest of the part of the item that it was made from."
    )
    vector = models.BinaryField(help_text="float16 (d,), little-endian, L2-normalised")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["space", "item", "modality"], name="one_embedding_per_modality"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.modality} of item {self.item_id}"

    def as_array(self) -> NDArray[np.float32]:
        """The vector, float32 (d,)."""
        return np.frombuffer(self.vector, dtype="<f2").astype(np.float32)


class EmbeddingJob(models.Model):
    """An item that waits to be embedded in a space; the row is the durable queue.

    In work while `claimed_until` is set, failed for good once `failed_at` is. The indexes cover the
    three kinds apart, so that none of them is searched for among the others.
    """

    id = models.BigAutoField(primary_key=True)
    space = models.ForeignKey(EmbeddingSpace, models.CASCADE, related_name="jobs", db_index=False)
    item = models.ForeignKey(Item, models.CASCADE, related_name="embedding_jobs")
    attempts = models.PositiveSmallIntegerField(default=0)
    run_after = models.DateTimeField(help_text="Not claimed before: the delay grows per attempt.")
    claimed_by = models.CharField(max_length=100, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["space", "item"], name="one_job_per_item"),
        ]
        indexes: ClassVar = [
            models.Index(
                F("space"),
                F("run_after"),
                condition=Q(claimed_until=None, failed_at=None),
                name="job_claimable",
            ),
            models.Index(
                F("claimed_by"), condition=Q(claimed_until__isnull=False), name="job_in_work"
            ),
            models.Index(
                F("space"), F("item"), condition=Q(failed_at__isnull=False), name="job_failed"
            ),
        ]

    def __str__(self) -> str:
        return f"job of item {self.item_id}"


class VectorChange(models.Model):
    """One line of the change log: the vector under this key may have come, changed or gone."""

    seq = models.BigAutoField(primary_key=True)
    space = models.ForeignKey(
        EmbeddingSpace, models.CASCADE, related_name="changes", db_index=False
    )
    modality = models.CharField(max_length=5, choices=MODALITY_CHOICES)
    vector_item = models.PositiveBigIntegerField(
        help_text="Primary key of the item; no foreign key, for the line outlives the item."
    )

    class Meta:
        indexes: ClassVar = [models.Index(fields=["space", "seq"], name="change_log")]

    def __str__(self) -> str:
        return f"{self.seq}: {self.modality} of item {self.vector_item}"
