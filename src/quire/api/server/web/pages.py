"""Static pages from the package's own folder: read once, sent with headers that forbid any outside request."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import quire

FOLDER = Path(quire.__file__).parent / "assets" / "web"
FILES_AT = "/ui"  # where a page's own files are

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    # the pages show what a model wrote: nothing but their own files may run, load or be loaded
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}
_CHAT_FILES = ("chat.css", "chat.js", "conversations.js", "settings.js", "view.js")
_REFERENCE_FILES = ("reference.css", "reference.js")
_SHARED_FILES = ("icon.svg", "markdown.js", "page.css", "replies.js", "theme.js")
_PAGES = {"/": "chat.html", "/docs": "reference.html", "/redoc": "reference.html"}

# They hold nothing of this server and nobody's text, so they need no key; what they ask for does.
PAGE_PATHS = (
    *_PAGES,
    *(f"{FILES_AT}/{name}" for name in (*_SHARED_FILES, *_CHAT_FILES, *_REFERENCE_FILES)),
)


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    media_type: str
    tag: str

    @classmethod
    def read(cls, name: str) -> _File:
        path = FOLDER / name
        body = path.read_bytes()
        return cls(body, _MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:16]}"')


def page_routes(*, has_chat: bool, has_reference: bool) -> list[Route]:
    """Routes of the pages asked for and of their files."""
    pages = {path: name for path, name in _PAGES.items() if (has_chat if path == "/" else has_reference)}
    names = [
        *(_SHARED_FILES if pages else ()),
        *(_CHAT_FILES if has_chat else ()),
        *(_REFERENCE_FILES if has_reference else ()),
    ]
    return [
        *(_route(path, _File.read(name)) for path, name in pages.items()),
        *(_route(f"{FILES_AT}/{name}", _File.read(name)) for name in names),
    ]


def _route(path: str, file: _File) -> Route:
    headers = {**_HEADERS, "etag": file.tag}

    async def send(request: Request) -> Response:
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        return Response(file.body, headers=headers, media_type=file.media_type)

    return Route(path, send)
