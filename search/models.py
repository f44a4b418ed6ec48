"""What a search leaves behind for a while."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


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
