"""``gateway functions invoke``: make an event up, have functions answer it, show what comes of the answer.

The event is made by the code that the embedded provider makes events with, and the answer is read by the code that it
reads answers with, so what is shown is what a sign-in would do.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

from gateway.config.load import load
from gateway.core.client_ip import parse_address
from gateway.errors import ConfigError
from gateway.idp import events
from gateway.idp.answers import ErrorFormat, Overlay, Words
from gateway.idp.claims import check_combined, id_token_payload
from gateway.idp.errors import WireError
from gateway.idp.events import BEFORE_CREATE, BEFORE_EMAIL, BEFORE_SIGN_IN, BEFORE_SMS, Circumstances, Forward
from gateway.idp.functions import DEADLINE, Caller, is_absolute
from gateway.idp.hooks import unsigned
from gateway.idp.records import PASSWORD, PHONE, Account, KeyPurpose, Link, SessionRecord
from gateway.idp.signing_keys import KeyRing
from gateway.idp.store import Store
from gateway.tokens.mint import sign

if TYPE_CHECKING:
    from gateway.blocking import BlockingFunctions
    from gateway.config.load import Loaded

EVENTS: Final[Mapping[str, str]] = {
    "before-create": BEFORE_CREATE,
    "before-sign-in": BEFORE_SIGN_IN,
    "before-email": BEFORE_EMAIL,
    "before-sms": BEFORE_SMS,
    **{name: name for name in (BEFORE_CREATE, BEFORE_SIGN_IN, BEFORE_EMAIL, BEFORE_SMS)},
}
"""What the commands call the events, and the service's own names."""

IN_PROCESS: Final = "urn:session-gateway:invoke"
"""``aud`` of an event that never leaves the process."""

DEMO_PROJECT: Final = "demo-project"
"""The project of an event when nothing names one."""

_FIELDS: Final = {
    "display_name": "display name",
    "photo_url": "picture",
    "email_verified": "e-mail verified",
    "disabled": "disabled",
    "custom_attributes": "custom claims",
}
_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What an event is made from. ``user`` is an address, a phone number, or a JSON file with a ``user_record``."""

    event: str
    user: str
    ip: str
    provider: str
    locale: str | None
    user_agent: str | None
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to ask: a URL, or functions that are run in this process: of ``app`` (``module:name``) or configured."""

    url: str | None
    app: str | None
    config: Path | None
    project: str | None
    unsigned: bool
    error_format: ErrorFormat


def run_invoke(made: Made, target: Target, *, show_event: bool) -> int:
    """Make the event, have it answered, show the effect; 1 when the answer is a refusal or none, else 0.

    :raises ConfigError: an argument cannot be used.
    """
    event_type = event_named(made.event)
    loaded = load(target.config, backends=False) if target.config is not None else None
    project = target.project or (loaded.config.firebase.project_id if loaded is not None else DEMO_PROJECT)
    if target.url is not None and target.app is not None:
        raise ConfigError("--url", "whom to ask is not clear", "--url or --app, not both")
    if target.url is not None and not is_absolute(target.url):
        raise ConfigError("--url", f"{target.url!r} is no URL of a function", "such as http://127.0.0.1:8081/")
    claims = _claims(event_type, made)
    event = events.addressed(claims, project_id=project, audience=target.url or IN_PROCESS, now=int(time.time()))
    event = _changed(event, made.changes)
    console = Console(highlight=False, soft_wrap=True)
    if show_event:
        console.print_json(json.dumps(event))
    status, body = asyncio.run(_answered(event, target, loaded, project))
    return _show(console, event, status, body, Words(form=target.error_format), target.url or IN_PROCESS)


def event_named(name: str) -> str:
    """The trigger key that a word of the command line means.

    :raises ConfigError: it means none.
    """
    event_type = EVENTS.get(name)
    if event_type is None:
        raise ConfigError("EVENT", f"no blocking event is called {name!r}", ", ".join(list(EVENTS)[:4]))
    return event_type


# ---- the event -------------------------------------------------------------------------------------------------------


def _claims(event_type: str, made: Made) -> dict[str, Any]:
    address = parse_address(made.ip)
    if address is None:
        raise ConfigError("--ip", f"{made.ip!r} is no address", "such as 203.0.113.9 or 2001:db8::1")
    around = Circumstances(method=made.provider, address=address, user_agent=made.user_agent, locale=made.locale)
    if event_type == BEFORE_EMAIL:
        return events.about_email(made.user, "EMAIL_SIGN_IN", around, tenant=None)
    if event_type == BEFORE_SMS:
        return events.about_sms(made.user, "SIGN_IN_OR_SIGN_UP", around, tenant=None)
    if made.user.endswith(".json"):
        record = _record(Path(made.user))
        about = events.about_user(event_type, account_of(record), around, forward=Forward())
        return {**about, "user_record": record}
    return events.about_user(event_type, _somebody(made), around, forward=Forward())


