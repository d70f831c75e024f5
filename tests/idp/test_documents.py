"""identity-toolkit.md sections 5 and 9."""

from __future__ import annotations

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.types import Options

from gateway.idp.signing_keys import PUBLISH_AHEAD
from gateway.tokens.mint import local_kid
from tests.support.idp import Api, claims

ACCOUNT = "securetoken@system.gserviceaccount.com"
ID_CERTIFICATES = f"/robot/v1/metadata/x509/{ACCOUNT}"
ID_KEYS = f"/service_accounts/v1/jwk/{ACCOUNT}"
COOKIE_CERTIFICATES = "/identitytoolkit/v3/relyingparty/publicKeys"
COOKIE_KEYS = "/v1/sessionCookiePublicKeys"


@pytest.mark.parametrize(
    "path",
    [ID_CERTIFICATES, "/www.googleapis.com" + ID_CERTIFICATES, ID_KEYS, "/www.googleapis.com" + ID_KEYS,
     COOKIE_CERTIFICATES, "/www.googleapis.com" + COOKIE_CERTIFICATES, COOKIE_KEYS,
     "/identitytoolkit.googleapis.com" + COOKIE_KEYS],
)  # fmt: skip
async def test_keys_are_published_with_their_lifetime(api: Api, path: str) -> None:
    """the provider publishes both key sets in both forms at both addresses, with a max-age that verifiers keep."""
    reply = await api.request("GET", path)
    assert reply.headers["Cache-Control"] == "public, max-age=21600, must-revalidate, no-transform"
    if "keys" in reply.ok:
        assert all(set(key) == {"kty", "alg", "use", "kid", "n", "e"} for key in reply.ok["keys"])
    else:
        for kid, pem in reply.ok.items():
            assert local_kid(x509.load_pem_x509_certificate(pem.encode())) == kid
    assert reply.ok


async def test_two_sets_never_share_a_key(api: Api) -> None:
    """the provider signs ID tokens and cookies with different keys, the same in certificate and JWK form."""
    id_kids = set((await api.request("GET", ID_CERTIFICATES)).ok)
    cookie_kids = set((await api.request("GET", COOKIE_CERTIFICATES)).ok)
    assert not id_kids & cookie_kids
    assert {key["kid"] for key in (await api.request("GET", ID_KEYS)).ok["keys"]} == id_kids
    assert {key["kid"] for key in (await api.request("GET", COOKIE_KEYS)).ok["keys"]} == cookie_kids


async def test_rotation_keeps_old_tokens_verifiable(api: Api) -> None:
    """the provider's old tokens verify by the published certificates all the way through a rotation."""
    user = await api.sign_up()

    async def verify(token: str) -> str:
        certificates = (await api.request("GET", ID_CERTIFICATES)).ok
        kid = str(jwt.get_unverified_header(token)["kid"])
        key = x509.load_pem_x509_certificate(certificates[kid].encode()).public_key()
        assert isinstance(key, RSAPublicKey)
        options: Options = {"verify_exp": False, "verify_iat": False}
        jwt.decode(token, key, algorithms=["RS256"], audience="demo-idp", options=options)
        return kid

    old = await verify(user["idToken"])
    await api.provider.rotate_keys()
    api.clock.advance(PUBLISH_AHEAD - 1)
    last = (await api.refresh(user["refreshToken"])).ok["id_token"]
    assert await verify(last) == old
    api.clock.advance(1)
    new = (await api.refresh(user["refreshToken"])).ok["id_token"]
    assert await verify(new) != old
    api.clock.advance(claims(last)["exp"] - api.clock.now())
    assert await verify(last) == old
    assert (await api.call("lookup", idToken=new)).status == 200


async def test_password_policy_is_what_is_enforced(api: Api) -> None:
    """the provider publishes the policy in the version that the SDK reads."""
    policy = (await api.request("GET", "/v2/passwordPolicy?key=k")).ok
    assert policy["schemaVersion"] == 1
    assert policy["customStrengthOptions"] == {"minPasswordLength": 6, "maxPasswordLength": 4096}
    assert policy["enforcementState"] == "OFF"


async def test_recaptcha_is_off(api: Api) -> None:
    """the provider tells the SDK to leave reCAPTCHA alone, in the shape that does not make it throw."""
    asked = {"key": "k", "clientType": "CLIENT_TYPE_WEB", "version": "RECAPTCHA_ENTERPRISE"}
    config = (await api.request("GET", "/identitytoolkit.googleapis.com/v2/recaptchaConfig", params=asked)).ok
    assert len(config["recaptchaKey"].split("/")) == 4
    assert {state["enforcementState"] for state in config["recaptchaEnforcementState"]} == {"OFF"}
    parameters = (await api.request("GET", "/v1/recaptchaParams?key=k")).ok
    assert set(parameters) == {"kind", "recaptchaStoken", "recaptchaSiteKey"}


async def test_project_document(api: Api) -> None:
    """the provider names its project number, the same as in refreshed tokens, and the authorized domains."""
    project = (await api.request("GET", "/v1/projects?key=k")).ok
    assert "localhost" in project["authorizedDomains"]
    user = await api.sign_up()
    assert (await api.refresh(user["refreshToken"])).ok["project_id"] == project["projectId"]
