"""blocking-functions.md sections 2.4 and 2.5: the codes and what they become."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.blocking.https_error import CODES, ErrorCode, HttpsError, sayable
from gateway.errors import GatewayError

TABLE = [
    ("invalid-argument", 400, "INVALID_ARGUMENT", "Client specified an invalid argument."),
    ("failed-precondition", 400, "FAILED_PRECONDITION", "Request can not be executed in the current system state."),
    ("out-of-range", 400, "OUT_OF_RANGE", "Client specified an invalid range."),
    (
        "unauthenticated",
        401,
        "UNAUTHENTICATED",
        "Request not authenticated due to missing, invalid, or expired OAuth token",
    ),
    ("permission-denied", 403, "PERMISSION_DENIED", "Client does not have sufficient permission."),
    ("not-found", 404, "NOT_FOUND", "Specified resource is not found."),
    ("aborted", 409, "ABORTED", "Concurrency conflict, such as read-modify-write conflict."),
    ("already-exists", 409, "ALREADY_EXISTS", "The resource that a client tried to create already exists."),
    ("resource-exhausted", 429, "RESOURCE_EXHAUSTED", "Either out of resource quota or reaching rate limiting."),
    ("cancelled", 499, "CANCELLED", "Request cancelled by the client."),
    ("data-loss", 500, "DATA_LOSS", "Unrecoverable data loss or data corruption."),
    ("unknown", 500, "UNKNOWN", "Unknown server error."),
    ("internal", 500, "INTERNAL", "Internal server error."),
    ("not-implemented", 501, "NOT_IMPLEMENTED", "API method not implemented by the server."),
    ("unimplemented", 501, "UNIMPLEMENTED", "API method not implemented by the server."),
    ("unavailable", 503, "UNAVAILABLE", "Service unavailable."),
    ("deadline-exceeded", 504, "DEADLINE_EXCEEDED", "Request deadline exceeded."),
]


@pytest.mark.parametrize(("code", "http", "status", "message"), TABLE, ids=[row[0] for row in TABLE])
def test_each_code_has_its_status_and_default(code: str, http: int, status: str, message: str) -> None:
    """... answers each of the sixteen codes, and both spellings of one, with its status and default message."""
    error = HttpsError(code)
    assert error.body == {"error": {"code": http, "message": message, "status": status}}
    assert (error.http_status, error.status, error.message, str(error)) == (http, status, message, message)
    assert HttpsError(ErrorCode(code)).body == error.body


def test_the_table_is_complete() -> None:
    """... knows sixteen codes and one second spelling, and no other."""
    assert set(CODES) == {row[0] for row in TABLE} == set(ErrorCode)


@pytest.mark.parametrize("code", ["ok", "OK", "", "PERMISSION_DENIED", "forbidden", "invalid_argument", None, 400])
def test_an_unknown_code_is_a_programming_error(code: Any) -> None:
    """... refuses to make an error of a code that does not exist."""
    with pytest.raises(ValueError, match="is no error code"):
        HttpsError(code, "no")


def test_a_misspelled_code_gets_a_hint() -> None:
    """... names the code that was probably meant."""
    with pytest.raises(ValueError, match="did you mean 'permission-denied'"):
        HttpsError("PERMISSION_DENIED")


@pytest.mark.parametrize("message", [7, b"no", ["no"]])
def test_a_message_is_a_text(message: Any) -> None:
    """... refuses a message that is no text."""
    with pytest.raises(TypeError, match="a text"):
        HttpsError("internal", message)


def test_a_message_of_ones_own_stays_with_its_error() -> None:
    """... keeps a custom message to the error that has it, and the default for the next."""
    assert HttpsError("not-found", "no such ship").message == "no such ship"
    assert HttpsError("not-found", "").message == HttpsError("not-found").message == "Specified resource is not found."


@pytest.mark.parametrize("details", [{"field": "email"}, [1, None], "text", 0, False, {}])
def test_details_travel(details: Any) -> None:
    """... sends details of any JSON type beside the message."""
    assert HttpsError("aborted", "no", details).body["error"]["details"] == details


@pytest.mark.parametrize("details", [None, object(), {1, 2}, float("nan"), b"x", "\ud800", {1: 2}])
def test_details_that_json_cannot_say_are_left_out(details: Any) -> None:
    """... keeps the refusal when its details cannot be sent."""
    assert HttpsError("aborted", "no", details).body == {
        "error": {"code": 409, "message": "no", "status": "ABORTED"},
    }


def test_a_refusal_is_one_of_ours() -> None:
    """... counts a refusal among the exceptions that are raised on purpose."""
    assert issubclass(HttpsError, GatewayError)


def test_text_that_utf8_cannot_say_is_replaced() -> None:
    """... sends a message with a lone surrogate as one that can be sent."""
    assert HttpsError("aborted", "a\ud800b").body["error"]["message"] == sayable("a\ud800b") == "a?b"
