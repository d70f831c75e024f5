"""``/emulator/action``: programs get JSON and redirects, people a small page."""

from __future__ import annotations

import base64
import hashlib
import re
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.support.idp import EMAIL, Api, Reply

PERSON = {"Accept": "text/html,application/xhtml+xml"}


async def mailed(api: Api, request_type: str, **body: str) -> str:
    """Path and query of a freshly mailed link."""
    await api.mail_code(request_type, **body)
    parts = urlsplit(list(api.provider.mailbox)[-1].link)
    return f"{parts.path}?{parts.query}"


def without_script(reply: Reply) -> str:
    """The page, after checking that it runs nothing and loads nothing."""
    text = str(reply.body)
    policy = reply.headers["Content-Security-Policy"]
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "<script" not in text
    assert " style=" not in text
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.headers["Cache-Control"] == "no-store"
    return text


@pytest.mark.parametrize("headers", [{}, PERSON])
async def test_verification_link(api: Api, headers: dict[str, str]) -> None:
    """the provider verifies the address when the link is opened, and says so to programs and people."""
    user = await api.sign_up()
    link = await mailed(api, "VERIFY_EMAIL", idToken=user["idToken"])
    reply = await api.request("GET", link, headers=headers)
    assert reply.status == 200
    if headers:
        assert "Address confirmed" in without_script(reply)
    else:
        assert reply.body["authEmulator"]["email"] == EMAIL
    assert (await api.account(user["localId"]))["emailVerified"] is True
    again = await api.request("GET", link, headers=headers)
    assert again.status == 400
    if headers:
        assert "used already" in without_script(again)
    else:
        assert again.body["authEmulator"]["error"] == "INVALID_OOB_CODE"
        assert again.body["authEmulator"]["instructions"]


async def test_link_leads_on(api: Api) -> None:
    """the provider goes to the continue URL after the work is done."""
    user = await api.sign_up()
    link = await mailed(api, "VERIFY_EMAIL", idToken=user["idToken"], continueUrl="http://localhost/done?x=1")
    reply = await api.request("GET", link, headers=PERSON)
    assert (reply.status, reply.headers["Location"]) == (303, "http://localhost/done?x=1")


async def test_sign_in_link_carries_its_parameters_on(api: Api) -> None:
    """the provider sends a sign-in link to the application with every parameter, and leaves the code unused."""
    link = await mailed(api, "EMAIL_SIGNIN", email=EMAIL, continueUrl="http://localhost/finish?x=1#part")
    reply = await api.request("GET", link, headers=PERSON)
    assert reply.status == 303
    target = urlsplit(reply.headers["Location"])
    query = {name: values[0] for name, values in parse_qs(target.query).items()}
    assert (target.netloc, target.path, target.fragment) == ("localhost", "/finish", "part")
    assert query.keys() == {"x", "mode", "lang", "oobCode", "apiKey"}
    assert (await api.call("signInWithEmailLink", email=EMAIL, oobCode=query["oobCode"])).status == 200


@pytest.mark.parametrize("request_type", ["EMAIL_SIGNIN", "VERIFY_EMAIL"])
async def test_link_cannot_be_bent_elsewhere(api: Api, request_type: str) -> None:
    """the provider redirects nowhere but where the link was made to lead, and does nothing for a bent link."""
    user = await api.sign_up()
    body = {"email": EMAIL} if request_type == "EMAIL_SIGNIN" else {"idToken": user["idToken"]}
    link = await mailed(api, request_type, **body)
    reply = await api.request("GET", f"{link}&continueUrl=https://evil.example/")
    assert reply.status == 400
    assert "Location" not in reply.headers
    assert reply.body["authEmulator"]["error"].startswith("INVALID_CONTINUE_URI")
    assert (await api.account(user["localId"]))["emailVerified"] is False


