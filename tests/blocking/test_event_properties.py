"""Whatever an event, an answer or a token holds: a value, or a refusal of the documented kind, and nothing else."""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.blocking.event import BROKEN_FACTOR, BROKEN_USER, Event, read_context
from gateway.blocking.https_error import HttpsError
from gateway.blocking.json_text import encode
from gateway.blocking.outcome import UserUpdate, merge, read_answer, wire_body
from gateway.blocking.verify import EventRules, EventVerifier, is_audience
from gateway.errors import TokenError
from tests.support import events, forge
from tests.support.clock import NOW, FakeClock
from tests.support.tokens import KnownKeys, mutate

_T = TypeVar("_T")
SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ANYTHING = st.recursive(
    SIMPLE | st.sampled_from(["", "{", "[]", "0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
CLAIMS = (
    "event_type", "event_id", "ip_address", "user_agent", "locale", "iat", "tenant_id", "sign_in_method",
    "sign_in_second_factor", "user_record", "raw_user_info", "sign_in_attributes", "oauth_id_token",
    "oauth_access_token", "oauth_refresh_token", "oauth_token_secret", "oauth_expires_in", "recaptcha_score", "email",
    "email_type", "phone_number", "sms_type",
)  # fmt: skip
RECORD = (
    "uid", "email", "email_verified", "display_name", "photo_url", "phone_number", "disabled", "metadata",
    "provider_data", "password_hash", "custom_claims", "tenant_id", "tokens_valid_after_time", "multi_factor",
)  # fmt: skip
FIELDS = (
    "displayName", "display_name", "disabled", "emailVerified", "photoUrl", "photoURL", "customClaims", "sessionClaims",
    "recaptchaActionOverride", "updateMask",
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    event=st.sampled_from(list(Event)),
    top=st.dictionaries(st.sampled_from(CLAIMS), ANYTHING, max_size=3),
    record=st.dictionaries(st.sampled_from(RECORD), ANYTHING, max_size=3),
    factor=st.dictionaries(st.sampled_from(["uid", "factor_id", "enrollment_time"]), ANYTHING),
)
def test_any_event_is_read_or_refused(
    event: Event, top: dict[str, Any], record: dict[str, Any], factor: dict[str, Any]
) -> None:
    """... reads an event of any shape, or refuses it as malformed."""
    claims = events.claims(str(event), **({"multi_factor": {"enrolled_factors": [factor]}} | record)) | top
    found = _attempted(lambda: read_context(claims, "demo-project", NOW))
    if isinstance(found, HttpsError):
        assert found.http_status == 400 or found.message in {BROKEN_USER, BROKEN_FACTOR}
    else:
        assert found.timestamp.tzinfo is not None
        assert repr(found)


@settings(max_examples=150, deadline=None)
@given(
    event=st.sampled_from(list(Event)),
    answers=st.lists(st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=2) | ANYTHING, max_size=3),
)
def test_any_answer_is_sent_or_refused(event: Event, answers: list[Any]) -> None:
    """... sends any answer as JSON with the mask that belongs to it, or refuses it with a text."""
    found = _attempted(
        lambda: functools.reduce(
            lambda update, answer: merge(update, read_answer(event, answer)), answers, UserUpdate()
        )
    )
    if isinstance(found, HttpsError):
        assert (found.http_status, bool(found.message)) == (400, True)
        assert json.dumps(found.body)
        return
    body = json.loads(encode(wire_body(found)))
    record = body.get("userRecord", {"updateMask": ""})
    assert sorted(filter(None, record["updateMask"].split(","))) == sorted(record.keys() - {"updateMask"})


async def test_any_token_is_verified_or_refused() -> None:
    """... refuses every token that was tampered with, in emulator mode too, and nothing else happens."""
    generator = random.Random(7)  # noqa: S311 - the same mutants each time
    originals = [events.token(), events.token("beforeSendSms")]
    rules = EventRules(events.PROJECT, {events.URL: None}, unsigned=True)
    verifier = EventVerifier(rules, KnownKeys(forge.KID), FakeClock())
    good = [await verifier.verify(token) for token in originals]
    refused = 0
    for _ in range(1_500):
        try:
            found = await verifier.verify(mutate(generator, originals))
        except TokenError:
            refused += 1
        else:
            assert found in good
    assert refused > 1_250


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=40) | st.from_regex(r"https?://[a-z.@:/?#\\\[\]]{0,20}run\.app[a-z.@:/?#\\]{0,9}", fullmatch=True)
)
def test_any_audience_is_judged(audience: str) -> None:
    """... judges any text that claims to be an address, and takes only https on the platform."""
    if is_audience(audience, {}, "demo"):
        authority = re.fullmatch(r"https://([A-Za-z0-9.-]+)(?::443)?(?:[/?#].*)?", audience)
        assert authority is not None
        host = authority[1].lower()
        assert host == "run.app" or host.endswith(".run.app")


def _attempted(attempt: Callable[[], _T]) -> _T | HttpsError:
    try:
        return attempt()
    except HttpsError as error:
        return error