def _somebody(made: Made) -> Account:
    """An account like one that signs in that way."""
    now = int(time.time())
    account: dict[str, Any] = {"uid": "invoked-user", "created_at_ms": now * 1000, "valid_since": now}
    if made.provider == PHONE or made.user.startswith("+"):
        return Account(**account, phone_number=made.user)
    account["email"] = made.user
    account["email_verified"] = made.provider == "emailLink"
    account["email_link_sign_in"] = made.provider == "emailLink"
    if made.provider == PASSWORD:
        account["password_hash"] = "-"  # noqa: S105 - that there is one is all that counts
    elif made.provider != "emailLink":
        account["links"] = (Link(provider_id=made.provider, raw_id="invoked", email=made.user),)
    return Account(**account)


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(str(path), f"cannot be read: {error}", "a JSON object, a user_record") from None
    if not isinstance(record, dict) or not isinstance(record.get("uid"), str):
        raise ConfigError(str(path), "is no user_record", "a JSON object with at least a uid")
    return record


def account_of(record: Mapping[str, Any]) -> Account:
    """The account that a ``user_record`` describes, as far as tokens show it; what is odd in it is passed over."""
    custom = record.get("custom_claims")
    entries = record.get("provider_data")
    known = (entry for entry in entries if isinstance(entry, Mapping)) if isinstance(entries, list) else ()
    return Account(
        uid=str(record.get("uid")),
        created_at_ms=0,
        valid_since=0,
        email=record.get("email"),
        email_verified=bool(record.get("email_verified")),
        display_name=record.get("display_name"),
        photo_url=record.get("photo_url"),
        phone_number=record.get("phone_number"),
        disabled=bool(record.get("disabled")),
        custom_attributes=json.dumps(custom) if custom and isinstance(custom, Mapping) else None,
        tenant=record.get("tenant_id"),
        links=tuple(
            Link(provider_id=str(entry["provider_id"]), raw_id=str(entry.get("uid", "")))
            for entry in known
            if entry.get("provider_id") not in (PASSWORD, PHONE, None)
        ),
    )


