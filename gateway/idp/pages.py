"""``/emulator/action``: what a mailed link opens (identity-toolkit.md section 11).

Programs get JSON or a redirect, as from an emulator; people get a small page. The rules this file obeys: **the page
runs no script and loads nothing from elsewhere** (its style sheet is allowed by hash), **everything shown is escaped**,
and **a redirect goes only where the one who asked for the link wanted it to**: the target is compared with the stored
one, so that nobody can bend a link into an open redirect.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from typing import Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from gateway.idp import oob
from gateway.idp.codes import MODES
from gateway.idp.errors import WireError
from gateway.idp.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH, check_strength
from gateway.idp.realm import Call, Realm
from gateway.idp.records import CodeKind, CodeRecord
from gateway.idp.wire import Fields

_KINDS: Final = {mode: kind for kind, mode in MODES.items()}

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #566074; --paper: #f5f6f8; --card: #fff; --line: #cfd5df;
  --accent: #1d56c9; --bad: #a8201a }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf1; --soft: #a7b0c0; --paper: #12161d; --card: #1b212b;
  --line: #3a4352; --accent: #8fb4ff; --bad: #ff9d94 } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
main { width: 100%; max-width: 26rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
  padding: 2rem }
h1 { margin: 0 0 .75rem; font-size: 1.375rem; line-height: 1.3 }
p { margin: 0 0 1rem; overflow-wrap: anywhere }
.soft { color: var(--soft); font-size: .875rem; margin: 1.5rem 0 0 }
.bad { color: var(--bad) }
label { display: block; font-weight: 600; margin: 1rem 0 .375rem }
input[readonly] { border-color: var(--line); color: var(--soft) }
input { width: 100%; padding: .625rem .75rem; font: inherit; color: inherit; background: transparent;
  border: 1px solid var(--soft); border-radius: .5rem }
button { margin-top: 1rem; width: 100%; padding: .7rem; font: inherit; font-weight: 600; color: var(--card);
  background: var(--accent); border: 0; border-radius: .5rem; cursor: pointer }
a { color: var(--accent) }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
"""

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'sha256-"
        + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
        + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # The page's own address holds a code.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Headers of every answer of this endpoint."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the endpoint answers: a redirect, a page or JSON."""

    status: int
    location: str | None = None
    page: str | None = None
    body: dict[str, Any] | None = None


async def action(realm: Realm, call: Call, *, wants_page: bool) -> Answer:
    """Do what a link says, and answer in the way the caller reads."""
    try:
        return await _act(realm, call, wants_page=wants_page)
    except WireError as error:
        instructions = _EXPLAINED.get(error.name, "Ask for a new link and try again.")
        if wants_page:
            return Answer(400, page=_page("This link does not work", f'<p role="alert">{escape(instructions)}</p>'))
        return Answer(400, body={"authEmulator": {"error": error.message, "instructions": instructions}})


async def _act(realm: Realm, call: Call, *, wants_page: bool) -> Answer:
    parameters = call.parameters
    mode = parameters.text("mode") or ""
    code = parameters.text("oobCode")
    if mode not in _KINDS:
        raise WireError("INVALID_MODE")
    record = await realm.db.run(realm.codes.inspect, code, _KINDS[mode])
    onward = parameters.text("continueUrl")
    if onward is not None and onward != record.continue_url:
        raise WireError("INVALID_CONTINUE_URI : continueUrl is not the one that the link was made with")
    if record.kind is CodeKind.EMAIL_SIGNIN:
        if onward is None:
            raise WireError("MISSING_CONTINUE_URI")
        return Answer(303, location=_appended(onward, parameters))
    if record.kind is CodeKind.PASSWORD_RESET:
        # Only the body of the form, or an emulator's client that puts it into the address, brings a password.
        password = call.fields.text("newPassword") or parameters.text("newPassword")
        if wants_page and password is None:
            return Answer(200, page=_form(parameters, record.email))
        try:
            check_strength(password or "")
        except WireError as error:
            if not wants_page:
                raise
            return Answer(400, page=_form(parameters, record.email, problem=error.message.partition(" : ")[2]))
        await oob.reset_password(realm, _redeeming(call, newPassword=password or ""))
    else:
        await oob.apply_code(realm, _redeeming(call))
    title, text = _done(record)
    posted = "newPassword" in call.fields
    if onward is not None and not (wants_page and posted):
        return Answer(303, location=onward)
    if wants_page:
        # The policy's form-action keeps a posted form from being redirected to another origin: a person follows a link.
        link = f'<p><a href="{escape(onward)}">Continue</a></p>' if onward is not None else ""
        return Answer(200, page=_page(title, f'<p role="status">{escape(text)}</p>{link}'))
    return Answer(200, body={"authEmulator": {"success": text, "email": record.email}})


