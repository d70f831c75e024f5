"""Every example of blocking functions, by the scenarios of blocking-functions.md section 4."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from firebase_admin import auth

from gateway.blocking import BlockingFunctions
from gateway.config.load import load
from gateway.wiring.functions import configured_functions
from tests.support import events
from tests.support.clock import eventually
from tests.support.events import ABSENT
from tests.support.tokens import KnownKeys

EXAMPLES = Path(__file__).parents[2] / "examples" / "blocking"
KEY = base64.b64encode(bytes(32)).decode()

Load = Callable[[str], ModuleType]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.setenv("REFRESH_TOKEN_KEY", KEY)
    monkeypatch.setenv("NETWORK_CLAIM_KEY", "0123456789abcdef")

    def read(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return read


async def ask(functions: BlockingFunctions, event: str, top: dict[str, Any], **user: Any) -> tuple[int, Any]:
    status, body = await functions.respond_to_claims(events.claims(event, top=top, **user))
    return status, body.get("userRecord", body) if status == 200 else body["error"]["message"]


def record(**fields: Any) -> tuple[int, dict[str, Any]]:
    return 200, {**fields, "updateMask": ",".join(fields)}


NOTHING: tuple[int, dict[str, Any]] = (200, {})
SAML = {
    "sign_in_method": "saml.my-provider-id",
    "sign_in_attributes": {"employeeid": "E42", "role": "eng", "groups": ["a"]},
}
SMS = {"sms_type": "SIGN_IN_OR_SIGN_UP", "phone_number": "+15550100"}
Row = tuple[str, str, dict[str, Any], dict[str, Any], tuple[int, Any]]

TABLE: list[Row] = [
    ("allowed_domains", "beforeCreate", {}, {}, NOTHING),
    ("allowed_domains", "beforeCreate", {}, {"email": "Ann@EXAMPLE.COM"}, NOTHING),
    ("allowed_domains", "beforeCreate", {}, {"email": "x@example.com.evil.test"},
     (400, 'Unauthorized email "x@example.com.evil.test"')),
    ("allowed_domains", "beforeCreate", {}, {"email": ABSENT}, (400, "An e-mail address is needed.")),
    ("unverified_email", "beforeCreate", {}, {}, (400, 'Unverified email "ada@example.com"')),
    ("unverified_email", "beforeCreate", {}, {"email_verified": True}, NOTHING),
    ("unverified_email", "beforeCreate", {}, {"email": ABSENT}, NOTHING),
    ("verification_mail", "beforeSignIn", {}, {},
     (400, '"ada@example.com" needs to be verified before access is granted.')),
    ("verification_mail", "beforeSignIn", {}, {"email_verified": True}, NOTHING),
    ("trusted_provider", "beforeCreate", {"sign_in_method": "facebook.com"}, {}, record(emailVerified=True)),
    ("trusted_provider", "beforeCreate", {"sign_in_method": "oidc.facebook.com"}, {}, NOTHING),
    ("refused_networks", "beforeSignIn", {"ip_address": "198.51.100.7"}, {}, (403, "Unauthorized access!")),
    ("refused_networks", "beforeCreate", {"ip_address": "::ffff:198.51.100.7"}, {}, (403, "Unauthorized access!")),
    ("refused_networks", "beforeSignIn", {}, {}, NOTHING),
    ("sign_in_ip", "beforeSignIn", {}, {}, record(sessionClaims={"signInIpAddress": "203.0.113.9"})),
    ("provider_claims", "beforeCreate", SAML, {}, record(customClaims={"eid": "E42"})),
    ("provider_claims", "beforeSignIn", SAML, {},
     record(customClaims={"eid": "E42"}, sessionClaims={"role": "eng", "groups": ["a"]})),
    ("provider_claims", "beforeSignIn", {}, {}, NOTHING),
    ("photo", "beforeCreate", {}, {"photo_url": "https://img.test/unfit.png"},
     record(photoUrl="https://static.example.com/guest.png")),
    ("photo", "beforeCreate", {}, {"photo_url": "https://img.test/fine.png"}, NOTHING),
    ("photo", "beforeCreate", {}, {}, NOTHING),
    ("refresh_tokens", "beforeCreate", {"sign_in_method": "google.com"}, {}, NOTHING),
    ("recaptcha", "beforeSendSms", SMS | {"recaptcha_score": 0.9}, {}, (200, {"recaptchaActionOverride": "ALLOW"})),
    ("recaptcha", "beforeSendSms", SMS | {"recaptcha_score": 0.5}, {}, (200, {"recaptchaActionOverride": "BLOCK"})),
    ("recaptcha", "beforeSendSms", SMS, {}, (200, {"recaptchaActionOverride": "BLOCK"})),
    ("recaptcha", "beforeSendSms", SMS | {"phone_number": "+911234567890", "recaptcha_score": 0.1}, {},
     (200, {"recaptchaActionOverride": "ALLOW"})),
    ("recaptcha", "beforeSendSms", {"sms_type": "MULTI_FACTOR_SIGN_IN", "phone_number": "+911234567890"}, {},
     (200, {"recaptchaActionOverride": "BLOCK"})),
    ("display_name", "beforeCreate", {}, {}, record(displayName="Guest")),
    ("display_name", "beforeCreate", {}, {"display_name": "Ada"}, record(displayName="Ada")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "event", "top", "user", "expected"), TABLE)
async def test_the_example_answers(
    example: Load, name: str, event: str, top: dict[str, Any], user: dict[str, Any], expected: tuple[int, Any]
) -> None:
    """... answers each scenario as it should be answered."""
    async with example(name).functions as functions:
        assert await ask(functions, event, top, **user) == expected


def test_each_example_is_tried() -> None:
    """... tries every example that is there."""
    tried = {row[0] for row in TABLE} | {"sign_in_network", "mounted", "store"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tried


async def test_the_mail_waits_for_the_account(
    example: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """... mails the link once the account is there."""
    asked: list[str] = []

    def link(email: str) -> str:
        asked.append(email)
        if len(asked) == 1:
            raise auth.UserNotFoundError("not yet")
        return "https://links.test/"

    monkeypatch.setattr(auth, "generate_email_verification_link", link)
    async with example("verification_mail").functions as functions:
        assert await ask(functions, "beforeCreate", {}) == NOTHING
    assert "to ada@example.com in fr: https://links.test/" in capsys.readouterr().out


async def test_the_token_is_kept_encrypted(example: Load) -> None:
    """... stores the refresh token so that only the key opens it."""
    module = example("refresh_tokens")
    top = {"sign_in_method": "google.com", "oauth_refresh_token": "RT", "oauth_access_token": "AT"}
    async with module.functions as functions:
        assert await ask(functions, "beforeCreate", top) == NOTHING
    sealed = module.DATABASE["u1", "google.com"]
    assert "RT" not in sealed
    assert module.sealer.open(sealed, "u1", "google.com") == "RT"


async def test_the_network_is_hidden(example: Load) -> None:
    """... puts a hash into the session and no address."""
    async with example("sign_in_network").functions as functions:
        _, found = await ask(functions, "beforeSignIn", {})
    assert found["sessionClaims"]["signInNetwork"]["family"] == 4
    assert "203.0.113" not in json.dumps(found)


async def test_the_mounted_example_serves_both(example: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """... serves the application beside its functions, which refuse what nobody signed."""
    module = example("mounted")
    monkeypatch.setattr(module.functions, "_given_keys", KnownKeys())
    async with TestClient(TestServer(module.application())) as client:
        assert await (await client.get("/")).text() == "The application itself.\n"
        answer = await client.post("/hooks/before-create", json={"data": {"jwt": "a.b.c"}})
        assert answer.status == 401


async def test_the_configuration_is_every_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """... does by configuration what the examples do in code."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    loaded = load(EXAMPLES / "gateway.toml", environment={"REFRESH_TOKEN_KEY": KEY}, backends=False)
    mails: list[Any] = []

    class Directory:
        async def verification_link(self, tenant: str | None, email: str) -> str:
            mails.append(email)
            raise ValueError("enough")

    async with configured_functions(loaded, Directory(), None) as functions:  # type: ignore[arg-type] # as far as asked
        top = {**SAML, "oauth_refresh_token": "RT"}
        expected = record(displayName="Guest", customClaims={"eid": "E42"})
        assert await ask(functions, "beforeCreate", top) == expected
        session = {"role": "eng", "groups": ["a"], "signInIpAddress": "203.0.113.9"}
        found = await ask(functions, "beforeSignIn", SAML, email_verified=True)
        assert found == record(customClaims={"eid": "E42"}, sessionClaims=session)
        assert (await ask(functions, "beforeSignIn", SAML))[0] == 400
        await eventually(lambda: mails)