def _changed(event: dict[str, Any], changes: tuple[str, ...]) -> dict[str, Any]:
    """The event with fields set by ``path=value``; a value that is no JSON is text, an empty one removes the field."""
    for change in changes:
        path, equals, text = change.partition("=")
        if not path or not equals:
            raise ConfigError("--set", f"{change!r} is not of the form path=value", "user_record.email_verified=true")
        *parents, last = path.split(".")
        place: Any = event
        for name in parents:
            place = place.setdefault(name, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise ConfigError("--set", f"{path} leads through something that is no object")
        if not text:
            place.pop(last, None)
            continue
        try:
            place[last] = json.loads(text)
        except ValueError:
            place[last] = text
    return event


# ---- the answer ------------------------------------------------------------------------------------------------------


async def _answered(event: Mapping[str, Any], target: Target, loaded: Loaded | None, project: str) -> tuple[int, bytes]:
    url = target.url
    if url is None:
        functions = _functions(target, loaded)
        try:
            status, answer = await functions.respond_to_claims(event)
        finally:
            await functions.close()
        return status, json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")
    token = unsigned(event) if target.unsigned else _signed(event, loaded, project)
    caller = Caller()
    try:
        async with asyncio.timeout(DEADLINE):
            return await caller.post(url, token)
    except TimeoutError:
        raise ConfigError(
            url, f"did not answer within {DEADLINE:g} seconds", "the service would not wait longer"
        ) from None
    except OSError as error:
        raise ConfigError(url, f"could not be called: {error}", "is the server running?") from None
    finally:
        await caller.close()


def _functions(target: Target, loaded: Loaded | None) -> BlockingFunctions:
    """The functions to run in this process: those of ``module:name``, or all that the configuration names."""
    from gateway.wiring.functions import configured_functions, load_functions

    if target.app is not None:
        return load_functions(target.app, "--app", Path.cwd())
    if loaded is None or loaded.config.functions.is_empty:
        raise ConfigError(
            "--url", "whom to ask is not clear", "--url URL, --app module:name, or --config FILE with [functions]"
        )
    return configured_functions(loaded, None, None)


def _signed(event: Mapping[str, Any], loaded: Loaded | None, project: str) -> str:
    """The event, signed with the key of the embedded provider that the configuration describes."""
    if loaded is None:
        raise ConfigError(
            "--url",
            "the event has to be signed, and nothing says by whom",
            "--config gateway.toml for the embedded provider's key, or --unsigned for functions in emulator mode",
        )
    path = loaded.directory / loaded.config.provider.database
    if not path.exists():
        raise ConfigError(str(path), "there is no such database", "start the provider once: gateway serve --dev")
    store = Store.open(path, project)
    try:
        return sign(event, KeyRing(KeyPurpose.ID_TOKEN, store, _Now()).signer())
    except IndexError:
        raise ConfigError(str(path), "holds no key yet", "start the provider once: gateway serve --dev") from None
    finally:
        store.close()


class _Now:
    """The system's clock, as the key ring asks for it."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


# ---- the effect ------------------------------------------------------------------------------------------------------


def _show(console: Console, event: Mapping[str, Any], status: int, body: bytes, words: Words, url: str) -> int:
    _line(console, "event", _described(event))
    session = event.get("event_type") == BEFORE_SIGN_IN
    shown = body.decode("utf-8", "replace")
    _line(console, "answer", f"{status} {shown}")
    try:
        overlay = words.read(url, status, body, session=session)
        _effects(console, event, overlay)
    except WireError as error:
        _line(console, "refused", error.message, "red")
        return 1
    return 0


def _effects(console: Console, event: Mapping[str, Any], overlay: Overlay) -> None:
    """Print what changes.

    :raises WireError: the claims do not fit into a token.
    """
    if overlay.recaptcha is not None:
        _line(console, "reCAPTCHA", overlay.recaptcha, "green" if overlay.recaptcha == "ALLOW" else "red")
    record = event.get("user_record")
    if isinstance(record, Mapping):
        before = account_of(record)
        after = account_of({**record, **_as_record(overlay)})
        session_claims = overlay.session_claims or {}
        check_combined(after, session_claims)
        for name, value in overlay.changes.items():
            _line(console, "user", f"{_FIELDS[name]}: {_json(value) if value is not None else 'none'}")
        if after.disabled:
            _line(console, "refused", "USER_DISABLED: the account is stored, and nobody gets in", "red")
            return
        _tokens(console, event, before, after, session_claims)
    if overlay == Overlay():
        _line(console, "effect", "none: the answer changes nothing")


def _tokens(
    console: Console, event: Mapping[str, Any], before: Account, after: Account, session_claims: Mapping[str, Any]
) -> None:
    old, new = _token(event, before, {}), _token(event, after, session_claims)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) == new.get(name):
            continue
        mark, style = ("+", "green") if name not in old else ("-", "red") if name not in new else ("~", "yellow")
        kept = "this session" if name in session_claims else "every token"
        _line(console, "token", f"{mark} {name}: {_json(new.get(name))}  ({kept})", style)


def _token(event: Mapping[str, Any], account: Account, session_claims: Mapping[str, Any]) -> dict[str, Any]:
    now = int(event["iat"]) if isinstance(event.get("iat"), int) else 0
    session = SessionRecord(
        token_hash="",
        uid=account.uid,
        sign_in_provider=str(event.get("sign_in_method", PASSWORD)),
        auth_time=now,
        session_claims=session_claims,
        created_at=now,
        last_used_at=now,
    )
    return id_token_payload(account, session, project_id="", now=now)


def _as_record(overlay: Overlay) -> dict[str, Any]:
    changes = dict(overlay.changes)
    if "custom_attributes" in changes:
        text = changes.pop("custom_attributes")
        changes["custom_claims"] = json.loads(text) if text else {}
    return changes


def _described(event: Mapping[str, Any]) -> str:
    record = event.get("user_record")
    who = event.get("email") or event.get("phone_number")
    if isinstance(record, Mapping):
        who = record.get("email") or record.get("phone_number") or record.get("uid")
    method = f":{event['sign_in_method']}" if event.get("sign_in_method") else ""
    return f"{event.get('event_type')}{method} · {who} · {event.get('ip_address')}"


def _json(value: object) -> str:
    if isinstance(value, str) and value.startswith("{"):
        return value
    return json.dumps(value, ensure_ascii=False)


def _line(console: Console, name: str, text: str, style: str = "") -> None:
    console.print(Text.assemble((f"{name:<10}", "bold"), (text, style)))
