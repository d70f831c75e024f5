"""identity-toolkit.md sections 1 and 2: transport, CORS, keys and credentials, envelopes for everything."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from gateway.idp import sign_in
from tests.support.idp import EMAIL, OWNER, PASSWORD, PROJECT, Api, running

SIGN_UP = "/v1/accounts:signUp"
LOOKUP = f"/v1/projects/{PROJECT}/accounts:lookup"


@pytest.mark.parametrize("prefix", ["", "/identitytoolkit.googleapis.com"])
async def test_plain_and_prefixed_paths_are_the_same(api: Api, prefix: str) -> None:
    """the provider answers in the plain form and behind the production host's name."""
    reply = await api.request("POST", f"{prefix}{SIGN_UP}?key=k", json={"email": EMAIL, "password": PASSWORD})
    token = reply.ok["refreshToken"]
    host = "/securetoken.googleapis.com" if prefix else ""
    form = {"grant_type": "refresh_token", "refresh_token": token}
    assert (await api.request("POST", f"{host}/v1/token?key=k", data=form)).status == 200


@pytest.mark.parametrize("prefix", ["", "/www.googleapis.com"])
async def test_version_3_names_are_the_same(api: Api, prefix: str) -> None:
    """the provider answers to the legacy names."""
    base = f"{prefix}/identitytoolkit/v3/relyingparty"
    body = {"email": EMAIL, "password": PASSWORD}
    created = (await api.request("POST", f"{base}/signupNewUser?key=k", json=body)).ok
    assert (await api.request("POST", f"{base}/verifyPassword?key=k", json=body)).status == 200
    by_token = {"idToken": created["idToken"]}
    assert (await api.request("POST", f"{base}/getAccountInfo?key=k", json=by_token)).status == 200
    await api.admin("/accounts", localId="zzzz")
    asked = {"targetProjectId": PROJECT, "maxResults": 1}
    download = await api.request("POST", f"{base}/downloadAccount", json=asked, headers=OWNER)
    assert len(download.ok["users"]) == 1
    assert (await api.request("POST", f"{base}/deleteAccount?key=k", json=by_token)).status == 200


async def test_api_key_is_wanted(api: Api) -> None:
    """the provider wants an API key, any, in the query or the header."""
    reply = await api.request("POST", SIGN_UP, json={})
    assert (reply.status, reply.error) == (403, "The request is missing a valid API key.")
    assert reply.body["error"]["status"] == "PERMISSION_DENIED"
    assert (await api.request("POST", SIGN_UP, json={}, headers={"X-Goog-Api-Key": "k"})).status == 200
    assert (await api.request("POST", SIGN_UP + "?key=", json={})).status == 403


@pytest.mark.parametrize("credential", ["Bearer owner", "bearer OWNER", "Bearer ya29.abc"])
async def test_emulator_credentials_open_privileged_methods(api: Api, credential: str) -> None:
    """the provider believes the emulator's administrator on loopback."""
    reply = await api.request("POST", LOOKUP, json={"localId": ["x"]}, headers={"Authorization": credential})
    assert reply.status == 200


@pytest.mark.parametrize("credential", ["Bearer user", "Basic owner", "owner", "Bearer", "Bearer  ", "Bearer ya28.x"])
async def test_other_credentials_open_nothing(api: Api, credential: str) -> None:
    """the provider refuses every other credential, also where none would have been needed."""
    for path in (LOOKUP, SIGN_UP + "?key=k"):
        reply = await api.request("POST", path, json={}, headers={"Authorization": credential})
        assert (reply.status, reply.body["error"]["status"]) == (401, "UNAUTHENTICATED")


async def test_secret_replaces_the_emulators_credentials() -> None:
    """the provider with a secret believes the secret and nothing else."""
    async with running(admin_secret="s3cret-é") as api:
        for credential, status in (
            ("owner", 401),
            ("ya29.x", 401),
            ("s3cret", 401),
            ("S3CRET-é", 401),
            ("s3cret-é", 200),
        ):
            headers = {"Authorization": f"Bearer {credential}"}
            assert (await api.request("POST", LOOKUP, json={"localId": ["x"]}, headers=headers)).status == status


