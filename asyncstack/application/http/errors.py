"""What can go wrong in HTTP, on both sides."""

from __future__ import annotations

from http import HTTPStatus

from asyncstack.application.http.headers import Headers, HeaderSource


def reason_phrase(status: int) -> str:
    """The words after a status code; empty for a code without a name."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


class HttpError(Exception):
    """An answer to a request, raised instead of returned: by the server's own checks or by a handler.

    `status` is 400 to 599; `detail` is the text the client sees; `headers` go with the answer.
    """

    def __init__(self, status: int, detail: str = "", headers: HeaderSource = ()) -> None:
        super().__init__(f"{status} {detail or reason_phrase(status)}")
        self.status = status
        self.detail = detail
        self.headers = Headers(headers)


class BodyTruncated(ConnectionError):
    """The other side closed before the end of the message that it had announced (RFC 9112 section 8)."""


class BadResponse(ConnectionError):
    """What the server sent is no HTTP response that this client can trust; `str()` says why."""


class LimitExceeded(BadResponse):
    """The response is larger than the client's limits allow."""


class TooManyRedirects(BadResponse):
    """More redirects in a row than the client follows, or one to a scheme it does not speak."""
