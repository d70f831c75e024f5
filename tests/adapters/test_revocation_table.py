from __future__ import annotations

from gateway.adapters.revocation_table import Entry, Service
from gateway.core.ports import Standing
from tests.support.accounts import person


def made(service: Service, uid: str, checked_at: float, *, seen_at: float | None = None) -> Entry:
    entry = Entry(person(uid), service, checked_at + 1 if seen_at is None else seen_at)
    entry.standing = Standing(exists=True, disabled=False, valid_since=0, epoch=1, checked_at=checked_at)
    service.put_fresh(entry)
    return entry


def uids(entries: list[Entry]) -> list[str]:
    return [entry.principal.uid for entry in entries]


def test_user_checked_longest_ago_is_first_due() -> None:
    """checks first whom it has not checked for longest."""
    service = Service(None, 60.0)
    old = made(service, "old", 100)
    made(service, "new", 130)
    assert service.first_due(99) is None
    assert service.first_due(100) is old
    service.put_fresh(old)
    assert uids(list(service.order.values())) == ["new", "old"]


def test_user_who_did_not_come_by_steps_aside() -> None:
    """does not look anybody up who was not seen since their last check."""
    service = Service(None, 60.0)
    made(service, "idle", 100, seen_at=100)
    active = made(service, "active", 110)
    assert service.first_due(120) is active
    assert list(service.dormant) == [person("idle")]
    assert list(service.order) == [person("active")]


def test_batch_takes_those_checked_longest_ago() -> None:
    """fills a batch with those who are due next, leaving out who did not come by."""
    service = Service(None, 60.0)
    for number in range(10):
        made(service, f"user-{number}", 100 + number, seen_at=200 if number != 1 else 0)
    assert uids(service.take_oldest(3, 1000)) == ["user-0", "user-2", "user-3"]
    assert uids(service.take_oldest(10, 105)) == ["user-4", "user-5"]
    assert uids(list(service.order.values())) == ["user-1", "user-6", "user-7", "user-8", "user-9"]


def test_failed_batch_gets_its_places_back() -> None:
    """asks the same users again after a failure, before those who are due later."""
    service = Service(None, 60.0)
    for number in range(4):
        made(service, f"user-{number}", 100 + number)
    batch = service.take_oldest(2, 1000)
    service.put_back(batch)
    assert uids(list(service.order.values())) == ["user-0", "user-1", "user-2", "user-3"]


def test_waiting_users_are_taken_in_turn() -> None:
    """serves first requests in the order in which they came."""
    service = Service(None, 60.0)
    for number in range(5):
        service.queue[person(f"user-{number}")] = Entry(person(f"user-{number}"), service, 0)
    assert uids(service.take_waiting(2)) == ["user-0", "user-1"]
    assert uids(service.take_waiting()) == ["user-2", "user-3", "user-4"]
    assert service.take_waiting() == []


def test_victim_is_dormant_or_seen_longest_ago() -> None:
    """forgets those who are gone before those who are there."""
    service = Service(None, 60.0)
    made(service, "recent", 100, seen_at=150)
    made(service, "quiet", 110, seen_at=112)
    made(service, "busy", 120, seen_at=155)
    service.dormant[person("gone")] = Entry(person("gone"), service, 0)
    victims = [service.pop_victim() for _ in range(5)]
    assert [victim.principal.uid if victim else None for victim in victims] == ["gone", "quiet", "recent", "busy", None]


def test_dormant_users_expire_in_order() -> None:
    """forgets dormant users once nothing could be said of them any more."""
    service = Service(None, 60.0)
    for number in range(3):
        entry = made(service, f"user-{number}", 100 + number, seen_at=0)
        service.forget_place(entry)
        service.dormant[entry.principal] = entry
    assert uids(list(service.pop_expired(102))) == ["user-0", "user-1"]
    assert list(service.dormant) == [person("user-2")]
