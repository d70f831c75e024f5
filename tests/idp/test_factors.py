"""Second factors as administrators write them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.idp import Api

PHONE = {
    "phoneInfo": "+1 (555) 0111",
    "displayName": "mine",
    "mfaEnrollmentId": "f1",
    "enrolledAt": "2023-11-14T22:13:20Z",
}

OUT_OF_RANGE = "INVALID_ARGUMENT : enrolledAt must lie between 1970 and 9999"


@pytest.mark.parametrize("way", ["create", "import", "update"])
async def test_phones(api: Api, way: str) -> None:
    """the provider stores the phones that an administrator creates, imports or updates an account with."""
    if way == "create":
        await api.admin("/accounts", localId="u", mfaInfo=[PHONE])
    elif way == "import":
        await api.admin("/accounts:batchCreate", users=[{"localId": "u", "mfaInfo": [PHONE]}])
    else:
        await api.admin("/accounts", localId="u")
        await api.admin("/accounts:update", localId="u", mfa={"enrollments": [PHONE]})
    assert (await api.account("u"))["mfaInfo"] == [
        {
            "mfaEnrollmentId": "f1",
            "displayName": "mine",
            "enrolledAt": "2023-11-14T22:13:20.000Z",
            "phoneInfo": "+15550111",
            "unobfuscatedPhoneInfo": "+15550111",
        }
    ]
    await api.admin("/accounts:update", localId="u", mfa={})
    assert "mfaInfo" not in await api.account("u")


async def test_ids_and_times_of_their_own(api: Api) -> None:
    """the provider gives a phone without id and time one of each; a time without a zone is UTC."""
    other = {"phoneInfo": "+15550112", "enrolledAt": "2023-11-14T22:13:20"}
    await api.admin("/accounts", localId="u", mfaInfo=[{"phoneInfo": "+15550111"}, other])
    late, early = sorted((await api.account("u"))["mfaInfo"], key=lambda factor: factor["phoneInfo"])
    assert late["mfaEnrollmentId"] != early["mfaEnrollmentId"]
    assert early["enrolledAt"] == "2023-11-14T22:13:20.000Z"


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([{"phoneInfo": "x"}], "INVALID_PHONE_NUMBER : Invalid format."),
        ([PHONE, PHONE], "DUPLICATE_MFA_ENROLLMENT_ID"),
        ([{**PHONE, "enrolledAt": "0001-01-01T00:00:00+23:59"}], OUT_OF_RANGE),
        ([{**PHONE, "enrolledAt": "1969-12-31T23:59:59Z"}], OUT_OF_RANGE),
        ([{**PHONE, "enrolledAt": "9999-12-31T23:59:59-23:59"}], OUT_OF_RANGE),
        ([{**PHONE, "enrolledAt": "yesterday"}], "INVALID_ARGUMENT : enrolledAt must be RFC 3339 text"),
    ],
)
async def test_what_cannot_be_stored(api: Api, factors: list[dict[str, Any]], message: str) -> None:
    """the provider refuses factors that it cannot store."""
    assert (await api.admin("/accounts", localId="u", mfaInfo=factors)).error == message
