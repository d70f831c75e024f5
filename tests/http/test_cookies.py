"""Session cookies as they are written and removed."""

from __future__ import annotations

import pytest

from gateway import reasons
from gateway.core.credential import Carrier, CookieName
from gateway.core.decision import Allow, Challenge, Conditions, Decision, Deny
from gateway.http.cookies import (
    SessionCookieSettings,
    clear_cookie,
    clear_cookie_headers,
    is_spent,
    kept_private,
    needs_secure,
    sdk_id_cookie,
    sdk_refresh_cookie,
    set_sdk_cookie,
    set_session_cookie,
    spent_cookie,
)


def attributes(field: tuple[str, str]) -> tuple[str, set[str]]:
    pair, *rest = field[1].split("; ")
    assert field[0] == "Set-Cookie"
    return pair, set(rest)


def test_the_session_cookie_is_for_this_host_and_no_script() -> None:
    """... sets a cookie that no script, no foreign form and no other host gets, and none over plain http."""
    pair, told = attributes(set_session_cookie("__Host-session", "a.b.c", 60, secure=True))
    assert pair == "__Host-session=a.b.c"
    assert told == {"Path=/", "SameSite=Lax", "HttpOnly", "Secure", "Max-Age=60"}
    assert "Secure" not in attributes(set_session_cookie("__session", "a.b.c", 60, secure=False))[1]


@pytest.mark.parametrize("name", ["__Host-session", "__HOST-FIREBASE_[DEFAULT]", "__dev_FIREBASEID_[DEFAULT]"])
def test_a_cookie_is_removed_where_it_was_set(name: str) -> None:
    """... removes a cookie with the attributes that say which one: prefix, path and partition."""
    made = (
        set_sdk_cookie(name, "x", script=True) if "FIREBASE" in name else set_session_cookie(name, "x", 9, secure=True)
    )
    kept = {"Path=/", "Secure", "Partitioned"}
    pair, told = attributes(clear_cookie(name))
    assert pair == f"{name}="
    assert "Max-Age=0" in told
    assert told & kept == attributes(made)[1] & kept


def test_a_cookie_of_plain_http_is_removed_over_plain_http() -> None:
    """... leaves Secure out where the browser would drop the whole field for it."""
    assert "Secure" not in attributes(clear_cookie("__session"))[1]


def test_the_sdk_reads_one_cookie_and_not_the_other() -> None:
    """... lets scripts read the ID token and never the refresh token, and keeps both as long as browsers do."""
    readable, hidden = (attributes(set_sdk_cookie("n", "v", script=script))[1] for script in (True, False))
    assert hidden - readable == {"HttpOnly"}
    assert "Max-Age=34560000" in readable & hidden


def test_the_sdks_names() -> None:
    """... names the SDK's cookies as the SDK does, brackets and capitals included."""
    assert sdk_id_cookie().on("https", "app.test") == "__HOST-FIREBASE_[DEFAULT]"
    assert sdk_id_cookie("shop").on("http", "localhost:80") == "__dev_FIREBASE_shop"
    assert sdk_refresh_cookie().on("https", "app.test") == "__HOST-FIREBASEID_[DEFAULT]"


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (SessionCookieSettings(), ["__Host-session"]),
        (SessionCookieSettings(name="__session"), ["__session"]),
        (SessionCookieSettings("off"), []),
        (
            SessionCookieSettings(sdk=True, app="shop"),
            ["__Host-session", "__HOST-FIREBASE_shop", "__HOST-FIREBASEID_shop"],
        ),
    ],
)
def test_a_sign_out_removes_what_there_may_be(settings: SessionCookieSettings, names: list[str]) -> None:
    """... removes every cookie that carries a session under the configured settings, and no other."""
    fields = clear_cookie_headers(settings, "https", "app.test")
    assert [attributes(field)[0] for field in fields] == [f"{name}=" for name in names]


def test_the_name_that_was_configured_holds_everywhere() -> None:
    """... uses a configured name on every site, and chooses one by the site otherwise."""
    assert SessionCookieSettings().cookie == CookieName(Carrier.COOKIE, "__Host-session", "__session")
    assert SessionCookieSettings(name="__Host-session").cookie.on("http", "localhost") == "__Host-session"


def test_only_what_can_never_be_good_again_is_removed() -> None:
    """... removes a cookie that was refused for good and keeps one that may pass in a moment."""
    spent = {reasons.TOKEN_SIGNATURE, reasons.SESSION_REVOKED, reasons.USER_DISABLED, reasons.NETWORK_CHANGED}
    kept = {reasons.SIGN_IN_REQUIRED, reasons.CROSS_SITE, reasons.KEYS_UNAVAILABLE, reasons.RECENT_SIGN_IN_REQUIRED}
    assert all(is_spent(reason) for reason in spent | {reasons.CREDENTIAL_CONFLICT})
    assert not any(is_spent(reason) for reason in kept)


NOBODY = Conditions(0.0, -1, None, "open", 0)


@pytest.mark.parametrize(
    ("decision", "removed"),
    [
        (Challenge(reasons.SESSION_SIGNED_OUT, "app", cookie="__session"), True),
        (Challenge(reasons.SIGN_IN_REQUIRED, "app", cookie="__session"), True),
        (Challenge(reasons.SIGN_IN_REQUIRED, "app"), False),
        (Deny(reasons.CROSS_SITE, "app", cookie="__session"), False),
        (Deny(reasons.CREDENTIAL_CONFLICT, "app", cookie="__session"), True),
        (Allow(reasons.ANONYMOUS, "open", None, NOBODY, cookie="__session"), True),
        (Allow(reasons.CREDENTIAL_IGNORED, "open", None, NOBODY, reasons.SESSION_REVOKED, "__session"), True),
        (Allow(reasons.CREDENTIAL_IGNORED, "open", None, NOBODY, reasons.CROSS_SITE, "__session"), False),
        (Allow(reasons.ANONYMOUS, "open", None, NOBODY), False),
        (None, False),
    ],
)
def test_a_dead_cookie_is_removed_whatever_the_answer(decision: Decision | None, removed: bool) -> None:
    """... removes a cookie that was found to be dead, and keeps one that another request may bring well."""
    assert spent_cookie(decision) == ((clear_cookie("__session"),) if removed else ())


def test_cookies_of_one_person_are_kept_out_of_shared_caches() -> None:
    """... marks an answer that sets cookies as one for a single person, and only such an answer."""
    assert kept_private(()) == ()
    assert kept_private((clear_cookie("__session"),))[1:] == (("Cache-Control", "private"),)


def test_secure_is_left_out_on_this_machine_only() -> None:
    """... asks for Secure wherever a network lies between."""
    assert not needs_secure("http", "localhost:8080")
    assert needs_secure("http", "app.test")
    assert needs_secure("https", "localhost")
