"""Live queries asked of the space beside the active one, too: by the worker, after the answer."""

from __future__ import annotations

import logging
from typing import Final

from embeddings import model_lock
from embeddings.models import EmbeddingSpace
from embeddings.spaces import active_space, live_spaces
from search.answer.query import QueryError
from search.comparison.comparing import compare_answers
from search.models import AskedText, ShadowAnswer

logger = logging.getLogger(__name__)

AT_ONCE: Final = 100
"""Texts a round."""
KEPT: Final = 1_000
"""Answers kept of each pair of spaces."""


def answer_drawn() -> int:
    """Answer the drawn texts by the active space and the one beside it; returns how many.

    It takes the models of both, so while this host embeds the texts wait for the next round.
    """
    if not AskedText.objects.filter(is_drawn=True).exists():
        return 0
    with model_lock.borrow() as is_ours:
        return _answer_drawn() if is_ours else 0


def _answer_drawn() -> int:
    drawn = list(AskedText.objects.filter(is_drawn=True).order_by("pk")[:AT_ONCE])
    active, other = active_space(), beside()
    if not drawn or active is None:
        return 0
    AskedText.objects.filter(pk__in=[text.pk for text in drawn]).update(is_drawn=False)
    if other is None:  # it was retired meanwhile
        return 0
    answers = []
    for number, asked in enumerate(drawn):
        try:
            change = compare_answers(active, other, asked.text, swapped=bool(number % 2))
        except QueryError:
            continue
        answers.append(
            ShadowAnswer(
                active=active,
                other=other,
                text=asked.text,
                overlap=change.overlap,
                correlation=change.correlation,
                active_ms=change.left_ms,
                other_ms=change.right_ms,
            )
        )
    ShadowAnswer.objects.bulk_create(answers)
    pair = ShadowAnswer.objects.filter(active=active, other=other)
    outdated = pair.values_list("pk", flat=True)[KEPT : KEPT + 1].first()
    if outdated is not None:
        pair.filter(pk__lte=outdated).delete()
    logger.info("%d live queries asked of %s, too", len(answers), other)
    return len(answers)


def beside() -> EmbeddingSpace | None:
    """The space that live queries are asked of beside the active one: the next, else the last."""
    others = [space for space in live_spaces() if space.state != EmbeddingSpace.State.ACTIVE]
    return max(others, key=lambda space: space.pk, default=None)
