"""What a request must satisfy, and what headers each response has.

A foreign ``Host`` is refused, so that no other site's name can be pointed here (DNS rebinding); a
request that changes something needs our own origin and a token of this process.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
PAGE_POLICY = "frame-ancestors 'none'"
"""Header of pages; the rest of their policy is in them, by hashes of their own script and style."""


def is_loopback(host: str) -> bool:
    """Whether a host to listen on is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """Middleware that refuses foreign hosts and cross-site requests, and adds headers.

    Args:
        app: The application.
        host: The host that the server listens on. If it is not loopback, any address is accepted
            besides, since only names can be pointed elsewhere.
        public_name: Name of a proxy that passes requests on, and is reached by HTTPS.
    """

    def __init__(self, app: ASGIApp, *, host: str, public_name: str | None = None) -> None:
        self._app, self._host, self._public_name = app, host, public_name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", "default-src 'none'; sandbox")
            await send(message)

        app = self._refusal(scope) or self._app
        await app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            return PlainTextResponse("this server does not answer for that host", 421)
        if scope["method"] not in ("GET", "HEAD") and headers.get("origin") not in (
            None,
            f"http://{host}",
            f"https://{self._public_name}",
        ):
            return PlainTextResponse("requests of other sites are refused", 403)
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if is_loopback(name) or name in (self._host, self._public_name):
            return True
        if is_loopback(self._host):
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


class CsrfToken:
    """A token of this process that forms carry."""

    def __init__(self) -> None:
        self.value = secrets.token_urlsafe(32)

    def check(self, request: Request, field: object) -> None:
        """Raise status 403 unless the field or the header has the token."""
        given = request.headers.get("x-csrf-token") or field
        if not isinstance(given, str) or not hmac.compare_digest(
            given.encode(), self.value.encode()
        ):
            raise HTTPException(403, "the form is out of date; reload the page and try again")
