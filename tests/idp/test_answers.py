"""blocking-functions.md sections 3.5 and 3.6: reading answers, wording refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.idp.answers import MAX_RAW, ErrorFormat, Overlay, Words, refusal_body
from gateway.idp.errors import WireError
from gateway.idp.wire import envelope

URL = "https://fn.example.test/f"
PREFIX = "BLOCKING_FUNCTION_ERROR_RESPONSE : "
NO = b'{"error":{"message":"no","status":"PERMISSION_DENIED"}}'


def read(status: int, body: bytes, **words: Any) -> WireError:
    with pytest.raises(WireError) as caught:
        Words(**words).read(URL, status, body, session=True)
    return caught.value


@pytest.mark.parametrize(
    ("form", "status", "body", "message"),
    [
        (
            "documented",
            403,
            NO,
            'HTTP Cloud Function returned an error. Code: 403, Status: "PERMISSION_DENIED", Message: "no"',
        ),
        ("documented", 404, b"404 Page not found", "HTTP Cloud Function returned an error: 404 Page not found"),
        ("documented", 500, b'{"error":"x"}', 'HTTP Cloud Function returned an error: {"error":"x"}'),
        (
            "documented",
            500,
            b'{"error":{"message":1}}',
            'HTTP Cloud Function returned an error: {"error":{"message":1}}',
        ),
        ("documented", 302, b"", "HTTP Cloud Function returned an error: "),
        ("raw", 403, NO, "HTTP Cloud Function returned an error: " + NO.decode()),
        ("emulator", 403, NO, f"((HTTP request to {URL} returned HTTP error 403: {NO.decode()}))"),
    ],
)
def test_refusals(form: ErrorFormat, status: int, body: bytes, message: str) -> None:
    """the provider writes a refusal in the chosen form; the outer status stays 400."""
    error = read(status, body, form=form)
    assert (error.message, error.code, error.status) == (PREFIX + message, 400, None)


@pytest.mark.parametrize("status", [201, 204, 299])
def test_other_successes(status: int) -> None:
    """the provider takes another 2xx than 200 for a refusal, unless it is told to be like the emulator."""
    assert read(status, b"{}").message.startswith(PREFIX)
    assert Words(any_success=True).read(URL, status, b"{}", session=True) == Overlay()


@pytest.mark.parametrize("body", [b"", b"x", b"{", b"[" * 100_000])
def test_no_json(body: bytes) -> None:
    """the provider blocks on an answer that is no JSON; the emulator's form is an internal error."""
    assert read(200, body).message == PREFIX + "((Response body is not valid JSON.))"
    error = read(200, body, form="emulator")
    assert (error.code, error.status) == (500, "INTERNAL")
    (entry,) = envelope(error)["error"]["errors"]
    assert set(entry) == {"message", "reason"}


@pytest.mark.parametrize("body", [b"null", b"[]", b'"x"', b"1"])
def test_no_object(body: bytes) -> None:
    """the provider blocks on an answer that is no object, null included."""
    assert read(200, body).message == PREFIX + "((Response body is not a JSON object.))"


@pytest.mark.parametrize("record", [{}, {"displayName": "x"}, {"updateMask": ""}, {"updateMask": ["displayName"]}, "x"])
def test_record_without_mask(record: Any) -> None:
    """the provider blocks on a record without an update mask."""
    body = json.dumps({"userRecord": record}).encode()
    assert read(200, body).message == PREFIX + "((Response UserRecord is missing updateMask.))"


def test_timeouts_and_broken_connections() -> None:
    """the provider words what was no answer at all, in production's texts or the emulator's."""
    assert Words().late(URL).message == PREFIX + "Cloud function deadline exceeded."
    assert Words().unreachable(URL).code == 400
    late, gone = Words(form="emulator").late(URL), Words(form="emulator").unreachable(URL)
    assert (late.message, late.code) == (f"{PREFIX}((Deadline exceeded making request to {URL}.))", 500)
    assert (gone.message, gone.code) == (f"{PREFIX}((Failed to make request to {URL}.))", 500)