async def test_owner_opens_nothing_off_loopback() -> None:
    """the provider that listens beyond loopback without a secret lets nobody administrate."""
    async with running(host="0.0.0.0", force=True, password_profile="strong") as api:
        assert (await api.request("POST", LOOKUP, json={}, headers=OWNER)).status == 401


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"X-Forwarded-For": "203.0.113.9"}, 401),
        ({"Via": "1.1 gateway"}, 401),
        ({"Forwarded": "for=203.0.113.9"}, 401),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "http://127.0.0.1:9099"}, 200),
        ({"Origin": "http://[::1]:3000"}, 200),
        ({}, 200),
    ],
)
async def test_privileged_call_from_elsewhere_is_refused(api: Api, extra: dict[str, str], status: int) -> None:
    """the provider takes privileged calls from no foreign page and through no proxy, whatever CORS allows."""
    reply = await api.request("POST", LOOKUP, json={"localId": ["x"]}, headers={**OWNER, **extra})
    assert reply.status == status


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:9099", 200), ("127.0.0.1", 200), ("[::1]:9099", 200), ("demo.localhost", 200), ("10.0.2.2:9099", 200),
     ("idp.example", 200), ("evil.example:9099", 403), ("localhost.evil.example", 403), ("", 403)],
)  # fmt: skip
async def test_rebound_names_are_refused(host: str, status: int) -> None:
    """the provider on loopback serves loopback names, literals and its public name, so that DNS rebinding fails."""
    async with running(public_url="https://idp.example") as api:
        assert (await api.request("GET", "/", headers={"Host": host})).status == status


async def test_project_belongs_to_administrators(api: Api) -> None:
    """the provider lets only administrators name a project, and only its own."""
    message = "INSUFFICIENT_PERMISSION : Only authenticated requests can specify target_project_id."
    assert (await api.request("POST", LOOKUP + "?key=k", json={})).error == message
    assert (await api.call("lookup", targetProjectId=PROJECT)).error == message
    assert (await api.request("POST", LOOKUP, json={})).status == 401
    other = "/v1/projects/demo-other/accounts:lookup"
    assert (await api.request("POST", other, json={}, headers=OWNER)).error == "CONFIGURATION_NOT_FOUND"
    body = {"localId": ["x"], "targetProjectId": PROJECT}
    assert (await api.request("POST", "/v1/accounts:lookup", json=body, headers=OWNER)).status == 200


async def test_tenants_do_not_exist(api: Api) -> None:
    """the provider knows no tenants and creates none by being asked for one."""
    path = f"/v1/projects/{PROJECT}/tenants/t/accounts:lookup"
    reply = await api.request("POST", path, json={}, headers=OWNER)
    assert (reply.status, reply.error) == (404, "TENANT_NOT_FOUND")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/accounts:signInWithGameCenter?key=k",
        "/v2/accounts/passkeySignIn:start?key=k",
        "/v2/accounts:revokeToken?key=k",
    ],
)
async def test_methods_of_the_service_that_are_missing_say_so(api: Api, path: str) -> None:
    """the provider answers 501 for methods that the real service has and it has not."""
    reply = await api.request("POST", path, json={})
    assert (reply.status, reply.body["error"]["status"]) == (501, "NOT_IMPLEMENTED")
    assert reply.error.startswith("NOT_IMPLEMENTED : ")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/accounts:nonsense?key=k"), ("GET", "/v1/accounts:signUp?key=k"), ("GET", "/nowhere"), ("PUT", "/")],
)
async def test_unknown_paths_get_the_envelope(api: Api, method: str, path: str) -> None:
    """the provider answers unknown paths and methods in the envelope."""
    reply = await api.request(method, path)
    assert (reply.status, reply.error, reply.body["error"]["status"]) == (404, "Not Found", "NOT_FOUND")


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'"x"', b"1", b"null", b"\xff", b'{"email": NaN}', b'{"email": "\\ud800"}', b"[" * 5000,
     b'{"email": ["x"]}', b'{"email": {"a": 1}}', b'{"email": true}', b'{"email": ' + b"9" * 5000 + b"}",
     b'{"password": "x", "email": 1e999}', b"{'email': 1}"],
)  # fmt: skip
async def test_malformed_bodies_get_the_envelope(api: Api, body: bytes) -> None:
    """the provider answers whatever is no proper body with 400 in the envelope, and never fails."""
    reply = await api.request("POST", SIGN_UP + "?key=k", data=body, headers={"Content-Type": "application/json"})
    assert reply.status == 400
    assert reply.error.startswith("Invalid JSON payload received. ")
    assert reply.body["error"]["status"] == "INVALID_ARGUMENT"


