"""`python -m tests.hosts` in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hosts.dying import deaths
from tests.hosts.pair import Pair
from tests.hosts.working import work

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]


def test_two_hosts_work_as_one_and_outlive_each_of_their_parts(tmp_path: Path) -> None:
    with Pair(tmp_path) as pair:
        done = work(pair, 1_000)
        assert done.wrong == []
        assert set(done.statuses) == {200}
        assert min(done.split) > 0

        with pair.host("new") as third:
            third.start()
            third.manage("check_index")
            assert len(third.found("a dog", 10)) == 10

        for death in deaths(pair):
            assert death.wrong == [], death
            assert death.allowed, death
