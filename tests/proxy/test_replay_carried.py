"""Session cookies, uploads and what browsers really send: the same bytes on the fast path as on the ordinary way."""

from __future__ import annotations

import pytest

from tests.proxy.test_replay import JUDGED, ORDINARY, OTHER, PUBLIC, REPLAYED, Case, exchanged, plain
from tests.support.wire import GOOD, request

SESSION = f"Cookie: theme=dark; __Host-session={GOOD}; a=b"
OWN, FOREIGN = "Origin: https://app.example", "Origin: https://evil.example"
SAME, NONE = "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none"


def by_cookie(*fields: str, line: str = "GET /api/x HTTP/1.1", body: bytes = b"", host: str = "app.example") -> bytes:
    """A request whose session comes in a cookie."""
    return request(line, *fields, body=body, token=None, host=host)


def upload(*fields: str, method: str = "POST", body: bytes = b"hello", path: str = "/api/x") -> bytes:
    """A request with a body and a bearer token."""
    return request(f"{method} {path} HTTP/1.1", *fields, body=body)


VISIT = by_cookie(SESSION)
POSTED = by_cookie(SESSION, OWN, SAME, line="POST /api/x HTTP/1.1", body=b"hello")
STORED = upload()

CARRIED: dict[str, Case] = {
    # Cookies that carry a session, alone and beside the token.
    "a visit": Case(VISIT, REPLAYED, VISIT),
    "a visit by HEAD": Case(by_cookie(SESSION, line="HEAD /api/x HTTP/1.1"), REPLAYED, VISIT, head_only=True),
    "another page by cookie": Case(by_cookie(SESSION, line="GET /api/y HTTP/1.1"), REPLAYED, VISIT),
    "other cookies beside it": Case(by_cookie(f"Cookie: __Host-session={GOOD}; x=y"), REPLAYED, VISIT),
    "nothing beside it": Case(by_cookie(f"Cookie: __Host-session={GOOD}"), REPLAYED, VISIT),
    "a lower-case cookie field": Case(by_cookie(f"cookie: __Host-session={GOOD}; a=b"), REPLAYED, VISIT),
    "started by a foreign page": Case(by_cookie(SESSION, FOREIGN, "Sec-Fetch-Site: cross-site"), REPLAYED, VISIT),
    "on a page that is public": Case(by_cookie(SESSION, line="GET /public/x HTTP/1.1"), JUDGED, VISIT),
    "on a page that is optional": Case(by_cookie(SESSION, line="GET /optional/x HTTP/1.1"), JUDGED, VISIT),
    "an unused carrier's name": Case(by_cookie(SESSION + f"; __session={GOOD}"), JUDGED, VISIT),
    "another user's cookie": Case(by_cookie(f"Cookie: __Host-session={OTHER}"), JUDGED, VISIT),
    "the cookie twice": Case(by_cookie(SESSION + f"; __Host-session={GOOD}"), ORDINARY, VISIT),
    "two cookie lines": Case(by_cookie(SESSION, "Cookie: x=y"), ORDINARY, VISIT),
    "a forged cookie": Case(by_cookie("Cookie: __Host-session=forged"), ORDINARY, VISIT),
    "an expired cookie": Case(by_cookie("Cookie: __Host-session=expired"), ORDINARY, VISIT),
    "an empty cookie": Case(by_cookie("Cookie: __Host-session="), ORDINARY, VISIT),
    "no cookie": Case(by_cookie(), ORDINARY, VISIT),
    "another host": Case(by_cookie(SESSION, host="other.example"), JUDGED, VISIT),
    "a host of this machine": Case(by_cookie(SESSION, host="localhost"), ORDINARY, VISIT),
    "the local name on this machine": Case(by_cookie(f"Cookie: __session={GOOD}", host="localhost"), JUDGED, VISIT),
    "the token and the cookie": Case(plain(SESSION), REPLAYED, plain(SESSION)),
    "the token comes to the cookie": Case(plain(SESSION), JUDGED, VISIT),
    "the cookie comes to the token": Case(plain(SESSION), JUDGED),
    "the cookie goes": Case(plain(), JUDGED, plain(SESSION)),
    "somebody else's cookie beside the token": Case(plain(f"Cookie: __Host-session={OTHER}"), ORDINARY, plain(SESSION)),
    "an expired cookie beside the token": Case(plain("Cookie: __Host-session=expired"), JUDGED, plain(SESSION)),
    "a token that is passed on and a cookie that is not": Case(
        plain(f"Cookie: __Host-session={GOOD}", line="GET /passing/x HTTP/1.1"), JUDGED
    ),
    "a token in front of the cookies": Case(
        by_cookie(f"Authorization: Bearer {GOOD}", SESSION, "X-A: 1", line="GET /passing/x HTTP/1.1"), JUDGED
    ),
    "a cookie alone in front of the token": Case(
        by_cookie(
            "X-A: 1", f"Cookie: __Host-session={GOOD}", f"Authorization: Bearer {GOOD}", line="GET /passing/x HTTP/1.1"
        ),
        JUDGED,
    ),
    # What changes something, by cookie: only where this site shows that it started it.
    "posted": Case(POSTED, REPLAYED, POSTED),
    "posted once more": Case(
        by_cookie(SESSION, OWN, SAME, line="POST /api/y HTTP/1.1", body=b"other"), REPLAYED, POSTED
    ),
    "posted by a foreign page": Case(
        by_cookie(SESSION, FOREIGN, line="POST /api/x HTTP/1.1", body=b"hello"), ORDINARY, POSTED
    ),
    "posted from a sibling": Case(
        by_cookie(SESSION, OWN, "Sec-Fetch-Site: same-site", line="POST /api/x HTTP/1.1", body=b"h"), ORDINARY, POSTED
    ),
    "posted by nobody": Case(by_cookie(SESSION, line="POST /api/x HTTP/1.1", body=b"hello"), ORDINARY, POSTED),
    "posted by nobody after a visit": Case(by_cookie(SESSION, line="POST /api/x HTTP/1.1", body=b"h"), ORDINARY, VISIT),
    "posted by the user": Case(by_cookie(SESSION, NONE, line="POST /api/x HTTP/1.1", body=b"h"), JUDGED, POSTED),
    "put after a post": Case(by_cookie(SESSION, OWN, SAME, line="PUT /api/x HTTP/1.1", body=b"h"), JUDGED, POSTED),
    "posted to another host": Case(
        by_cookie(SESSION, OWN, SAME, line="POST /api/x HTTP/1.1", body=b"h", host="other.example"), ORDINARY, POSTED
    ),
    "two origins": Case(by_cookie(SESSION, OWN, OWN, line="POST /api/x HTTP/1.1", body=b"h"), ORDINARY, POSTED),
    # Uploads with a token.
    "stored": Case(STORED, REPLAYED, STORED),
    "stored elsewhere": Case(upload(path="/api/y", body=b"something else"), REPLAYED, STORED),
    "stored from this page": Case(upload(OWN, SAME), JUDGED, STORED),
    "stored by a foreign page": Case(upload(FOREIGN), ORDINARY, STORED),
    "stored after a read": Case(STORED, JUDGED),
    "patched": Case(upload(method="PATCH"), REPLAYED, upload(method="PATCH")),
    "deleted": Case(plain(line="DELETE /api/x HTTP/1.1"), REPLAYED, plain(line="DELETE /api/x HTTP/1.1")),
    "a large body": Case(upload(body=b"x" * 300_000), REPLAYED, STORED),
    "a body that looks like a request": Case(
        upload(body=plain(line="GET /evil HTTP/1.1", token="another")), REPLAYED, STORED
    ),
    "a body that ends like a head": Case(upload(body=b"a\r\n\r\n"), REPLAYED, STORED),
    "anonymous to a public page": Case(request("POST /public/x HTTP/1.1", body=b"hello", token=None), REPLAYED, PUBLIC),
}

