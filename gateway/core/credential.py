"""Exactly one bearer credential, or none.

The rule this file obeys (``threats.md`` row 12, RFC 6750 section 2.1, RFC 9110 section 11.6.2): a credential is taken
from the ``Authorization`` field alone, never from a query or body; the field stands once; its value is ``Bearer``, one
space and one token in the ``b64token`` alphabet that our tokens use. More than one credential is refused rather than
one of them chosen, since a backend might choose the other.
"""

from __future__ import annotations

import re
from typing import Final

from gateway import reasons
from gateway.core.context import Headers
from gateway.reasons import Reason

# RFC 6750 b64token, plus the dot of compact JWS; no comma, no space, so a list or a trailing word cannot match.
_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] ([A-Za-z0-9\-._~+/]+=*)", re.ASCII)


def find_credential(headers: Headers) -> str | Reason | None:
    """The bearer token of a request.

    :returns: the token as text; a :class:`Reason` (``credential_ambiguous`` or ``credential_unsupported``) when the
        field is there but is not exactly one bearer token; None when there is no such field.
    """
    values = headers.all(b"authorization")
    if not values:
        return None
    if len(values) > 1:
        return reasons.CREDENTIAL_AMBIGUOUS
    match = _BEARER.fullmatch(values[0])
    if match is not None:
        return match.group(1)
    if "," in values[0] and values[0].lower().count("bearer ") > 1:
        return reasons.CREDENTIAL_AMBIGUOUS
    return reasons.CREDENTIAL_UNSUPPORTED