async def test_sign_in_link_without_application_is_refused(api: Api) -> None:
    """the provider cannot finish a sign-in itself."""
    link = await mailed(api, "EMAIL_SIGNIN", email=EMAIL)
    assert (await api.request("GET", link)).body["authEmulator"]["error"] == "MISSING_CONTINUE_URI"


async def test_person_resets_a_password_in_the_page(api: Api) -> None:
    """the provider shows a form, explains a weak password beside it, and sets a good one by POST."""
    await api.sign_up()
    link = await mailed(api, "PASSWORD_RESET", email=EMAIL, continueUrl="http://localhost/login")
    page = without_script(await api.request("GET", link, headers=PERSON))
    assert '<label for="new">New password</label>' in page
    assert 'autocomplete="new-password"' in page
    assert f'value="{EMAIL}" autocomplete="username" readonly' in page
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page))
    weak = await api.request("POST", "/emulator/action", data={**fields, "newPassword": "x"}, headers=PERSON)
    assert weak.status == 400
    assert "at least 6 characters" in without_script(weak)
    assert '<form method="post"' in weak.body
    done = await api.request(
        "POST", "/emulator/action", data={**fields, "newPassword": "another horse"}, headers=PERSON
    )
    text = without_script(done)
    assert "Password changed" in text
    assert '<a href="http://localhost/login">Continue</a>' in text
    assert (await api.sign_in(password="another horse")).status == 200


async def test_program_resets_a_password_by_address(api: Api) -> None:
    """the provider takes the new password from the address, as emulators do, and wants one."""
    await api.sign_up()
    link = await mailed(api, "PASSWORD_RESET", email=EMAIL)
    missing = await api.request("GET", link)
    assert missing.status == 400
    assert "newPassword" in missing.body["authEmulator"]["instructions"]
    done = await api.request("GET", link + "&newPassword=another+horse")
    assert done.body["authEmulator"]["email"] == EMAIL
    assert (await api.sign_in(password="another horse")).status == 200


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({}, "INVALID_MODE"),
        ({"mode": "nonsense", "oobCode": "x"}, "INVALID_MODE"),
        ({"mode": "verifyEmail"}, "MISSING_OOB_CODE"),
        ({"mode": "verifyEmail", "oobCode": "x"}, "INVALID_OOB_CODE"),
    ],
)
async def test_incomplete_links_are_explained(api: Api, query: dict[str, str], error: str) -> None:
    """the provider explains what is wrong with a link."""
    path = f"/emulator/action?{urlencode(query)}"
    reply = await api.request("GET", path)
    assert (reply.status, reply.body["authEmulator"]["error"]) == (400, error)
    assert "This link does not work" in without_script(await api.request("GET", path, headers=PERSON))


async def test_code_of_another_kind_does_nothing(api: Api) -> None:
    """the provider uses a code for its own purpose only, whatever mode the link was changed to."""
    user = await api.sign_up()
    link = await mailed(api, "PASSWORD_RESET", email=EMAIL)
    bent = link.replace("resetPassword", "verifyEmail")
    assert (await api.request("GET", bent)).body["authEmulator"]["error"] == "INVALID_OOB_CODE"
    assert (await api.account(user["localId"]))["emailVerified"] is False


async def test_page_escapes_what_it_shows(api: Api) -> None:
    """the provider writes parameters and addresses into its page as text."""
    await api.sign_up()
    link = await mailed(api, "PASSWORD_RESET", email=EMAIL)
    reply = await api.request("GET", link + "&x%22%3E%3Cscript%3E=%3Cscript%3Ealert(1)%3C/script%3E", headers=PERSON)
    assert "&lt;script&gt;" in without_script(reply)
    hostile = '"><img/src=x>@example.com'
    user = await api.sign_up(hostile)
    verify = await mailed(api, "VERIFY_EMAIL", idToken=user["idToken"])
    text = without_script(await api.request("GET", verify, headers=PERSON))
    assert "<img" not in text
    assert "&lt;img" in text
