"""From ``[functions]`` to answers: every ready-made function by configuration alone."""

from __future__ import annotations

import base64
import logging
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.blocking import Event
from gateway.blocking.ready_made import TokenSealer
from gateway.clock import SystemClock
from gateway.config.load import Loaded, load
from gateway.core.client_ip import AddressResolver, parse_address
from gateway.errors import ConfigError
from gateway.policy.baselines import network_claim
from gateway.wiring.functions import (
    FunctionsServer,
    configured_functions,
    development_audience,
    development_triggers,
    in_language,
    load_functions,
    load_object,
)
from gateway.wiring.provider import provider_of
from tests.support import events, forge
from tests.support.clock import FakeClock, eventually
from tests.support.events import ABSENT, PROJECT, URL
from tests.support.idp import claims
from tests.support.issuer import KeyServer
from tests.support.ports import free_port

KEY = base64.b64encode(bytes(32)).decode()
HOOKS = """
    from gateway.blocking import BlockingFunctions, HttpsError
    seen = []
    functions = BlockingFunctions("demo-project")

    @functions.before_create
    def own(user, context):
        seen.append((user.display_name, user.email_verified))
        return {"custom_claims": {"own": True}}

    def judge(url):
        return "good" in url

    def save(uid, sealed, provider):
        seen.append((uid, sealed, provider))

    def calendar(user, context):
        seen.append(context.credential.access_token)

    async def send(email, link, locale):
        seen.append((email, link, locale))

    number = 7
"""


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A module of somebody's, beside the configuration; gives its list of what it saw."""
    (tmp_path / "my_hooks.py").write_text(textwrap.dedent(HOOKS))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_hooks", raising=False)
    yield load_object("my_hooks:seen", "test", tmp_path)
    sys.modules.pop("my_hooks", None)


Read = Callable[..., Loaded]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(text: str, head: str = "", **more: str) -> Loaded:
        lines = [f"{name} = {value}" for name, value in more.items()]
        firebase = f'[firebase]\nproject_id = "{PROJECT}"\n{head}'
        tables = f'{firebase}\n[functions]\nlisten = "127.0.0.1:0"\naudience = "{URL}"\n'
        (tmp_path / "gateway.toml").write_text("\n".join([tables, *lines, textwrap.dedent(text)]))
        return load(tmp_path / "gateway.toml", environment={}, backends=False)

    return read


class Answers:
    """Asks configured functions, whose events need no signature here."""

    def __init__(self, loaded: Loaded) -> None:
        self.functions = configured_functions(loaded, None, None)

    async def __call__(self, event: str = "beforeCreate", **fields: Any) -> tuple[int, Any]:
        status, body = await self.functions.respond_to_claims(events.claims(event, **fields))
        return status, body.get("userRecord", body) if status == 200 else body["error"]["message"]


async def test_who_may_register(read: Read) -> None:
    """... refuses by domain, by verification and by network, after a trusted provider had its say."""
    loaded = read(
        """
        allowed_domains = ["example.com"]
        refuse_unverified_email = true
        trusted_providers = ["facebook.com"]
        refused_networks = ["198.51.100.0/24"]
        """
    )
    ask = Answers(loaded)
    async with ask.functions:
        assert await ask() == (400, 'Unverified email "ada@example.com"')
        facebook = {"sign_in_method": "facebook.com"}
        assert await ask(top=facebook) == (200, {"emailVerified": True, "updateMask": "emailVerified"})
        assert await ask(top=facebook, email="a@evil.test") == (400, 'Unauthorized email "a@evil.test"')
        for event in ("beforeCreate", "beforeSignIn"):
            assert await ask(event, top={"ip_address": "198.51.100.7"}) == (403, "Unauthorized access!")
        assert await ask("beforeSignIn") == (200, {})