def test_long_bodies_are_cut() -> None:
    """the provider passes on a bounded part of a body that is no refusal."""
    assert len(read(500, b"x" * 100_000).message) < MAX_RAW + 100


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("displayName", '"\\ud800"', PREFIX + "((Response body is not valid JSON.))"),
        ("customClaims", '{"a":NaN}', "INVALID_CLAIMS"),
        ("sessionClaims", '{"a":-Infinity}', "INVALID_CLAIMS"),
        ("customClaims", '{"a":"\\ud800"}', "INVALID_CLAIMS"),
    ],
)
def test_what_python_reads_and_nobody_else(field: str, value: str, message: str) -> None:
    """the provider blocks on numbers and characters that could not be written again."""
    body = f'{{"userRecord":{{"{field}":{value},"updateMask":"{field}"}}}}'
    assert read(200, body.encode()).message == message


def test_what_is_kept_of_an_answer() -> None:
    """the provider applies masked fields, takes both spellings of the picture, and reads the word on reCAPTCHA."""
    answer = {
        "userRecord": {
            "displayName": "x",
            "photoURL": "https://p.test/",
            "disabled": 1,
            "emailVerified": "",
            "sessionClaims": {"a": 1},
            "customClaims": {"b": 2},
            "updateMask": "photoURL,disabled,emailVerified,sessionClaims,customClaims,other",
        },
        "recaptchaActionOverride": "BLOCK",
    }
    overlay = Words().overlay(answer, session=True)
    assert overlay == Overlay(
        {
            "photo_url": "https://p.test/",
            "disabled": True,
            "email_verified": False,
            "custom_attributes": '{"b":2}',
        },
        {"a": 1},
        "BLOCK",
    )
    assert Words().overlay(answer, session=False).session_claims is None
    assert Words().overlay({"recaptchaActionOverride": None}, session=True) == Overlay()
    assert Words().overlay({"userRecord": None}, session=True) == Overlay()


def test_later_answers_win() -> None:
    """the provider lets the later of two answers win field by field, and session claims by name."""
    first = Overlay({"display_name": "a", "photo_url": "p"}, {"x": 1, "y": 1}, "ALLOW")
    assert first.then(Overlay({"display_name": "b"}, {"y": 2})) == Overlay(
        {"display_name": "b", "photo_url": "p"}, {"x": 1, "y": 2}, "ALLOW"
    )
    assert first.then(Overlay()) == first


def test_refusals_in_process_have_the_same_body() -> None:
    """the provider words a refusal in process like one over HTTP, whatever is in its text."""
    assert json.loads(refusal_body("X", 'a "b" \ud800')) == {"error": {"message": 'a "b" ?', "status": "X"}}


@pytest.mark.parametrize("override", ["MAYBE", "block", "", 5, True, [], ["BLOCK"], {}, {"action": "BLOCK"}])
def test_a_word_on_recaptcha_is_one_of_two(override: Any) -> None:
    """the provider blocks when the word on reCAPTCHA is none, so that a misspelt BLOCK lets nobody in."""
    answer = {"recaptchaActionOverride": override}
    with pytest.raises(WireError) as refused:
        Words().overlay(answer, session=True)
    assert refused.value.message == PREFIX + "((Response recaptchaActionOverride is neither ALLOW nor BLOCK.))"


@pytest.mark.parametrize("mask", ["photoUrl", "photoURL"])
@pytest.mark.parametrize("name", ["photoUrl", "photoURL"])
def test_both_spellings_of_the_picture(name: str, mask: str) -> None:
    """the provider never takes a picture that came in the other spelling for one that is to be removed."""
    record = {name: "https://p.test/", "updateMask": mask}
    assert Words().overlay({"userRecord": record}, session=False).changes == {"photo_url": "https://p.test/"}


def test_a_message_reaches_the_client_word_for_word() -> None:
    """the provider quotes a function's message as it is, and replaces what no client could be told."""
    body = b'{"error":{"status":"ABORTED","message":"\\"Ada\\" : \\ud800"}}'
    assert read(409, body).message == PREFIX + (
        'HTTP Cloud Function returned an error. Code: 409, Status: "ABORTED", Message: ""Ada" : ?"'
    )
