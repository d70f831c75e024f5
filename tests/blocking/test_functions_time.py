"""The kit and time: repeated events, slow functions, work after the answer."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from gateway.blocking import EventContext, HttpsError, User
from gateway.blocking.functions import DEFERRED_THREADS, THREADS
from tests.support import events
from tests.support.clock import eventually

OK: tuple[int, dict[str, Any]] = (200, {})
TOO_SLOW = (
    504,
    {"error": {"code": 504, "message": "Request deadline exceeded.", "status": "DEADLINE_EXCEEDED"}},
)


async def test_a_repeated_event_is_answered_as_before() -> None:
    """... answers a repeated event id as the first time, while the first runs too, and calls nothing twice."""
    functions = events.functions()
    calls: list[str] = []
    go_on = asyncio.Event()

    @functions.before_create
    async def count(user: User, context: EventContext) -> dict[str, Any]:
        calls.append(user.uid)
        context.defer(calls.append, "deferred")
        await go_on.wait()
        return {"displayName": f"Guest {len(calls)}"}

    token = events.token()
    async with functions:
        waiting = [asyncio.create_task(functions.respond(token)) for _ in range(3)]
        await eventually(lambda: calls)
        go_on.set()
        answers = [*await asyncio.gather(*waiting), await functions.respond(token)]
        other = await functions.respond(events.token())
    assert [answer[1]["userRecord"]["displayName"] for answer in answers] == ["Guest 1"] * 4
    assert other[1]["userRecord"]["displayName"] != "Guest 1"
    assert calls.count("u1") == 2
    assert calls.count("deferred") == 2


async def test_a_slow_function_is_cancelled_and_denies(caplog: pytest.LogCaptureFixture) -> None:
    """... answers 504 when a function takes too long, cancels it, and answers the next event as ever."""
    functions = events.functions(deadline=0.5)  # enough for the quick one on a busy machine
    ended: list[str] = []

    @functions.before_create
    async def slow(user: User, context: EventContext) -> None:
        context.defer(ended.append, "deferred")
        if user.uid == "slow":
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")

    async with functions:
        assert await functions.respond(events.token(uid="slow")) == TOO_SLOW
        await eventually(lambda: ended == ["cancelled"])
        assert await functions.respond(events.token(uid="quick")) == OK
    assert ended == ["cancelled", "deferred"]
    assert "took longer than" in caplog.text


async def test_a_slow_function_may_be_passed_over() -> None:
    """... goes on without a function that takes too long where it was registered so, and keeps the others' answers."""
    functions = events.functions()

    @functions.before_create
    def name(user: User, context: EventContext) -> dict[str, Any]:
        return {"displayName": "Guest"}

    @functions.before_create(on_timeout="allow", deadline=0.05)
    async def slow(user: User, context: EventContext) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {"displayName": "never"}

    async with functions:
        record = {"displayName": "Guest", "updateMask": "displayName"}
        assert await functions.respond(events.token()) == (200, {"userRecord": record})


async def test_a_function_without_time_left_is_too_slow() -> None:
    """... denies when an earlier function used up all the time, however quick the next one would be."""
    functions = events.functions(deadline=0.1)
    called: list[str] = []

    @functions.before_create(on_timeout="allow")
    async def slow(user: User, context: EventContext) -> None:
        await asyncio.Event().wait()

    @functions.before_create
    def guard(user: User, context: EventContext) -> None:
        called.append("guard")

    async with functions:
        assert (await functions.respond(events.token()))[0] == 504
    assert called == []


async def test_a_function_that_will_not_stop_keeps_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    """... answers in time even when a function ignores its cancellation or blocks its thread."""
    functions = events.functions(deadline=0.1)
    let_go = asyncio.Event()
    thread = threading.Event()

    @functions.before_create
    async def stubborn(user: User, context: EventContext) -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        raise ValueError("too late")

    functions.before_sign_in(lambda user, context: thread.wait(30))
    async with functions:
        async with asyncio.timeout(5):
            assert (await functions.respond(events.token()))[0] == 504
            assert (await functions.respond(events.token("beforeSignIn")))[0] == 504
        let_go.set()
        thread.set()
        await eventually(lambda: "failed after its time was up" in caplog.text)


async def test_slow_certificates_are_too_slow() -> None:
    """... answers in time also when the keys take too long."""

    class Slow:
        def peek(self, kid: str) -> None:
            return None

        async def key(self, kid: str) -> None:
            await asyncio.Event().wait()

    functions = events.functions(keys=Slow(), deadline=0.05)
    functions.before_create(lambda user, context: None)
    async with functions:
        assert (await functions.respond(events.token()))[0] == 504


@pytest.mark.parametrize("answer", [None, "nonsense", ValueError("broken"), HttpsError("aborted")])
async def test_a_refused_event_leaves_no_work_behind(answer: Any) -> None:
    """... does nothing that was deferred, coroutines included, when the same function then fails or is refused."""
    functions = events.functions()
    done: list[str] = []

    async def work() -> None:
        done.append("done")

    @functions.before_create
    async def defer(user: User, context: EventContext) -> Any:
        context.defer(work())
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with functions:
        status, _ = await functions.respond(events.token())
    assert done == (["done"] if answer is None else [])
    assert (status == 200) is (answer is None)


async def test_slow_work_does_not_delay_answers() -> None:
    """... answers events while all threads for deferred work are busy."""
    functions = events.functions(deadline=2.0)
    let_go = threading.Event()

    @functions.before_create
    def defer(user: User, context: EventContext) -> None:
        for _ in range(DEFERRED_THREADS + THREADS):
            context.defer(let_go.wait, 30)

    async with functions:
        assert await functions.respond(events.token()) == OK
        assert await functions.respond(events.token()) == OK
        let_go.set()


async def test_deferred_work_begins_after_the_answer() -> None:
    """... starts deferred work when the answer is out, and lets it finish before the end."""
    functions = events.functions()
    done: list[str] = []

    @functions.before_create
    def defer(user: User, context: EventContext) -> None:
        async def later(word: str) -> None:
            await asyncio.sleep(0)
            done.append(word)

        context.defer(later, "mail")

    async with functions:
        answered = await functions.answer(events.token())
        assert (answered.status, done) == (200, [])
        functions.finish(answered)
    assert done == ["mail"]


async def test_the_end_waits_for_events() -> None:
    """... answers events in flight when the program stops, and does what they deferred."""
    functions = events.functions()
    entered, let_go = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    @functions.before_create
    async def wait(user: User, context: EventContext) -> None:
        context.defer(done.append, "deferred")
        entered.set()
        await let_go.wait()

    answering = asyncio.create_task(functions.respond(events.token()))
    await entered.wait()
    closing = asyncio.create_task(functions.close())
    asyncio.get_running_loop().call_soon(let_go.set)
    assert await answering == OK
    await closing
    assert done == ["deferred"]


async def test_the_end_does_not_wait_for_ever() -> None:
    """... cancels what is still running when the time to stop is over."""
    functions = events.functions()
    entered = asyncio.Event()

    @functions.before_create
    async def wait(user: User, context: EventContext) -> None:
        entered.set()
        await asyncio.Event().wait()

    answering = asyncio.create_task(functions.respond(events.token()))
    await entered.wait()
    await functions.close(0.01)
    with pytest.raises(asyncio.CancelledError):
        await answering