async def test_what_is_written_down(read: Read, hooks: list[Any]) -> None:
    """... names, screens, maps, stores and tracks as configured; own functions run last and see it all."""
    loaded = read(
        f"""
        display_name = "Guest"
        sign_in_ip = "plain"
        handlers = "my_hooks"
        [functions.photo]
        judge = "my_hooks:judge"
        replacement = "https://static.test/guest.png"
        [functions.refresh_tokens]
        save = "my_hooks:save"
        key = "{KEY}"
        follow_up = "my_hooks:calendar"
        providers = ["oidc.mine"]
        [[functions.claims]]
        provider = "oidc.mine"
        custom = {{ eid = "employeeid" }}
        session = {{ role = "role" }}
        """
    )
    top = {
        "sign_in_method": "oidc.mine", "sign_in_attributes": {"employeeid": "E42", "role": "eng"},
        "oauth_refresh_token": "RT", "oauth_access_token": "AT",
    }  # fmt: skip
    ask = Answers(loaded)
    async with ask.functions:
        status, record = await ask(top=top, photo_url="https://img.test/bad.png")
        assert (status, record) == (
            200,
            {
                "displayName": "Guest",
                "photoUrl": "https://static.test/guest.png",
                "customClaims": {"eid": "E42", "own": True},
                "updateMask": "displayName,photoUrl,customClaims",
            },
        )
        session = {"role": "eng", "signInIpAddress": "203.0.113.9"}
        assert (await ask("beforeSignIn", top=top))[1]["sessionClaims"] == session
    stored = hooks[0]
    assert TokenSealer([KEY]).open(stored[1], "u1", "oidc.mine") == "RT"
    assert hooks[1:] == [("Guest", False), "AT"]


async def test_the_private_form_of_the_address(read: Read) -> None:
    """... hides the address of a sign-in under the key of the network policy."""
    key = "0123456789abcdef"
    ask = Answers(read(f'sign_in_ip = "network"\n[network]\nclaim_key = "{key}"'))
    address = parse_address("203.0.113.9")
    assert address is not None
    async with ask.functions:
        claims = (await ask("beforeSignIn"))[1]["sessionClaims"]
    assert claims == {"signInNetwork": network_claim(address, key.encode(), None)}


@pytest.mark.parametrize(("otherwise", "body"), [("BLOCK", {"recaptchaActionOverride": "BLOCK"}), ("verdict", {})])
async def test_recaptcha_is_overruled(read: Read, otherwise: str, body: Any) -> None:
    """... answers the configured events by the configured rules."""
    ask = Answers(
        read(
            f"""
            recaptcha_otherwise = "{otherwise}"
            recaptcha_events = ["before_sms", "before_email"]
            [[functions.recaptcha]]
            action = "ALLOW"
            phone_prefixes = ["+91"]
            types = ["SIGN_IN_OR_SIGN_UP"]
            [[functions.recaptcha]]
            action = "ALLOW"
            score_above = 0.5
            """
        )
    )
    async with ask.functions:
        top = {"phone_number": "+911234567890", "sms_type": "SIGN_IN_OR_SIGN_UP", "recaptcha_score": 0.1}
        assert await ask("beforeSendSms", top=top) == (200, {"recaptchaActionOverride": "ALLOW"})
        assert await ask("beforeSendEmail", top={"recaptcha_score": 0.2}) == (200, body)


async def test_rules_for_messages_leave_mails_alone(read: Read) -> None:
    """... blocks no mail by rules that are about text messages, unless it is told to."""
    ask = Answers(read('[[functions.recaptcha]]\naction = "ALLOW"\nscore_above = 0.5\n'))
    async with ask.functions:
        assert ask.functions.events == (Event.BEFORE_SEND_SMS,)
        assert await ask("beforeSendSms") == (200, {"recaptchaActionOverride": "BLOCK"})


