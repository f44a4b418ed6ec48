"""What people found better, of two spaces' answers seen side by side."""

from __future__ import annotations

import dataclasses
import math

from django.db.models import Q

from embeddings.models import EmbeddingSpace
from search.models import LONGEST_TEXT, Preference


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """Counts of votes, one a text and person."""

    left: int
    right: int
    ties: int

    @property
    def chance(self) -> float:
        """How likely is a vote so uneven where neither is better: the exact two-sided sign test."""
        votes = self.left + self.right
        fewer = min(self.left, self.right)
        tail = sum(math.comb(votes, count) for count in range(fewer + 1))
        return min(1.0, 2 * tail / float(2**votes))


def verdicts(left: EmbeddingSpace, right: EmbeddingSpace) -> Verdicts:
    """The votes on these two."""
    votes = Preference.objects.filter(
        Q(better=left, worse=right) | Q(better=right, worse=left)
    ).values_list("better_id", "is_tie")
    decided = [better for better, is_tie in votes if not is_tie]
    return Verdicts(decided.count(left.pk), decided.count(right.pk), len(votes) - len(decided))


def all_verdicts() -> list[tuple[EmbeddingSpace, EmbeddingSpace, Verdicts]]:
    """The votes on each two spaces that have any, the older space first."""
    voted = Preference.objects.order_by().values_list("better", "worse").distinct()
    pairs = sorted({(min(pair), max(pair)) for pair in voted})
    spaces = EmbeddingSpace.objects.in_bulk({each for pair in pairs for each in pair})
    return [
        (spaces[one], spaces[other], verdicts(spaces[one], spaces[other])) for one, other in pairs
    ]


def vote(
    *, text: str, better: EmbeddingSpace, worse: EmbeddingSpace, is_tie: bool, user_id: int
) -> None:
    """Keep a verdict; a person's later one on the same text and spaces takes its place."""
    text = " ".join(text.split())[:LONGEST_TEXT]
    pair = [better.pk, worse.pk]
    Preference.objects.filter(text=text, better__in=pair, worse__in=pair, user_id=user_id).delete()
    Preference.objects.create(text=text, better=better, worse=worse, is_tie=is_tie, user_id=user_id)
