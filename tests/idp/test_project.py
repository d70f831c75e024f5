"""identity-toolkit.md section 10.2: the project's configuration and its tenants, as administrators see them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.idp import OWNER, PROJECT, Api, Reply

PROJECTS = f"/identitytoolkit.googleapis.com/v2/projects/{PROJECT}"


async def ask(api: Api, method: str, suffix: str, **body: Any) -> Reply:
    return await api.request(method, PROJECTS + suffix, json=body, headers=OWNER)


async def test_configuration(api: Api) -> None:
    """the provider tells what is switched on, and switches what it is told to."""
    config = (await ask(api, "GET", "/config")).ok
    assert config["mfa"]["state"] == "ENABLED"
    assert config["blockingFunctions"] == {}
    changes = {"mfa": {"state": "DISABLED"}, "emailPrivacyConfig": {"enableImprovedEmailPrivacy": False}}
    config = (await ask(api, "PATCH", "/config?updateMask=mfa", **changes)).ok
    assert config["mfa"]["state"] == "DISABLED"
    assert config["emailPrivacyConfig"]["enableImprovedEmailPrivacy"] is True
    config = (await ask(api, "PATCH", "/config?updateMask=emailPrivacyConfig", **changes)).ok
    assert config["emailPrivacyConfig"]["enableImprovedEmailPrivacy"] is False
    config = (await ask(api, "PATCH", "/config", mfa={"state": "MANDATORY"})).ok
    assert config["mfa"]["state"] == "ENABLED"
    reply = await ask(api, "PATCH", "/config?updateMask=mfa", mfa={"state": "PERHAPS"})
    assert "mfa.state" in reply.error


async def test_a_tenants_life(api: Api) -> None:
    """the provider makes, shows, changes, lists and deletes tenants."""
    made = (await ask(api, "POST", "/tenants", displayName="acme", mfaConfig={"state": "ENABLED"})).ok
    tenant = made["tenantId"]
    assert tenant.startswith("acme-")
    assert made["name"] == f"projects/{PROJECT}/tenants/{tenant}"
    assert made["mfaConfig"] == {"state": "ENABLED", "enabledProviders": ["PHONE_SMS"]}
    changed = (
        await ask(api, "PATCH", f"/tenants/{tenant}?updateMask=allowPasswordSignup", allowPasswordSignup=True)
    ).ok
    assert (changed["allowPasswordSignup"], changed["displayName"]) == (True, "acme")
    cleared = (await ask(api, "PATCH", f"/tenants/{tenant}?updateMask=mfaConfig.state")).ok
    assert "mfaConfig" not in cleared
    privacy = {"enableImprovedEmailPrivacy": False}
    changed = (await ask(api, "PATCH", f"/tenants/{tenant}", emailPrivacyConfig=privacy)).ok
    assert changed["emailPrivacyConfig"] == privacy
    assert (await ask(api, "GET", f"/tenants/{tenant}")).ok == changed
    assert (await ask(api, "DELETE", f"/tenants/{tenant}")).ok == {}
    for method in ("GET", "PATCH", "DELETE"):
        reply = await ask(api, method, f"/tenants/{tenant}")
        assert (reply.status, reply.error) == (404, "TENANT_NOT_FOUND")


async def test_pages_of_tenants(api: Api) -> None:
    """the provider lists tenants page by page, each once."""
    made = {(await ask(api, "POST", "/tenants")).ok["tenantId"] for _ in range(3)}
    first = (await ask(api, "GET", "/tenants?pageSize=2")).ok
    second = (await ask(api, "GET", f"/tenants?pageSize=2&pageToken={first['nextPageToken']}")).ok
    assert "nextPageToken" not in second
    assert {tenant["tenantId"] for tenant in first["tenants"] + second["tenants"]} == made


@pytest.mark.parametrize("name", ["abc", "1abcd", "with space", "x" * 21])
async def test_names_that_cannot_begin_an_id(api: Api, name: str) -> None:
    """the provider refuses a display name that an id cannot begin with."""
    assert (await ask(api, "POST", "/tenants", displayName=name)).error.startswith("INVALID_DISPLAY_NAME : ")


async def test_providers_of_identities_are_not_offered(api: Api) -> None:
    """the provider answers 501 for configurations of federated providers, which it has not."""
    assert (await ask(api, "GET", "/oauthIdpConfigs")).status == 501


FUNCTION = "https://functions.test/before"
TRIGGERS = {event: {"functionUri": f"{FUNCTION}/{event}"} for event in ("beforeCreate", "beforeSignIn")}


async def test_one_function_is_replaced_alone(api: Api) -> None:
    """the provider replaces what the mask names, in either spelling, and leaves the other functions and flags."""
    flags = {"idToken": True, "refreshToken": True}
    body = {"triggers": TRIGGERS, "forwardInboundCredentials": flags}
    await ask(api, "PATCH", "/config?updateMask=blockingFunctions", blockingFunctions=body)
    other = {"beforeCreate": {"functionUri": FUNCTION}}

    async def patched(mask: str, **blocking: Any) -> tuple[dict[str, str], dict[str, bool]]:
        reply = await ask(api, "PATCH", f"/config?updateMask={mask}", blockingFunctions=blocking)
        found = reply.ok["blockingFunctions"]
        uris = {event: trigger["functionUri"] for event, trigger in found.get("triggers", {}).items()}
        return uris, found.get("forwardInboundCredentials", {})

    both = {"beforeCreate": FUNCTION, "beforeSignIn": f"{FUNCTION}/beforeSignIn"}
    for mask in ("blockingFunctions.triggers.beforeCreate", "blocking_functions.triggers.before_create.function_uri"):
        assert await patched(mask, triggers=other) == (both, flags)
    mask = "blockingFunctions.forwardInboundCredentials.idToken,blockingFunctions.forwardInboundCredentials.other"
    assert await patched(mask) == (both, {"refreshToken": True})
    assert await patched("blockingFunctions.triggers.beforeSignIn") == (other_of(both), {"refreshToken": True})
    assert await patched("blocking_functions.triggers", triggers=TRIGGERS) == (
        {event: trigger["functionUri"] for event, trigger in TRIGGERS.items()},
        {"refreshToken": True},
    )
    assert await patched("mfa.state,other") == await patched("signIn")
    assert await patched("blockingFunctions") == ({}, {})
    reply = await ask(api, "PATCH", "/config?updateMask=blockingFunctions.triggers.beforeTea", blockingFunctions={})
    assert reply.error == "INVALID_BLOCKING_FUNCTION : ((Event type is invalid.))"


def other_of(uris: dict[str, str]) -> dict[str, str]:
    return {event: uri for event, uri in uris.items() if event != "beforeSignIn"}


async def test_several_accounts_with_one_address_are_not_offered(api: Api) -> None:
    """the provider says so when it is told to allow duplicate addresses, and changes nothing."""
    changes = {"signIn": {"allowDuplicateEmails": True}, "mfa": {"state": "DISABLED"}}
    reply = await ask(api, "PATCH", "/config", **changes)
    assert reply.status == 501
    config = (await ask(api, "PATCH", "/config?updateMask=emailPrivacyConfig", **changes)).ok
    assert (config["signIn"]["allowDuplicateEmails"], config["mfa"]["state"]) == (False, "ENABLED")
