"""A folder as a site: `app.mount("/", StaticFiles("www"))`."""

from __future__ import annotations

import mimetypes
import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from asyncstack.application.http.conditional import Validators, precondition, range_applies
from asyncstack.application.http.errors import HttpError
from asyncstack.application.http.ranges import Unsatisfiable, content_range, parse_ranges
from asyncstack.application.http.request import Request
from asyncstack.application.http.response import Response

if TYPE_CHECKING:
    from asyncstack.application.files import OpenFile

# Files up to that size are read at once and sent with their head in one write.
SMALL = 64 * 1024

# What the standard library does not know, or knows differently from release to release.
TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".md": "text/markdown",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".wasm": "application/wasm",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}
COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
TEXTUAL = ("application/json", "application/xml", "image/svg+xml", "application/manifest+json")


class StaticFiles:
    """A handler that answers GET and HEAD with the files of `folder`, for `app.mount`.

    A path never leads out of the folder, neither by `..` nor by a link. A folder answers with its `index`, names
    that start with a dot are not there unless `hidden` (`.well-known` is). Entity tags and dates let clients ask
    for what has changed and for parts. `cache_control` goes out as it is.
    Raises NotADirectoryError at once if there is no such folder.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        index: str = "index.html",
        hidden: bool = False,
        cache_control: str = "",
    ) -> None:
        self._root = os.path.realpath(folder)
        if not os.path.isdir(self._root):
            raise NotADirectoryError(f"static files: {os.fspath(folder)!r} is no folder")
        self._index = index
        self._hidden = hidden
        self._cache_control = cache_control
        # Only the built-in table: the same answer on every machine.
        self._types = mimetypes.MimeTypes(filenames=())
        for suffix, kind in TYPES.items():
            self._types.add_type(kind, suffix)

    async def __call__(self, request: Request) -> Response:
        """Answer one request. Raises HttpError 403, 404, 405."""
        if request.method not in ("GET", "HEAD"):
            if request.method == "OPTIONS":
                return Response(b"", 204, {"Allow": "GET, HEAD, OPTIONS"})
            raise HttpError(405, headers={"Allow": "GET, HEAD, OPTIONS"})
        path = str(request.params.get("path", request.path))
        segments = self._segments(path)
        is_folder = path == "" or path.endswith("/")
        file = await self._open([*segments, self._index] if is_folder else segments, is_folder)
        if file is None:
            return _redirect(request)
        try:
            return await self._answer(request, file, (segments or [""])[-1] if not is_folder else self._index)
        except BaseException:
            file.close()
            raise

    def _segments(self, path: str) -> list[str]:
        segments = [segment for segment in path.split("/") if segment]
        for segment in segments:
            hidden = segment.startswith(".") and segment != ".well-known" and not self._hidden
            if hidden or segment in (".", "..") or "\0" in segment or (os.altsep and os.altsep in segment):
                raise HttpError(404)
        return segments

    async def _open(self, segments: list[str], is_folder: bool) -> OpenFile | None:
        """The file; None if it is a folder that was named without a slash."""
        from asyncstack.application.files import IsDirectory, OpenFile

        try:
            return await OpenFile.beneath(self._root, segments)
        except IsDirectory:
            if is_folder:
                raise HttpError(404) from None
            return None
        except PermissionError:
            raise HttpError(403) from None
        except (OSError, ValueError):
            raise HttpError(404) from None

    async def _answer(self, request: Request, file: OpenFile, name: str) -> Response:
        """The response, which owns `file` or has closed it."""
        seconds, rest = divmod(file.modified_ns, 1_000_000_000)
        current = Validators(f'"{seconds:x}.{rest:x}-{file.size:x}"', seconds)
        headers = {"ETag": current.etag, "Last-Modified": current.last_modified, "Accept-Ranges": "bytes"}
        if self._cache_control:
            headers["Cache-Control"] = self._cache_control
        status = precondition(request.headers, current)
        if status != 200:
            file.close()
            return Response(b"", status, headers)
        kind = self._content_type(name)
        if request.method == "HEAD":
            file.close()
            return Response(b"", 200, headers, content_type=kind, length=file.size)
        value = request.headers.get("range")
        if value and range_applies(request.headers, current):
            try:
                parts = parse_ranges(value, file.size)
            except Unsatisfiable:
                file.close()
                raise HttpError(416, headers={"Content-Range": f"bytes */{file.size}"}) from None
            if parts is not None:
                return _partial(file, parts, headers, kind)
        return await _whole(file, headers, kind)

    def _content_type(self, name: str) -> str:
        kind, encoding = self._types.guess_type(name)
        if encoding is not None:
            return COMPRESSED.get(encoding, "application/octet-stream")
        if kind is None:
            return "application/octet-stream"
        return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind in TEXTUAL else kind


async def _whole(file: OpenFile, headers: dict[str, str], kind: str) -> Response:
    from asyncstack.application.http.files import FileBody

    if file.size <= SMALL:
        data = await file.read(SMALL)
        file.close()
        return Response(data, 200, headers, content_type=kind)
    body = FileBody(file, [(b"", 0, file.size)])
    return Response(body, 200, headers, content_type=kind, length=body.length)


def _partial(file: OpenFile, parts: list[tuple[int, int]], headers: dict[str, str], kind: str) -> Response:
    """206 with one part as it is, or with several in a multipart/byteranges body (RFC 9110 section 14.6)."""
    from asyncstack.application.http.files import FileBody

    if len(parts) == 1:
        start, length = parts[0]
        headers["Content-Range"] = content_range(start, length, file.size)
        body = FileBody(file, [(b"", start, length)])
        return Response(body, 206, headers, content_type=kind, length=length)
    # The file's version in hexadecimal: the same for the same file, and nothing that a file is likely to hold.
    boundary = f"asyncstack-{file.modified_ns:x}-{file.size:x}"
    framed = []
    for start, length in parts:
        fields = f"Content-Type: {kind}\r\nContent-Range: {content_range(start, length, file.size)}"
        framed.append((f"\r\n--{boundary}\r\n{fields}\r\n\r\n".encode(), start, length))
    body = FileBody(file, framed, f"\r\n--{boundary}--\r\n".encode())
    return Response(
        body, 206, headers, content_type=f"multipart/byteranges; boundary={boundary}", length=body.length
    )


def _redirect(request: Request) -> Response:
    """To the same folder with its slash. One slash in front: `//name` would be another host."""
    path = "/" + quote(request.raw_path.lstrip("/"), safe="/%:@!$&'()*+,;=~-._") + "/"
    query = f"?{request.query_string}" if request.query_string else ""
    return Response.redirect(path + query, 301)
