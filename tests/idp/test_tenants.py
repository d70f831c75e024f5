"""identity-toolkit.md sections 1 and 10.2: tenants are name spaces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.idp import EMAIL, OWNER, PASSWORD, PROJECT, Api, claims, running

TENANTS = f"/identitytoolkit.googleapis.com/v2/projects/{PROJECT}/tenants"
OPEN = {"displayName": "acme", "allowPasswordSignup": True, "enableEmailLinkSignin": True}


async def make(api: Api, **config: Any) -> str:
    """A tenant that people may sign in to by password."""
    tenant: str = (await api.request("POST", TENANTS, json=OPEN | config, headers=OWNER)).ok["tenantId"]
    return tenant


async def sign_up(api: Api, tenant: str, email: str = EMAIL) -> dict[str, Any]:
    return (await api.call("signUp", email=email, password=PASSWORD, tenantId=tenant)).ok


async def test_the_same_address_in_two_tenants(api: Api) -> None:
    """the provider keeps the same address in the project and in two tenants apart."""
    acme, other = await make(api), await make(api)
    users = [await api.sign_up(), await sign_up(api, acme), await sign_up(api, other)]
    assert len({user["localId"] for user in users}) == 3
    tenants = [claims(user["idToken"])["firebase"].get("tenant") for user in users]
    assert tenants == [None, acme, other]
    signed_in = (await api.call("signInWithPassword", email=EMAIL, password=PASSWORD, tenantId=acme)).ok
    assert signed_in["localId"] == users[1]["localId"]
    records = (await api.admin(f"/tenants/{acme}/accounts:lookup", email=[EMAIL])).ok["users"]
    assert [(record["localId"], record["tenantId"]) for record in records] == [(users[1]["localId"], acme)]
    assert "users" not in (await api.admin("/accounts:lookup", localId=[users[1]["localId"]])).ok


async def test_tokens_lead_to_their_tenant(api: Api) -> None:
    """the provider finds the tenant in an ID token and by a refresh token, and refuses one of another tenant."""
    acme, other = await make(api), await make(api)
    user = await sign_up(api, acme)
    assert (await api.call("lookup", idToken=user["idToken"])).ok["users"][0]["tenantId"] == acme
    refreshed = (await api.refresh(user["refreshToken"])).ok
    assert claims(refreshed["id_token"])["firebase"]["tenant"] == acme
    reply = await api.call("lookup", idToken=user["idToken"], tenantId=other)
    assert reply.error == "TENANT_ID_MISMATCH"
    body = {"grantType": "refresh_token", "refreshToken": user["refreshToken"]}
    reply = await api.request("POST", "/v1/token?key=k", json=body | {"tenantId": other})
    assert reply.error == "TENANT_ID_MISMATCH"
    assert (await api.request("POST", "/v1/token?key=k", json=body | {"tenantId": acme})).ok["user_id"]
    own = await api.sign_up()
    assert (await api.call("lookup", idToken=own["idToken"], tenantId=acme)).error == "TENANT_ID_MISMATCH"
    assert (await api.call("lookup", idToken="nonsense")).error == "INVALID_ID_TOKEN"
    assert (await api.refresh("nonsense")).error == "INVALID_REFRESH_TOKEN"


async def test_new_tenants_let_nobody_in(api: Api) -> None:
    """the provider has every way to sign in off in a new tenant, and all of them in one that is switched off."""
    closed = await make(api, allowPasswordSignup=False, enableEmailLinkSignin=False)
    body = {"email": EMAIL, "password": PASSWORD, "tenantId": closed}
    assert (await api.call("signUp", **body)).error == "OPERATION_NOT_ALLOWED"
    assert (await api.call("signUp", tenantId=closed)).error == "ADMIN_ONLY_OPERATION"
    assert (await api.call("signInWithPassword", **body)).error == "PASSWORD_LOGIN_DISABLED"
    reply = await api.call("sendOobCode", requestType="EMAIL_SIGNIN", email=EMAIL, tenantId=closed)
    assert reply.error == "OPERATION_NOT_ALLOWED"
    for method in ("sendVerificationCode", "signInWithPhoneNumber"):
        assert (await api.call(method, tenantId=closed)).error == "UNSUPPORTED_TENANT_OPERATION"
    off = await make(api, disableAuth=True)
    assert (await api.call("signUp", **{**body, "tenantId": off})).error == "PROJECT_DISABLED"


async def test_mailed_links_know_their_tenant(api: Api) -> None:
    """the provider's links name the tenant, and their page acts in it."""
    acme = await make(api)
    user = await sign_up(api, acme)
    await api.call("sendOobCode", requestType="VERIFY_EMAIL", idToken=user["idToken"])
    link = next(iter(api.provider.mailbox)).link
    assert f"tenantId={acme}" in link
    path = "/emulator/action?" + link.partition("?")[2]
    assert (await api.request("GET", path)).status == 200
    (record,) = (await api.admin(f"/tenants/{acme}/accounts:lookup", email=[EMAIL])).ok["users"]
    assert record["emailVerified"] is True


