"""One answer for one event."""

from __future__ import annotations

import asyncio

import pytest

from gateway.blocking.idempotency import MAX_ANSWERS, WINDOW, Answers
from tests.support.clock import FakeClock, settle


class Counting:
    """Makes answers, one number higher each time, when it is let."""

    def __init__(self) -> None:
        self.made = 0
        self.open = asyncio.Event()
        self.open.set()

    async def make(self) -> int:
        self.made += 1
        number = self.made
        await self.open.wait()
        return number


async def test_a_repetition_gets_the_first_answer() -> None:
    """... answers a repeated event as the first time, and makes nothing twice, until the window is over."""
    clock, work = FakeClock(), Counting()
    answers: Answers[int] = Answers(clock)
    assert [await answers.once("a", work.make) for _ in range(3)] == [1, 1, 1]
    assert await answers.once("b", work.make) == 2
    clock.advance(WINDOW)
    assert await answers.once("a", work.make) == 3


async def test_repetitions_wait_for_the_one_being_made() -> None:
    """... gives all repetitions that arrive meanwhile the one answer, also when the first to ask goes away."""
    work = Counting()
    work.open.clear()
    answers: Answers[int] = Answers(FakeClock())
    waiting = [asyncio.create_task(answers.once("a", work.make)) for _ in range(3)]
    await settle()
    assert len(answers.running()) == 1
    waiting[0].cancel()
    await settle()
    work.open.set()
    assert await asyncio.gather(*waiting[1:]) == [1, 1]
    assert work.made == 1
    assert waiting[0].cancelled()


async def test_a_failure_is_no_answer() -> None:
    """... makes the answer anew after one that failed."""

    async def fail() -> int:
        raise ValueError("broken")

    answers: Answers[int] = Answers(FakeClock())
    with pytest.raises(ValueError, match="broken"):
        await answers.once("a", fail)
    assert await answers.once("a", Counting().make) == 1


async def test_the_number_of_answers_is_bounded() -> None:
    """... keeps a bounded number of answers, the oldest out first."""
    work = Counting()
    answers: Answers[int] = Answers(FakeClock(), limit=3)
    for name in "abcd":
        await answers.once(name, work.make)
    assert len(answers) == 3
    assert await answers.once("d", work.make) == 4
    assert await answers.once("a", work.make) == 5
    assert MAX_ANSWERS == 10_000


async def test_an_answer_being_made_is_kept() -> None:
    """... forgets no answer that is still being made, however many others there are."""
    work = Counting()
    work.open.clear()
    answers: Answers[int] = Answers(FakeClock(), limit=1)
    waiting = [asyncio.create_task(answers.once(name, work.make)) for name in ("a", "b", "a")]
    await settle()
    assert len(answers) == 2
    work.open.set()
    assert await asyncio.gather(*waiting) == [1, 2, 1]
    answers.clear()
    assert len(answers) == 0
