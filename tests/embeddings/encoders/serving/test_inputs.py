from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.encoders.serving.inputs import Queue


def sizes(count: int, most: int, beside: int) -> list[int]:
    queue = Queue([*range(count)], lambda _: {})
    runs = queue.runs(most, beside=beside)
    assert [position for run in runs for position in run] == [*range(count)]
    return [*map(len, runs)]


@pytest.mark.parametrize(
    ("count", "most", "beside", "expected"),
    [
        (0, 32, 2, []),
        (1, 32, 2, [1]),
        (32, 32, 2, [16, 16]),
        (64, 32, 2, [32, 32]),
        (27, 32, 2, [4, 4, 4, 4, 4, 4, 1, 1, 1]),
        (77, 32, 2, [32, 32, 4, 4, 1, 1, 1, 1, 1]),
        (33, 32, 1, [32, 1]),
    ],
)
def test_every_processor_has_its_share_of_a_batch(
    count: int, most: int, beside: int, expected: list[int]
) -> None:
    assert sizes(count, most, beside) == expected


@given(st.integers(0, 300), st.sampled_from([1, 8, 32]), st.integers(2, 8))
def test_shares_are_even_and_of_few_sizes(count: int, most: int, beside: int) -> None:
    loads = [0] * beside
    for size in sizes(count, most, beside):
        assert size <= most
        assert size in {1, 4, 16, most}
        loads[loads.index(min(loads))] += size  # whoever is free takes the next

    assert max(loads) - min(loads) <= max(1, most // 2)