async def test_unknown_tenants(api: Api) -> None:
    """the provider makes no tenant on the way."""
    reply = await api.call("signUp", email=EMAIL, password=PASSWORD, tenantId="nobody")
    assert reply.error == "INVALID_TENANT_ID"
    reply = await api.admin("/tenants/nobody/accounts:lookup", localId=["x"])
    assert (reply.status, reply.error) == (404, "TENANT_NOT_FOUND")
    acme = await make(api)
    reply = await api.admin(f"/tenants/{acme}/accounts:lookup", localId=["x"], tenantId="other")
    assert reply.error == "TENANT_ID_MISMATCH"


async def test_deleted_tenant(api: Api) -> None:
    """the provider forgets a tenant with everybody in it."""
    acme = await make(api)
    user = await sign_up(api, acme)
    (await api.request("DELETE", f"{TENANTS}/{acme}", headers=OWNER)).ok  # noqa: B018 - asserts success
    assert (await api.request("GET", f"{TENANTS}/{acme}", headers=OWNER)).status == 404
    assert (await api.call("lookup", idToken=user["idToken"], tenantId=acme)).error == "INVALID_TENANT_ID"
    assert (await api.refresh(user["refreshToken"])).status == 400


async def test_tenants_are_kept(tmp_path: Path) -> None:
    """the provider finds its tenants and their people again after a restart."""
    async with running(database=tmp_path / "kept.sqlite3") as api:
        acme = await make(api)
        user = await sign_up(api, acme)
    async with running(database=tmp_path / "kept.sqlite3") as api:
        assert (await api.refresh(user["refreshToken"])).status == 200
        reply = await api.call("signInWithPassword", email=EMAIL, password=PASSWORD, tenantId=acme)
        assert reply.ok["localId"] == user["localId"]


@pytest.mark.parametrize(("bound", "error"), [(True, None), (False, "TENANT_ID_MISMATCH")])
async def test_custom_tokens(api: Api, bound: bool, error: str | None) -> None:
    """the provider takes a custom token in the tenant that it names, and nowhere else."""
    acme = await make(api)
    token = '{"uid":"x","tenant_id":"%s"}' % acme if bound else '{"uid":"x"}'  # noqa: UP031 - braces
    reply = await api.call("signInWithCustomToken", token=token, tenantId=acme)
    if error is None:
        assert claims(reply.ok["idToken"])["firebase"]["tenant"] == acme
    else:
        assert reply.error == error


async def test_functions_are_the_projects(api: Api) -> None:
    """the provider calls the project's functions for a tenant's people, and tells them the tenant."""
    seen: list[Mapping[str, Any]] = []

    async def note(event: Mapping[str, Any]) -> Mapping[str, Any]:
        seen.append(event)
        return {}

    async with running(hooks={"before_sign_in": note}) as hooked:
        acme = await make(hooked)
        await sign_up(hooked, acme)
    (event,) = seen
    assert (event["tenant_id"], event["user_record"]["tenant_id"]) == (acme, acme)
