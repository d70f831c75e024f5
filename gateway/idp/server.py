"""HTTP: the table of endpoints, CORS, bodies in, envelopes out (identity-toolkit.md sections 1, 2, 5, 6, 9 to 11).

Every endpoint answers in the plain form (``/v1/...``) and behind its production host's name
(``/identitytoolkit.googleapis.com/v1/...``), which is how clients in emulator mode write it. Whatever goes wrong, the
answer is the error envelope.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.core.client_ip import IPAddress
from gateway.core.context import Headers
from gateway.errors import RequestError
from gateway.idp import documents, pages
from gateway.idp.access import Access, missing_credential
from gateway.idp.endpoints import ENDPOINTS, Endpoint, Need
from gateway.idp.errors import WireError, invalid_argument, not_found
from gateway.idp.realm import Call, Realm
from gateway.idp.sessions import tenant_claim
from gateway.idp.wire import Fields, envelope

MAX_BODY: Final = 1_048_576
"""Bytes of a request body."""

PREFLIGHT_SECONDS: Final = 600
"""How long a browser may keep a preflight's answer, seconds."""

AddressOf = Callable[[str, Headers], IPAddress | None]
"""Finds the client's address from the socket's peer and the request's headers."""

_LANGUAGE: Final = re.compile(r"[A-Za-z0-9]{1,8}(?:[-_][A-Za-z0-9]{1,8})*", re.ASCII)
_ORIGIN: Final = re.compile(r"[!-~]{1,512}", re.ASCII)
_FIELD_NAMES: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z, -]{1,2048}", re.ASCII)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Turns requests into calls. ``realm_of`` answers once the provider is open."""

    realm_of: Callable[[], Realm]
    access: Access
    address_of: AddressOf

    def application(self) -> web.Application:
        """The aiohttp application with every route."""
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._answer])
        for endpoint in ENDPOINTS:
            handler = self._handler(endpoint)
            for path in endpoint.paths():
                app.router.add_route(endpoint.http_method, path, handler)
        for document in documents.DOCUMENTS:
            for path in document.paths:
                app.router.add_get(path, self._document(document.render))
        app.router.add_get("/", _ready)
        app.router.add_get("/emulator/action", self._action)
        app.router.add_post("/emulator/action", self._action)
        return app

    # ---- one call ------------------------------------------------------------------------------------------------

    def _handler(self, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            realm = self.realm_of()
            privileged = self.access.privileged(request)
            api_key = self.access.api_key(request)
            project = request.match_info.get("project")
            if not privileged:
                self._admit_client(endpoint, api_key, project)
            fields = await _fields(request, form=endpoint.form)
            named = project or fields.text("targetProjectId")
            if named is not None and not privileged:
                raise WireError("INSUFFICIENT_PERMISSION : Only authenticated requests can specify target_project_id.")
            if named not in {None, realm.project_id, realm.project_number}:
                raise WireError("CONFIGURATION_NOT_FOUND")
            if "managed" not in request.match_info:
                realm = await _space(realm, request, fields, privileged=privileged)
            call = self._call(request, fields, privileged=privileged, api_key=api_key)
            return web.json_response(await endpoint.method(realm, call))

        return handle

    def _admit_client(self, endpoint: Endpoint, api_key: str | None, project: str | None) -> None:
        if api_key is None:
            raise missing_credential(project_named=project is not None or endpoint.need is Need.ADMINISTRATOR)
        if project is not None:
            raise WireError("INSUFFICIENT_PERMISSION : Only authenticated requests can specify target_project_id.")
        if endpoint.need is Need.ADMINISTRATOR:
            raise missing_credential(project_named=True)

    def _call(self, request: web.Request, fields: Fields, *, privileged: bool, api_key: str | None) -> Call:
        headers = Headers(request.raw_headers)
        return Call(
            fields=fields,
            privileged=privileged,
            unsigned_allowed=self.access.open_to_anyone(request),
            api_key=_clean(api_key),
            address=self.address_of(request.remote or "", headers),
            user_agent=headers.one(b"user-agent"),
            locale=_locale(request),
            tenant=request.match_info.get("managed"),
            parameters=Fields(dict(request.query)),
        )

    def _document(
        self, render: Callable[[Realm], Awaitable[documents.Document]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(_request: web.Request) -> web.StreamResponse:
            document = await render(self.realm_of())
            return web.json_response(document.body, headers=document.headers)

        return handle

    async def _action(self, request: web.Request) -> web.StreamResponse:
        fields = await _fields(request, form=True) if request.method == "POST" else Fields({})
        call = self._call(request, fields, privileged=False, api_key=request.query.get("apiKey"))
        if request.method == "POST":
            call = Call(
                fields=fields, api_key=call.api_key, address=call.address, locale=call.locale, parameters=fields
            )
        wants_page = "text/html" in request.headers.get("Accept", "")
        realm = self.realm_of()
        if tenant := call.parameters.text("tenantId"):
            realm = realm.tenants.realm(tenant) or realm
        answer = await pages.action(realm, call, wants_page=wants_page)
        headers = dict(pages.SECURITY_HEADERS)
        if answer.location is not None:
            headers["Location"] = answer.location
            return web.Response(status=answer.status, headers=headers)
        if answer.page is not None:
            return web.Response(status=answer.status, text=answer.page, content_type="text/html", headers=headers)
        return web.json_response(answer.body, status=answer.status, headers=headers)

    # ---- around every call -----------------------------------------------------------------------------------------

    @property
    def _answer(self) -> Any:
        @web.middleware
        async def answer(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            try:
                self.access.check_host(request)
                if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                    response: web.StreamResponse = _preflight(request)
                else:
                    response = await handler(request)
            except WireError as error:
                response = _failure(error)
            except web.HTTPRequestEntityTooLarge:
                response = _failure(
                    WireError(f"Request payload size exceeds the limit: {MAX_BODY} bytes.", status="INVALID_ARGUMENT")
                )
            except web.RequestPayloadError:
                # A body that is not in the encoding that its header names, or that breaks off.
                response = _failure(invalid_argument("The body cannot be read."))
            except web.HTTPException:
                response = _failure(not_found())
            except RequestError as error:
                response = _failure(WireError(f"Invalid request. {error.detail}", status="INVALID_ARGUMENT"))
            except Exception:  # noqa: BLE001 - the last resort: logged, and answered in the envelope
                _log.exception("%s %s failed", request.method, request.path)
                response = _failure(WireError("Internal error encountered.", code=500, status="INTERNAL"))
            _add_headers(request, response)
            return response

        return answer


async def _space(project: Realm, request: web.Request, fields: Fields, *, privileged: bool) -> Realm:
    """The realm that a call is about: the project's, or that of a tenant (identity-toolkit.md section 1).

    A tenant is named by path or body; otherwise it is that of the ID token or refresh token, neither of which is
    believed here: the realm's own methods verify them and refuse those of another tenant.

    :raises WireError: there is no such tenant, it is switched off, or the call names two.
    """
    path, body = request.match_info.get("tenant"), fields.text("tenantId") or None
    if path is not None and body is not None and path != body:
        raise WireError("TENANT_ID_MISMATCH")
    tenant = path or body
    if project.tenants.all():
        if refresh_token := fields.text("refreshToken"):
            held = await project.tenants.of_refresh_token(refresh_token)
            if None not in {tenant, held} and tenant != held:
                raise WireError("TENANT_ID_MISMATCH")
            tenant = tenant or held
        elif tenant is None:
            tenant = tenant_claim(fields.text("idToken"))
    if tenant is None:
        return project
    realm = project.tenants.realm(tenant)
    if realm is None:
        raise not_found("TENANT_NOT_FOUND") if path is not None else WireError("INVALID_TENANT_ID")
    if realm.config.disabled and not privileged:
        raise WireError("PROJECT_DISABLED")
    return realm


async def _ready(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"authEmulator": {"ready": True}})


def _failure(error: WireError) -> web.Response:
    return web.json_response(envelope(error), status=error.code)


def _preflight(request: web.Request) -> web.Response:
    headers = {
        "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }
    wanted = request.headers.get("Access-Control-Request-Headers", "")
    if _FIELD_NAMES.fullmatch(wanted):
        headers["Access-Control-Allow-Headers"] = wanted
    if request.headers.get("Access-Control-Request-Private-Network") == "true":
        headers["Access-Control-Allow-Private-Network"] = "true"
    return web.Response(status=204, headers=headers)


def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """CORS for every origin, without credentials; nothing is cached unless the answer says so."""
    origin = request.headers.get("Origin", "")
    if _ORIGIN.fullmatch(origin):
        response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Vary"] = "Origin, Access-Control-Request-Headers"
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")


async def _fields(request: web.Request, *, form: bool) -> Fields:
    """The body of a call; a GET has none, and one that comes along with a DELETE is ignored."""
    if request.method in {"GET", "DELETE"}:
        return Fields({})
    body = await request.read()
    if not form or request.content_type == "application/json" or body.lstrip().startswith(b"{"):
        return Fields.of_json(body)
    try:
        return Fields(dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict")))
    except ValueError:
        raise invalid_argument("The body is not a form.") from None


def _locale(request: web.Request) -> str | None:
    """The client's language: what the SDK says, else the browser's first choice."""
    for name in ("X-Firebase-Locale", "Accept-Language"):
        language = request.headers.get(name, "").split(",", 1)[0].split(";", 1)[0].strip()
        if _LANGUAGE.fullmatch(language):
            return language
    return None


def _clean(text: str | None) -> str | None:
    """Header text that can be written again: bytes that were no UTF-8 are replaced."""
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")
