from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from catalog.ingest import budget, images
from catalog.ingest.budget import Budget, BudgetExhausted
from catalog.ingest.images import ImageBusy, ImageRefused, check_image
from tests.catalog.pictures import encoded, photo
from tests.fuzz_pictures import huge_webp


def test_budget_lends_no_more_than_there_is_and_in_order() -> None:
    lender = Budget()
    held, peak = 0, 0
    lock = threading.Lock()

    def borrow(amount: int) -> None:
        nonlocal held, peak
        with lender.lend(amount, 10):
            with lock:
                held += amount
                peak = max(peak, held)
            with lock:
                held -= amount

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(borrow, [10, 1, 7, 3, 4, 6, 10, 2] * 50))
    assert (held, lender._used, len(lender._waiting)) == (0, 0, 0)
    assert peak <= 10


def test_budget_serves_a_large_share_before_the_small_ones_that_came_after() -> None:
    lender = Budget()
    order: list[str] = []

    def borrow(name: str, amount: int) -> None:
        with lender.lend(amount, 10):
            order.append(name)

    with ThreadPoolExecutor(2) as pool:
        with lender.lend(5, 10):
            large = pool.submit(borrow, "large", 10)
            with lender._changed:
                assert lender._changed.wait_for(lambda: len(lender._waiting) == 1, 10)
            small = pool.submit(borrow, "small", 1)
            with lender._changed:
                assert lender._changed.wait_for(lambda: len(lender._waiting) == 2, 10)
            assert order == []
        large.result(10)
        small.result(10)
    assert sorted(order) == ["large", "small"]


def test_budget_lets_few_wait_and_none_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    lender = Budget()
    monkeypatch.setattr(budget, "PATIENCE", 0.01)
    with lender.lend(10, 10):
        with pytest.raises(BudgetExhausted), lender.lend(1, 10):
            pass
        monkeypatch.setattr(budget, "MAX_WAITING", 0)
        with pytest.raises(BudgetExhausted), lender.lend(1, 10):
            pass
    monkeypatch.setattr(budget, "MAX_WAITING", 1)
    with lender.lend(10, 10):
        pass


def test_check_image_says_when_there_is_no_memory_just_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budget, "PATIENCE", 0.01)
    total = int(images.BUDGET * 100_000_000)
    with images._budget.lend(total, total), pytest.raises(ImageBusy) as refusal:
        check_image(encoded(photo()))
    assert str(refusal.value) == ("Too many large pictures are being read. Try again in a moment.")
    assert check_image(encoded(photo())).width == 64


def test_check_image_refuses_what_takes_more_memory_than_is_ever_lent() -> None:
    with pytest.raises(ImageRefused) as refusal:
        check_image(huge_webp(), filename="huge.webp")
    assert str(refusal.value) == (
        "'huge.webp' has 9990×9990 pixels; the limit for WEBP is 74 million."
    )
    assert images._budget._used == 0
