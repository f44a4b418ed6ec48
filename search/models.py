"""What is kept of searches: rankings to read on in; to compare spaces by, texts and verdicts."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from embeddings.models import MODALITY_CHOICES, EmbeddingSpace

LONGEST_TEXT = 500
"""Characters of a text that is kept."""


class AskedText(models.Model):
    """A text that somebody searched for: which, and on what day; nothing about who.

    Asked again, it is written anew: a higher key was asked later.
    """

    id = models.BigAutoField(primary_key=True)
    text = models.CharField(max_length=LONGEST_TEXT, unique=True)
    asked_on = models.DateField(auto_now_add=True)
    is_drawn = models.BooleanField(
        default=False, help_text="To be asked of the space beside the active one, too."
    )

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["id"], name="asked_text_drawn", condition=models.Q(is_drawn=True)),
        ]

    def __str__(self) -> str:
        return self.text


class ShadowAnswer(models.Model):
    """How two spaces answered one text that was asked of the first."""

    id = models.BigAutoField(primary_key=True)
    active = models.ForeignKey(EmbeddingSpace, models.CASCADE, related_name="+")
    other = models.ForeignKey(EmbeddingSpace, models.CASCADE, related_name="+", db_index=False)
    text = models.CharField(max_length=LONGEST_TEXT)
    overlap = models.FloatField(help_text="Share of the ten shown that both show.")
    correlation = models.FloatField(help_text="Kendall's tau-b of their order.")
    active_ms = models.FloatField()
    other_ms = models.FloatField()
    answered_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return f"{self.text}: {self.overlap:.0%} alike"


class Preference(models.Model):
    """Whose answer to a text somebody found better, of two seen side by side."""

    id = models.BigAutoField(primary_key=True)
    text = models.CharField(max_length=LONGEST_TEXT)
    better = models.ForeignKey(EmbeddingSpace, models.CASCADE, related_name="+")
    worse = models.ForeignKey(EmbeddingSpace, models.CASCADE, related_name="+")
    is_tie = models.BooleanField(default=False, help_text="Neither was better.")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    voted_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        verdict = "as good as" if self.is_tie else "better than"
        return f"{self.text}: space {self.better_id} {verdict} {self.worse_id}"


class KeptRanking(models.Model):
    """The hits of a query as they were when its first page was read; cursors go on in it."""

    token = models.CharField(max_length=22, unique=True)
    query = models.CharField(max_length=64, help_text="Digest of the query.")
    hits = models.BinaryField(help_text="`search.answer.cursors` reads and writes it.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["created_at"], name="ranking_created_at")]

    def __str__(self) -> str:
        return self.token


class StorePosition(models.Model):
    """How far a vector store that is a server of its own has followed the change log.

    Readers add what the log says after it, so that it may lag.
    """

    id = models.BigAutoField(primary_key=True)
    store = models.CharField(max_length=200, help_text="As MMSEARCH_VECTOR_STORE names it.")
    space = models.ForeignKey(EmbeddingSpace, models.CASCADE, related_name="+", db_index=False)
    modality = models.CharField(max_length=5, choices=MODALITY_CHOICES)
    applied_seq = models.PositiveBigIntegerField(
        default=0, help_text="All changes up to this seq are in the store."
    )
    filled_to = models.PositiveBigIntegerField(
        null=True, help_text="While it is filled: vectors of items up to this key are in it."
    )
    sample = models.BinaryField(default=b"", help_text="int64 keys: what the sample is made of.")
    sample_is_all = models.BooleanField(default=True, help_text="These are all there are.")
    written_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["space", "modality", "store"], name="one_position_a_store"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.store}: {self.modality} of space {self.space_id}"

    def is_level(self, end: int) -> bool:
        """Whether all up to this `seq` is in the store."""
        return self.filled_to is None and self.applied_seq == end
