"""The decision log."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import ipaddress
import json

import pytest

from gateway import reasons
from gateway.core.claims import Claims, Principal
from gateway.core.decision import Allow, Challenge, Conditions, Decision, Deny, Preflight
from gateway.core.ports import DecisionEvent
from gateway.core.session import NetworkAction, NetworkLevel, Session
from gateway.observe import decisions
from gateway.observe.decisions import DecisionLog, JsonLines, NoLog, clean, json_line, pseudonym, text_line

CLAIMS = Claims(Principal("acme", None, "uid-of-ada"), 0, 1, 0, "ada@example.com", True, None, None, None, None, {})
CONDITIONS = Conditions(1.0, 1, None, "app", 0)
ALLOWED = Allow(reasons.SESSION_VALID, "app", Session(CLAIMS, None, NetworkLevel.SAME), CONDITIONS)
IGNORED = Allow(reasons.CREDENTIAL_IGNORED, "app", None, CONDITIONS, reasons.TOKEN_EXPIRED)


def event(decision: Decision = ALLOWED, *, method: str = "GET", path: str = "/a", host: str = "h") -> DecisionEvent:
    return DecisionEvent(1_800_000_000.0, "r1", method, host, path, "203.0.113.9", decision, 120)


def test_a_json_line_says_what_was_decided_about_whom_without_naming_them() -> None:
    """... logs reason, route and a pseudonym, never the uid or e-mail address."""
    line = json_line(event())
    fields = json.loads(line)
    assert fields["decision"] == "allow"
    assert (fields["reason"], fields["route"], fields["network"], fields["micros"]) == (
        "session_valid",
        "app",
        "same",
        120,
    )
    assert fields["principal"] == pseudonym(CLAIMS.principal)
    assert "ada" not in line


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (IGNORED, {"reason": "credential_ignored", "ignored": "token_expired", "decision": "allow"}),
        (
            Challenge(reasons.NETWORK_CHANGED, "app"),
            {"reason": "network_changed", "decision": "challenge", "route": "app"},
        ),
        (Deny(reasons.KEYS_UNAVAILABLE, "app", 7), {"reason": "keys_unavailable", "retry_after": 7, "level": "error"}),
        (Deny(reasons.NO_ROUTE), {"reason": "no_route", "route": None}),
        (
            Deny(reasons.ROLE_MISSING, "app", session=ALLOWED.session),
            {"reason": "role_missing", "decision": "deny", "principal": pseudonym(CLAIMS.principal)},
        ),
        (Preflight(reasons.CORS_PREFLIGHT, "app"), {"reason": "cors_preflight", "decision": "allow"}),
    ],
)
def test_every_kind_of_decision(decision: Decision, expected: dict[str, object]) -> None:
    """... logs what each kind of decision adds."""
    assert expected.items() <= json.loads(json_line(event(decision))).items()
    assert decision.reason.id in text_line(event(decision))


def test_lines_that_are_put_together_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """... writes what an earlier line said already without encoding it anew, and to the last byte as it would be."""
    monkeypatch.setattr(decisions, "MAX_SESSIONS", 2)
    monkeypatch.setattr(decisions, "MAX_PLACES", 2)
    lines = JsonLines(b"k")
    claims = [dataclasses.replace(CLAIMS, principal=Principal("acme", None, f"u{number}")) for number in range(4)]
    allowed = [
        dataclasses.replace(ALLOWED, session=Session(one, address, NetworkLevel.SAME))
        for one, address in zip(claims, [None, ipaddress.ip_address("203.0.113.9")] * 2, strict=True)
    ]
    elsewhere = dataclasses.replace(ALLOWED, route="other", reason=reasons.SESSION_UNCHECKED)
    refused = Challenge(reasons.NETWORK_CHANGED, "app", session=ALLOWED.session)
    given_out: list[Decision] = [*allowed, elsewhere, refused, IGNORED, *allowed]
    for decision in given_out * 2:
        for path, client in (("/a", ""), ('/ü\r\n\u2028"\\', "2001:db8::1"), ("/" + "x" * 400, "203.0.113.9")):
            for request_id in ("0af3", "of-a-proxy:1", 'x"y', "\x07", "ü" * 300):
                given = event(decision, path=path)._replace(client=client, at=1_800_000_000.1, request_id=request_id)
                assert lines(given) == json_line(given, b"k")


@pytest.mark.parametrize("path", ["/a\nb", "/a\r\n12:00 allow", "/\x1b[31m", "/\u2028x", "/\u202egnp"])
def test_no_request_writes_a_line_of_its_own(path: str) -> None:
    """... escapes whatever could end a line or move a terminal's cursor."""
    for line in (json_line(event(path=path, method=path, host=path)), text_line(event(path=path, method=path))):
        assert line.isprintable()


