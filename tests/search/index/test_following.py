from __future__ import annotations

from collections.abc import Iterator

import pytest

from embeddings import per_space, switching
from embeddings.encoders.base import EncoderError
from embeddings.models import LivingProcess
from embeddings.spaces import require_active_space
from search.index.following import Following
from search.index.space_index import active_index
from tests import encoders
from tests.processes import wait_until
from tests.spaces import build

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("indexed_items")]


@pytest.fixture
def gone() -> Iterator[set[str]]:
    """Models whose files are gone; add to it."""
    before = set(encoders.GONE)
    yield encoders.GONE
    encoders.GONE.intersection_update(before)


def warm_up(following: Following) -> None:
    following._look()
    wait_until(lambda: following._warming is not None, "a thread")
    assert following._warming is not None
    following._warming.join()


def test_a_process_gets_ready_says_so_and_makes_the_switch() -> None:
    former, other = require_active_space(), build("other", takes_over=True)
    following = Following()
    following._presence._write()
    assert switching.advance() is None

    warm_up(following)
    assert require_active_space() == former
    following._look()

    assert require_active_space() == other
    following._look()
    assert LivingProcess.objects.get().warm is None


def test_a_process_tells_from_where_on_it_needs_the_log() -> None:
    following = Following()
    following._look()
    following._presence._write()

    index = active_index()
    assert index.position > 0
    assert LivingProcess.objects.get().reads_from == {str(index.space_id): index.position}


def test_a_target_without_a_model_is_told_and_tried_again(
    gone: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.index.following.RETRY_INTERVAL", 0)
    other = build("other", takes_over=True)
    following = Following()
    following._presence._write()
    gone.add("other")
    per_space.reset()

    warm_up(following)
    assert str(switching.outlook()).endswith(": other is gone.")

    gone.discard("other")
    warm_up(following)
    following._look()
    assert require_active_space() == other


def test_the_switch_is_the_way_out_where_the_model_in_use_is_gone(gone: set[str]) -> None:
    other = build("other", takes_over=True)
    gone.add("colour")
    per_space.reset()
    following = Following()
    following._presence._write()

    with pytest.raises(EncoderError, match="colour is gone"):
        following._look()
    assert following._warming is not None
    following._warming.join()
    following._look()

    assert require_active_space() == other
