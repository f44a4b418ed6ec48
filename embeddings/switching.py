"""How another space becomes the one that answers, in every process at once.

1. A switch is wished for: a row. Its target is announced once it is complete.
2. Every serving process loads and warms the announced target, and says so in its own row.
3. Whoever sees that none is missing flips: one transaction makes the target active.

Each step is a row, so that any process may die at any of them; :func:`advance` may be called by
all, again and again, and only ever does what is still to be done.
"""

from __future__ import annotations

import dataclasses
import logging

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from embeddings import presence
from embeddings.models import EmbeddingJob, EmbeddingSpace, LivingProcess, SpaceSwitch
from embeddings.spaces import SpaceError, active_space

logger = logging.getLogger(__name__)

State = EmbeddingSpace.State


@dataclasses.dataclass(frozen=True)
class Outlook:
    """A wished switch, and what it waits for."""

    target: EmbeddingSpace
    is_announced: bool
    """Whether serving processes make it warm by now."""
    lacking: int
    """Items that the active space finds and the target does not yet, as far as they count."""
    cold: tuple[LivingProcess, ...]
    """Serving processes in which the target cannot answer yet."""

    def __str__(self) -> str:
        if not self.is_announced:
            return f"{self.target} takes over once it is complete"
        if self.cold:
            return f"waiting for {'; '.join(_named(process) for process in self.cold)}"
        if self.lacking:
            return f"waiting until {self.lacking:,} items are embedded in {self.target}"
        return f"{self.target} takes over now"


def wish(space: EmbeddingSpace, *, incomplete_too: bool = False) -> None:
    """Let `space` take over once it is complete, or as it is. The latest wish wins.

    For the active space this calls off whatever was wished for.
    """
    if space == active_space():
        SpaceSwitch.objects.all().delete()
        return
    SpaceSwitch.objects.update_or_create(
        pk=1, defaults={"target": space, "incomplete_too": incomplete_too}
    )
    logger.info("Space %d, %s, is to take over", space.pk, space)


def refuse_incomplete(space: EmbeddingSpace) -> None:
    """Raise SpaceError where `space` never held all that the active one holds."""
    if space.complete_since is None and space.state != State.ACTIVE:
        lacking = lacking_beside_active(space).count()
        raise SpaceError(
            f"Space {space.pk}, {space}, is incomplete: {lacking:,} items that can be found now"
            " could not be found any more. Wait until `manage.py spaces` calls it ready, mend what"
            " failed (`manage.py retry_failed`), or let it answer as it is with --partial."
        )


def is_wished(space: EmbeddingSpace) -> bool:
    """Whether `space` is to take over."""
    return SpaceSwitch.objects.filter(target=space).exists()


def announced() -> EmbeddingSpace | None:
    """The space that every serving process is to have warm beside the active one."""
    switch = SpaceSwitch.objects.select_related("target").first()
    return switch.target if switch is not None and _is_announced(switch) else None


def outlook() -> Outlook | None:
    """How the wished switch stands; None where none is wished for."""
    switch = SpaceSwitch.objects.select_related("target").first()
    if switch is None:
        return None
    lacking = 0 if switch.incomplete_too else lacking_beside_active(switch.target).count()
    return Outlook(switch.target, _is_announced(switch), lacking, tuple(_cold(switch.target)))


def lacking_beside_active(space: EmbeddingSpace) -> QuerySet[EmbeddingJob]:
    """Jobs that wait or failed in `space` alone: the active space has what they are to make."""
    in_active = EmbeddingJob.objects.filter(space__state=State.ACTIVE, item=OuterRef("item"))
    return EmbeddingJob.objects.filter(space=space).filter(~Exists(in_active))


def advance() -> EmbeddingSpace | None:
    """Make the announced space active if nothing is missing; returns it if so.

    Cheap where no switch is wished for: one statement.
    """
    target = announced()
    if target is None or _cold(target).exists():
        return None
    with transaction.atomic():
        # Locked, so that of two callers one flips and what is saved meanwhile is seen by both.
        list(EmbeddingSpace.objects.select_for_update().exclude(state=State.RETIRED).order_by("pk"))
        switch = SpaceSwitch.objects.select_for_update().select_related("target").first()
        if switch is None or switch.target != target or not _is_announced(switch):
            return None
        if _cold(target).exists():
            return None
        if not switch.incomplete_too and lacking_beside_active(target).exists():
            return None
        make_active(switch.target)
    return switch.target


def make_active(space: EmbeddingSpace) -> None:
    """Make `space` the one that answers, in the caller's transaction."""
    previous = active_space()
    if previous == space:
        return
    if previous is not None:
        previous.state = State.BUILDING if previous.complete_since is None else State.READY
        previous.save(update_fields=["state"])
    space.state = State.ACTIVE
    space.activated_at = timezone.now()
    space.save(update_fields=["state", "activated_at"])
    SpaceSwitch.objects.all().delete()
    before = "" if previous is None else f", after {previous}"
    transaction.on_commit(
        lambda: logger.info("Space %d, %s, answers now%s", space.pk, space, before)
    )


def space_to_roll_back_to() -> EmbeddingSpace:
    """The live space that answered before the active one. Raises SpaceError where there is none."""
    former = EmbeddingSpace.objects.filter(
        state__in=(State.READY, State.BUILDING), activated_at__isnull=False
    )
    space = former.order_by("-activated_at").first()
    if space is None:
        raise SpaceError(
            "No space that answered before is kept. `manage.py spaces` lists those there are, and"
            " `manage.py activate_space NUMBER` lets another one answer."
        )
    return space


def _is_announced(switch: SpaceSwitch) -> bool:
    return switch.incomplete_too or switch.target.complete_since is not None


def _cold(target: EmbeddingSpace) -> QuerySet[LivingProcess]:
    return presence.alive(presence.Role.SERVING).exclude(warm=target)


def _named(process: LivingProcess) -> str:
    return f"{process}: {process.problem}" if process.problem else str(process)