class Directory:
    """Makes links for accounts that it knows."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.asked = 0

    async def verification_link(self, tenant: str | None, email: str) -> str | None:
        self.asked += 1
        return f"https://links.test/?oobCode=c&lang=en&tenant={tenant}" if self.asked > 1 else None


async def test_the_verification_mail(read: Read, hooks: list[Any]) -> None:
    """... lets people register, mails them a link in their language once they exist, and makes them wait for it."""
    loaded = read('[functions.verification_mail]\nsend = "my_hooks:send"\n')
    directory = Directory()
    ask = Answers(loaded)
    ask.functions = configured_functions(loaded, directory, None)  # type: ignore[arg-type] # has what is asked of it
    async with ask.functions:
        assert await ask() == (200, {})
        assert (await ask("beforeSignIn"))[0] == 400
        assert await ask("beforeSignIn", email_verified=True) == (200, {})
        assert await ask(email=ABSENT) == (200, {})
        await eventually(lambda: hooks)
    assert hooks == [("ada@example.com", "https://links.test/?oobCode=c&tenant=None&lang=fr", "fr")]


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("fr", "https://l.test/?a=b%20c&lang=fr#x"), ("sv-SE", "https://l.test/?a=b%20c&lang=sv-SE#x"),
        (None, None), ("x&y=z", None), ("", None), ("\r\n", None),
    ],
)  # fmt: skip
def test_a_link_leads_to_a_page_in_a_language(locale: str | None, expected: str | None) -> None:
    """... asks for the page in the user's language, if that is one."""
    link = "https://l.test/?lang=en&a=b%20c#x"
    assert in_language(link, locale).replace("+", "%20") == (expected or link)


async def test_the_listener_answers_signed_events(read: Read, tmp_path: Path) -> None:
    """... listens where it is told, with certificates fetched ahead, and says when the address is taken."""
    async with KeyServer() as issuer:
        issuer.headers["Cache-Control"] = "max-age=60"
        loaded = read('display_name = "Guest"', f'endpoints = {{ id_token_certificates = "{issuer.url}" }}')
        server = FunctionsServer(loaded, FakeClock(), None)
        await server.start()
        try:
            assert issuer.fetches == 1
            now = server.functions._clock.now()
            async with aiohttp.ClientSession() as session:
                answer = await session.post(server.url, data=events.body(events.token(now=now)), headers={
                    "Content-Type": "application/json"
                })  # fmt: skip
                assert (await answer.json())["userRecord"]["displayName"] == "Guest"
                forged = await session.post(server.url, json={"data": {"jwt": forge.id_token(now=now)}})
                assert forged.status == 401
            assert server.functions.fault() is None
            port = int(server.url.rpartition(":")[2])
            taken = read(f'display_name = "G"\n[listen]\npublic = "127.0.0.1:{free_port()}"')
            again = FunctionsServer(taken, FakeClock(), None)
            again._loaded = load(
                tmp_path / "gateway.toml",
                environment={},
                overrides={"functions.listen": f"127.0.0.1:{port}"},
                backends=False,
            )
            with pytest.raises(ConfigError, match="cannot listen"):
                await again.start()
            await again.close()
        finally:
            await server.close()
            await server.close()


def test_each_configured_event_is_registered(read: Read, hooks: list[Any]) -> None:
    """... registers with the embedded provider exactly the events that have a function."""
    url = "http://127.0.0.1:0/"
    mail = read('[functions.verification_mail]\nsend = "my_hooks:send"\n')
    assert development_triggers(mail) == {"beforeCreate": url, "beforeSignIn": url}
    assert development_triggers(read('display_name = "Guest"')) == {"beforeCreate": url}


async def test_the_embedded_provider_calls_its_own_gateway(tmp_path: Path) -> None:
    """... has the embedded provider call the configured functions over HTTP, in development."""
    port, provider_port = free_port(), free_port()
    (tmp_path / "gateway.toml").write_text(
        f'[firebase]\nproject_id = "{PROJECT}"\nemulator = "127.0.0.1:{provider_port}"\n'
        f'[provider]\nlisten = "127.0.0.1:{provider_port}"\n'
        f'[functions]\nlisten = "127.0.0.1:{port}"\nallowed_domains = ["example.com"]\nsign_in_ip = "plain"\n'
    )
    described = load(tmp_path / "gateway.toml", environment={}, backends=False)
    overrides = development_audience(described.config)
    loaded = load(tmp_path / "gateway.toml", environment={}, overrides=overrides, backends=False)
    assert development_triggers(loaded) == dict.fromkeys(("beforeCreate", "beforeSignIn"), f"http://127.0.0.1:{port}/")
    provider = provider_of(loaded, AddressResolver(()))
    await provider.start()
    server = FunctionsServer(loaded, SystemClock(), None)
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            url = f"{provider.url}/identitytoolkit.googleapis.com/v1/accounts:signUp?key=k"
            body = {"email": "ada@example.com", "password": "correct horse", "returnSecureToken": True}
            answer = await (await session.post(url, json=body)).json()
            assert claims(answer["idToken"])["signInIpAddress"] == "127.0.0.1"
            refused = await (await session.post(url, json=body | {"email": "x@evil.test"})).json()
            assert 'Unauthorized email "x@evil.test"' in refused["error"]["message"]
    finally:
        await server.close()
        await provider.close()
    off = load(None, environment={}, overrides={"firebase.project_id": PROJECT}, backends=False)
    assert (development_audience(off.config), development_triggers(off)) == ({}, {})