# As Chromium 140 and Firefox 143 send them, in their order.
CHROMIUM = (
    "Connection: keep-alive",
    "Pragma: no-cache",
    "Cache-Control: no-cache",
    'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Linux"',
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
)
CHROMIUM_SCRIPT = (
    *CHROMIUM[:-1],
    f"Authorization: Bearer {GOOD}",
    CHROMIUM[-1],
    "Accept: application/json",
    "X-Gateway-Fetch: mode=cors, dest=empty, token=attached",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Dest: empty",
    "Referer: https://app.example/",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-US,en;q=0.9",
    SESSION,
)
CHROMIUM_NAVIGATION = (
    *CHROMIUM[:-1],
    "Upgrade-Insecure-Requests: 1",
    CHROMIUM[-1],
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Sec-Fetch-Site: none",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-User: ?1",
    "Sec-Fetch-Dest: document",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-US,en;q=0.9",
    SESSION,
)
CHROMIUM_POST = (
    "Connection: keep-alive",
    "Content-Length: 5",
    *CHROMIUM[3:-1],
    f"Authorization: Bearer {GOOD}",
    CHROMIUM[-1],
    "Content-Type: application/json",
    "Accept: */*",
    "Origin: https://app.example",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Dest: empty",
    "Referer: https://app.example/",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-US,en;q=0.9",
    SESSION,
)
FIREFOX = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "Accept: */*",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: https://app.example/",
)
FIREFOX_SCRIPT = (
    *FIREFOX,
    f"Authorization: Bearer {GOOD}",
    "X-Gateway-Fetch: mode=cors, dest=empty, token=attached",
    "Connection: keep-alive",
    SESSION,
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Site: same-origin",
    "Priority: u=4",
    "Pragma: no-cache",
    "Cache-Control: no-cache",
)
FIREFOX_IMAGE = (
    FIREFOX[0],
    "Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    *FIREFOX[2:],
    "Connection: keep-alive",
    SESSION,
    "Sec-Fetch-Dest: image",
    "Sec-Fetch-Mode: no-cors",
    "Sec-Fetch-Site: same-origin",
    "Priority: u=5, i",
    'If-None-Match: "abc"',
)
FIREFOX_POST = (
    *FIREFOX,
    f"Authorization: Bearer {GOOD}",
    "Content-Type: application/json",
    "Content-Length: 5",
    "Origin: https://app.example",
    "Connection: keep-alive",
    SESSION,
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Site: same-origin",
    "Priority: u=0",
)
BROWSERS = {
    "Chromium's script": ("GET", CHROMIUM_SCRIPT, b""),
    "Chromium's navigation": ("GET", CHROMIUM_NAVIGATION, b""),
    "Chromium's post": ("POST", CHROMIUM_POST, b"hello"),
    "Firefox's script": ("GET", FIREFOX_SCRIPT, b""),
    "Firefox's image": ("GET", FIREFOX_IMAGE, b""),
    "Firefox's post": ("POST", FIREFOX_POST, b"hello"),
}
for _name, (_method, _fields, _body) in BROWSERS.items():
    _sent = request(f"{_method} /api/x HTTP/1.1", *_fields, body=_body, token=None)
    CARRIED[_name] = Case(_sent, REPLAYED, _sent)


@pytest.mark.parametrize("name", CARRIED)
async def test_both_ways_give_the_same_bytes_with_session_cookies(name: str) -> None:
    """treats cookies and uploads alike with the fast path and without, and replays what browsers send."""
    case = CARRIED[name]
    fast = await exchanged(case, fast_path=True, cookies=True)
    ordinary = await exchanged(case, fast_path=False, cookies=True)
    assert fast[:3] == ordinary[:3]
    assert (fast[3], ordinary[3]) == (case.way, ORDINARY)
    assert fast[0]
    assert bool(fast[1]) == fast[0].startswith(b"HTTP/1.1 200")
    assert GOOD.encode() not in fast[1] or b"/passing/" in case.data
