"""The files of the page, as answers to requests. They are read once; whoever asks again is told that nothing has changed.

Everybody may have them, since they say nothing about any machine: what the page shows, it asks the API for, as any client does.

`facts.js` is no file: it is what the page has to know of k3 that stands in one place in Python, in `k3.core.sources` and
`k3.view.words`.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from k3.core.documents import UNREADABLE
from k3.core.records import dataclass
from k3.core.sources import SOURCES
from k3.server.api import Answer, Ask
from k3.view import words

HTML: Final = "text/html"
_TYPES: Final = {
    "html": f"{HTML}; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
_FOLDER: Final = "/page/"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
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
    return {_FOLDER + name: _file(name, body) for name, body in _bodies()}


def _bodies() -> Iterator[tuple[str, bytes]]:
    for each in files(__package__).iterdir():
        if each.name.rpartition(".")[2] in _TYPES:
            yield each.name, each.read_bytes()
    yield "facts.js", _facts().encode()


def _file(name: str, body: bytes) -> File:
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    media_type = _TYPES[name.rpartition(".")[2]]
    return File(media_type=media_type, body=body, compressed=gzip.compress(body, 9, mtime=0), etag=etag)


def _facts() -> str:
    """Returns a module of what the page has to know of k3."""
    sources = [
        {
            "name": row.name,
            "prefix": row.prefix,
            "label": row.managed_label,
            "reasons": sorted(row.reasons | row.original_reasons),
            "refreshSeconds": row.refresh_seconds,
        }
        for row in SOURCES.values()
    ]
    facts = {"SOURCES": sources, "UNREADABLE": UNREADABLE, "WORDS": words.to_json(), "LABELS": words.LABELS}
    return "".join(f"export const {name} = {json.dumps(value)};\n" for name, value in facts.items())