async def test_oversized_body_gets_the_envelope(api: Api) -> None:
    """the provider reads no body beyond one mebibyte."""
    reply = await api.request("POST", SIGN_UP + "?key=k", data=io.BytesIO(b'{"x":"' + b"x" * 1_048_576 + b'"}'))
    assert (reply.status, reply.error) == (400, "Request payload size exceeds the limit: 1048576 bytes.")


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        ("lookup", "idToken", {"a": 1}),
        ("update", "deleteProvider", {"a": 1}),
        ("update", "deleteAttribute", [None]),
        ("sendOobCode", "returnOobLink", "maybe"),
        ("sendOobCode", "requestType", []),
        ("signInWithPassword", "email", False),
        ("signInWithCustomToken", "token", 2**70),
        ("resetPassword", "oobCode", [1]),
    ],
)
async def test_wrong_types_get_the_envelope(api: Api, method: str, name: str, value: Any) -> None:
    """the provider refuses a field of the wrong type by name."""
    user = await api.sign_up()
    body = {
        "idToken": user["idToken"],
        "email": EMAIL,
        "password": PASSWORD,
        "requestType": "VERIFY_EMAIL",
        name: value,
    }
    reply = await api.call(method, **body)
    assert reply.error.startswith(f"Invalid JSON payload received. /{name} must be ")


async def test_snake_case_is_the_same(api: Api) -> None:
    """the provider takes snake_case names for camelCase ones."""
    user = await api.sign_up()
    assert (await api.call("lookup", id_token=user["idToken"])).status == 200


async def test_malformed_form_gets_the_envelope(api: Api) -> None:
    """the provider answers a form that is no UTF-8 with 400 in the envelope."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"grant_type=%ff", b"grant_type=\xff"):
        reply = await api.request("POST", "/v1/token?key=k", data=body, headers=headers)
        assert reply.error == "Invalid JSON payload received. The body is not a form."


async def test_unexpected_failure_is_logged_and_hidden(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """the provider answers its own failure with a bare 500, and logs no body and no query."""

    def fail(*_: object) -> None:
        raise RuntimeError("inner detail")

    monkeypatch.setattr(sign_in, "normal_email", fail)
    with caplog.at_level(logging.ERROR, logger="gateway.idp.server"):
        reply = await api.request("POST", SIGN_UP + "?key=query-key", json={"email": EMAIL, "password": PASSWORD})
    assert (reply.status, reply.error) == (500, "Internal error encountered.")
    assert "inner detail" not in json.dumps(reply.body)
    (record,) = caplog.records
    assert record.getMessage() == f"POST {SIGN_UP} failed"


async def test_preflight_reflects(api: Api) -> None:
    """the provider lets pages of any origin send what the SDKs send, without credentials."""
    asked = "content-type,x-client-version,x-firebase-gmpid,authorization"
    headers = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
        "Access-Control-Request-Private-Network": "true",
    }
    reply = await api.request("OPTIONS", "/identitytoolkit.googleapis.com/v1/accounts:signUp?key=k", headers=headers)
    assert reply.status == 204
    assert reply.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert reply.headers["Access-Control-Allow-Headers"] == asked
    assert "POST" in reply.headers["Access-Control-Allow-Methods"]
    assert reply.headers["Access-Control-Allow-Private-Network"] == "true"
    assert "Access-Control-Allow-Credentials" not in reply.headers
    assert "Origin" in reply.headers["Vary"]


@pytest.mark.parametrize("path", [SIGN_UP + "?key=k", SIGN_UP, "/nowhere"])
async def test_every_answer_can_be_read_across_origins(api: Api, path: str) -> None:
    """the provider marks errors as readable too, or the SDK would report a network failure; nothing is cached."""
    reply = await api.request("POST", path, json={}, headers={"Origin": "http://localhost:8080"})
    assert reply.headers["Access-Control-Allow-Origin"] == "http://localhost:8080"
    assert reply.headers["Cache-Control"] == "no-store"
    plain = await api.request("POST", path, json={})
    assert "Access-Control-Allow-Origin" not in plain.headers


async def test_odd_headers_do_no_harm(api: Api) -> None:
    """the provider survives header bytes that are no text."""
    headers = {"Origin": "http://é\u00ff", "User-Agent": "\u00e9", "X-Firebase-Locale": "<script>"}
    reply = await api.request("POST", SIGN_UP + "?key=k", json={}, headers=headers)
    assert reply.status == 200
    assert "Access-Control-Allow-Origin" not in reply.headers


async def test_root_reports_ready(api: Api) -> None:
    """the provider answers an emulator's health check."""
    assert (await api.request("GET", "/")).ok["authEmulator"]["ready"] is True


async def test_a_body_that_is_not_in_its_encoding(api: Api) -> None:
    """the provider refuses a body that is not encoded as its header says."""
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    reply = await api.request("POST", "/v1/accounts:signUp?key=k", data=io.BytesIO(b"{}" * 100), headers=headers)
    assert (reply.status, reply.error) == (400, "Invalid JSON payload received. The body cannot be read.")
