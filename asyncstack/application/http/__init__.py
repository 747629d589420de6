"""HTTP/1.1 (RFC 9110, RFC 9112): a server and a client on asyncio streams, over any stack.

`Application` serves, `StaticFiles` serves a folder, `HttpClient` asks. The heavy packages (httptools, aiofiles,
websockets) are imported with the first connection, file or WebSocket.
"""

from asyncstack.application.http.client import ClientResponse, HttpClient, fetch
from asyncstack.application.http.errors import (
    BadResponse,
    BodyTruncated,
    HttpError,
    LimitExceeded,
    TooManyRedirects,
)
from asyncstack.application.http.headers import Headers
from asyncstack.application.http.limits import ClientLimits, Limits
from asyncstack.application.http.request import Request
from asyncstack.application.http.response import Response
from asyncstack.application.http.server import Application
from asyncstack.application.http.static import StaticFiles

__all__ = [
    "Application",
    "BadResponse",
    "BodyTruncated",
    "ClientLimits",
    "ClientResponse",
    "Headers",
    "HttpClient",
    "HttpError",
    "LimitExceeded",
    "Limits",
    "Request",
    "Response",
    "StaticFiles",
    "TooManyRedirects",
    "fetch",
]
