"""The workshop's made-up data hang together."""

from __future__ import annotations

import json

from gateway.demo.data import ACCOUNTS, ADA, HAPPENINGS, JOBS

MINIMUM_PASSPHRASE = 12
MAXIMUM_CLAIMS = 1_000  # characters of customAttributes (Firebase: "Control access with custom claims")


def test_accounts_can_be_seeded() -> None:
    """The demo seeds distinct accounts that the provider accepts."""
    assert len({account.email for account in ACCOUNTS}) == len(ACCOUNTS)
    for account in ACCOUNTS:
        assert account.email.endswith("@example.com")
        assert len(account.passphrase) >= MINIMUM_PASSPHRASE
        assert account.display_name
        assert len(json.dumps(dict(account.custom_claims))) < MAXIMUM_CLAIMS


def test_a_passphrase_stays_out_of_the_repr() -> None:
    """The demo's accounts do not print their passphrase where an object is logged."""
    assert ADA.passphrase not in repr(ADA)


def test_jobs_are_filed_under_their_number() -> None:
    """The demo finds each job by the number it carries, and has the two that its pages link to."""
    assert all(number == job.number for number, job in JOBS.items())
    assert {7, 42} <= JOBS.keys()
    assert all(job.mechanic is None or job.mechanic in ACCOUNTS for job in JOBS.values())


def test_happenings_are_about_jobs_on_the_board() -> None:
    """The demo's live stream links to jobs that exist."""
    assert all(happening.job in JOBS for happening in HAPPENINGS)


def test_a_job_is_plain_json() -> None:
    """The demo's jobs survive a round trip through JSON."""
    for job in JOBS.values():
        value = job.as_json()
        assert json.loads(json.dumps(value)) == value
        assert value["number"] == job.number