def _redeeming(call: Call, **fields: str) -> Call:
    """The call of the method that redeems the link's code."""
    fields["oobCode"] = call.parameters.text("oobCode") or ""
    return Call(fields=Fields(fields), api_key=call.api_key, locale=call.locale, address=call.address)


def _appended(url: str, parameters: Fields) -> str:
    """``continueUrl`` with every other parameter of the link behind its own."""
    parts = urlsplit(url)
    query = urlencode([(name, value) for name, value in parameters.items() if name != "continueUrl"])
    return urlunsplit(parts._replace(query=f"{parts.query}&{query}" if parts.query else query))


def _done(record: CodeRecord) -> tuple[str, str]:
    return {
        CodeKind.PASSWORD_RESET: (
            "Password changed",
            f"The new password of {record.email} is set. You can sign in with it now.",
        ),
        CodeKind.VERIFY_EMAIL: ("Address confirmed", f"{record.email} is confirmed. You can close this page."),
        CodeKind.VERIFY_AND_CHANGE_EMAIL: ("Address changed", f"From now on you sign in with {record.new_email}."),
        CodeKind.RECOVER_EMAIL: (
            "Address restored",
            f"The account uses {record.email} again. If you did not ask for the change, set a new password now.",
        ),
    }[record.kind]


_EXPLAINED: Final = {
    "INVALID_MODE": "The link is incomplete: its mode is not one of " + ", ".join(_KINDS) + ".",
    "MISSING_OOB_CODE": "The link is incomplete: its code is missing.",
    "INVALID_OOB_CODE": "The link was used already, or it is not complete. Ask for a new one.",
    "EXPIRED_OOB_CODE": "The link has expired. Ask for a new one.",
    "INVALID_CONTINUE_URI": "The link leads elsewhere than it was made for.",
    "MISSING_CONTINUE_URI": "The link does not say which application it belongs to.",
    "EMAIL_EXISTS": "The address belongs to another account now.",
    "USER_DISABLED": "This account has been disabled.",
    "WEAK_PASSWORD": "Add newPassword with at least 6 characters to the link.",
}


def _form(parameters: Fields, email: str, *, problem: str = "") -> str:
    """The form for a new password; the address stands in it so that password managers know whose it is."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in parameters.items()
        if name != "newPassword"
    )
    alert = f'<p class="bad" role="alert" id="problem">{escape(problem)}.</p>' if problem else ""
    described = ' aria-invalid="true" aria-describedby="problem"' if problem else ""
    return _page(
        "Choose a new password",
        f'{alert}<form method="post" action="/emulator/action">{hidden}<label for="account">Account</label>'
        f'<input id="account" type="email" value="{escape(email)}" autocomplete="username" readonly>'
        '<label for="new">New password</label>'
        f'<input id="new" name="newPassword" type="password" autocomplete="new-password" required'
        f' minlength="{MIN_PASSWORD_LENGTH}" maxlength="{MAX_PASSWORD_LENGTH}"{described}>'
        '<button type="submit">Set password</button></form>',
    )


def _page(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>{content}"
        '<p class="soft">Local identity provider, for development.</p></main></body></html>'
    )