async def test_the_official_emulator_needs_its_switch(read: Read, caplog: pytest.LogCaptureFixture) -> None:
    """... takes unsigned events when the configuration takes unsigned tokens, and not otherwise."""
    caplog.set_level(logging.WARNING)
    token = events.unsigned(events.claims(now=time.time()))
    for head, status in (('emulator = "127.0.0.1:9099"\nunsigned_tokens = true', 200), ("", 401)):
        functions = configured_functions(read('display_name = "Guest"', head), None, None)
        assert (await functions.respond(token))[0] == status
        await functions.close()


MISSING: list[tuple[str, str, str]] = [
    ("module", 'handlers = "no_such_module"', "$.functions.handlers"),
    ("name", 'handlers = "my_hooks:nothing"', "$.functions.handlers"),
    ("wrong kind", 'handlers = "my_hooks:number"', "$.functions.handlers"),
    ("no default name", 'handlers = "textwrap"', "$.functions.handlers"),
    ("no colon", '[functions.photo]\njudge = "judge"\nreplacement = "https://g.test/"', "$.functions.photo.judge"),
    ("no function", '[functions.photo]\njudge = "my_hooks:number"\nreplacement = "https://g.test/"',
     "$.functions.photo.judge"),
    ("http service", '[functions.photo]\njudge = "http://a.test"\nreplacement = "https://g.test/"',
     "$.functions.photo.judge"),
    ("short key", '[functions.refresh_tokens]\nsave = "my_hooks:save"\nkey = "x"', "$.functions.refresh_tokens.key"),
    ("relative module", 'handlers = ".hooks:functions"', "$.functions.handlers"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "where"), [case[1:] for case in MISSING], ids=[case[0] for case in MISSING])
def test_what_cannot_be_loaded_is_told(read: Read, hooks: list[Any], text: str, where: str) -> None:
    """... names the setting whose function is not there, before anything listens."""
    with pytest.raises(ConfigError) as raised:
        configured_functions(read(text), None, None)
    assert raised.value.where == where


def test_a_modules_own_fault_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """... shows where a module fails that exists, instead of saying that there is none."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "broken_hooks.py").write_text("import surely_not_installed\n")
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed"):
        load_functions("broken_hooks", "x", tmp_path)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('allowed_domains = ["*.example.com"]', "allowed_domains"),
        ('trusted_providers = ["password"]', "trusted_providers"),
        ('display_name = " "', "display_name"),
        ('[[functions.claims]]\nprovider = "saml.x"\ncustom = { sub = "uid" }', "claims"),
        ('[[functions.recaptcha]]\naction = "ALLOW"\nscore_above = 5.0', "recaptcha"),
        ('[functions.photo]\njudge = "my_hooks:judge"\nreplacement = "guest.png"', "photo"),
        ('[functions.verification_mail]\nsend = "smtp://127.0.0.1"\nsender = "nobody"', "verification_mail.sender"),
    ],
)
def test_what_a_function_refuses_is_named_by_its_key(read: Read, hooks: list[Any], text: str, where: str) -> None:
    """... names the key of the file when a ready-made function refuses its setting."""
    assert not hooks
    with pytest.raises(ConfigError) as raised:
        configured_functions(read(text), None, None)
    assert raised.value.where == f"$.functions.{where}"
