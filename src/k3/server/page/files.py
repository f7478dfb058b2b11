"""The files of the page, as answers to requests. They are read once; whoever asks again is told that nothing has changed.

Everybody may have them, since they say nothing about any machine: what the page shows, it asks the API for, as any client does.
"""

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from k3.server.api import Answer, Ask

HTML: Final = "text/html"
_TYPES: Final = {
    "html": f"{HTML}; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
_FOLDER: Final = "/page/"
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept, Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}
"""What keeps foreign scripts out of the page, and the page out of foreign ones (CSP Level 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file: as it is, compressed, and a short name for its content (RFC 9110 §8.8.3)."""

    media_type: str
    body: bytes
    compressed: bytes
    etag: str


def answer(ask: Ask) -> Answer | None:
    """Returns the file that a request is for; None: it is for none of the page's.

    `/` is the page for who wants HTML. Other clients find the paths of the API there, as with Kubernetes.
    """
    accepted = ask.headers.get("accept", "")
    path = "/page/index.html" if ask.raw_path == "/" and HTML in accepted else ask.raw_path
    if ask.method not in {"GET", "HEAD"} or (found := _read().get(path)) is None:
        return None
    headers = {**HEADERS, "ETag": found.etag}
    if found.etag in ask.headers.get("if-none-match", ""):
        return Answer(status=304, body=b"", media_type=found.media_type, headers=headers)
    if "gzip" in ask.headers.get("accept-encoding", ""):
        return Answer(body=found.compressed, media_type=found.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Answer(body=found.body, media_type=found.media_type, headers=headers)


@cache
def _read() -> Mapping[str, File]:
    """Returns all files by path."""
    return dict(_files())


def _files() -> Iterator[tuple[str, File]]:
    for each in files(__package__).iterdir():
        media_type = _TYPES.get(each.name.rpartition(".")[2])
        if media_type is None:
            continue
        body = each.read_bytes()
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        compressed = gzip.compress(body, 9, mtime=0)
        yield _FOLDER + each.name, File(media_type=media_type, body=body, compressed=compressed, etag=etag)