def test_long_values_are_cut() -> None:
    """... bounds the length of a line."""
    assert len(clean("x" * 10_000)) == decisions.MAX_TEXT
    assert clean("short") == "short"


def test_pseudonyms_differ_by_tenant_and_project() -> None:
    """... never gives two people one name."""
    people = [Principal("p", None, "u"), Principal("p", "t", "u"), Principal("q", None, "u"), Principal("p", "tu", "")]
    assert len({pseudonym(person) for person in people}) == len(people)


async def test_lines_are_written_in_batches() -> None:
    """... returns at once and writes a moment later, in order."""
    stream = io.StringIO()
    log = DecisionLog(json_line, stream)
    log.record(event(path="/1"))
    log.record(event(path="/2"))
    assert stream.getvalue() == ""
    await asyncio.sleep(decisions.FLUSH_INTERVAL * 2)
    assert [json.loads(line)["path"] for line in stream.getvalue().splitlines()] == ["/1", "/2"]


async def test_a_slow_reader_costs_lines_not_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """... drops and counts what it cannot queue."""
    monkeypatch.setattr(decisions, "MAX_QUEUE", 2)
    log = DecisionLog(json_line, io.StringIO())
    for _ in range(5):
        log.record(event())
    assert log.dropped == 3
    log.flush()


async def test_a_broken_stream_is_survived() -> None:
    """... goes on serving when its log cannot be written."""
    stream = io.StringIO()
    stream.close()
    log = DecisionLog(json_line, stream)
    log.record(event())
    log.flush()
    assert log.dropped == 1


def test_no_log_drops_everything() -> None:
    """... can be told to log no decision."""
    NoLog().record(event())


def test_a_key_makes_pseudonyms_of_its_own() -> None:
    """... gives users names that a list of user ids does not lead to, stable as long as the key is."""
    who, key = CLAIMS.principal, b"key"
    assert pseudonym(who, key) == pseudonym(who, key)
    assert len({pseudonym(who), pseudonym(who, key), pseudonym(who, b"other")}) == 3
    assert pseudonym(who, key) in json_line(event(), key)
    assert pseudonym(who, key)[:8] in text_line(event(), key)
    assert pseudonym(who) not in json_line(event(), key)


def test_the_line_says_what_a_replay_needs_and_no_more() -> None:
    """... logs the network of the sign-in and how it was judged, never the sign-in's whole address."""
    claims = dataclasses.replace(CLAIMS, sign_in_ip="198.51.100.77", auth_time=42)
    session = Session(
        claims, ipaddress.ip_address("203.0.113.9"), NetworkLevel.ROAMED, NetworkAction.REAUTHENTICATE, "evidence"
    )
    for decision in (
        Allow(reasons.SESSION_VALID, "app", session, CONDITIONS),
        Challenge(reasons.NETWORK_CHANGED, "app", session=session),
    ):
        line = json_line(event(decision))
        fields = json.loads(line)
        assert fields["principal"] == pseudonym(claims.principal)
        assert (fields["network"], fields["network_action"], fields["network_why"]) == (
            "roamed",
            "reauthenticate",
            "evidence",
        )
        assert (fields["signed_in_at"], fields["signed_in_from"]) == (42, "198.51.100.0/24")
        assert "signed_in_here" not in fields
        assert "198.51.100.77" not in line
        assert "roamed network" in text_line(event(decision))


def test_the_line_says_whether_it_was_the_very_address() -> None:
    """... logs that the request came from the sign-in's very address, for the preset that asks for it."""
    claims = dataclasses.replace(CLAIMS, sign_in_ip="203.0.113.9")
    session = Session(claims, ipaddress.ip_address("203.0.113.9"), NetworkLevel.SAME)
    line = json_line(event(Allow(reasons.SESSION_VALID, "app", session, CONDITIONS)))
    assert json.loads(line)["signed_in_here"] is True
