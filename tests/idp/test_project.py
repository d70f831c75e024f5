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
