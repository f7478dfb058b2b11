"""The tokens of the server, which live in the store, hashed: many servers share them, and one that is revoked is gone at once.

A token is `k3.<id>.<secret>`. The id names it and is no secret; the secret has 160 bits of chance, so that its plain SHA-256
tells nothing about it, and a server can check one on every request.
"""

import hashlib
import hmac
import re
import secrets
from datetime import datetime, timedelta
from typing import Final

from k3.core import limits, times
from k3.core.node import valid_name
from k3.core.objects import TOKEN, Key, Manifest, Object
from k3.core.records import dataclass
from k3.core.store import Store, pages
from k3.server.access.identity import ROLES, Role, User, of_token

_ID_BYTES: Final = 5
_SECRET_BYTES: Final = 20
_TOKEN: Final = re.compile(r"k3\.([0-9a-f]{10})\.([0-9a-f]{40})", re.ASCII)
ID: Final = re.compile(r"[0-9a-f]{10}", re.ASCII)
_NO_HASH: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it is kept: all but its secret."""

    id: str
    sha256: str
    """Of the secret, in hexadecimal."""
    role: Role
    node: str = ""
    created: str = ""
    """RFC 3339."""
    expires: str = ""
    """RFC 3339; empty: never."""

    def is_over(self, now: datetime) -> bool:
        """Whether its time is over. One that cannot be read is over."""
        if not self.expires:
            return False
        end = times.parse_timestamp(self.expires)
        return end is None or now >= end

    def user(self) -> User:
        """Returns who shows it."""
        return of_token(self.id, self.role, self.node)

    def spec(self) -> dict[str, str]:
        """Returns what a person may see of it."""
        return {"role": self.role, "node": self.node, "created": self.created, "expires": self.expires}


@dataclass(frozen=True, slots=True)
class Made:
    """A new token, and its text, which is known here and now only."""

    token: Token
    text: str

    def __repr__(self) -> str:
        """Returns no secret."""
        return f"Made({self.token.id})"


def make(role: Role, node: str, *, now: datetime, ttl_seconds: float = 0.0) -> Made:
    """Makes a token. `ttl_seconds` 0: it is never over."""
    id_, secret = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES)
    expires = times.timestamp(now + timedelta(seconds=ttl_seconds)) if ttl_seconds else ""
    token = Token(id=id_, sha256=_hash(secret), role=role, node=node, created=times.timestamp(now), expires=expires)
    return Made(token, f"k3.{id_}.{secret}")


def key_of(id_: str) -> Key:
    """Returns where a token is kept."""
    return Key(TOKEN, id_)


async def keep(store: Store, token: Token) -> None:
    """Stores a token. Raises what the store raises."""
    spec = {"sha256": token.sha256, "role": token.role, "node": token.node, "expires": token.expires}
    await store.create(key_of(token.id), {"spec": {name: text for name, text in spec.items() if text}})


async def kept(store: Store) -> list[Token]:
    """Returns the tokens of a store, without those that cannot be read. Raises what the store raises."""
    found = [read(item) async for page in pages(store, TOKEN) for item in page.objects]
    return [token for token in found if token is not None]


async def revoke(store: Store, id_: str) -> None:
    """Removes a token: no server takes it any more. Raises NotFound, and what the store raises."""
    await store.delete(key_of(id_))


def read(item: Object) -> Token | None:
    """Returns a stored token; None for what is none, or has no hash or no role that k3 knows: nothing can be done with it."""
    if item.key.kind != TOKEN or item.unreadable:
        return None
    manifest = item.manifest()
    spec = manifest.get("spec")
    if not isinstance(spec, dict):
        return None
    role, sha256, node = spec.get("role"), spec.get("sha256"), _text(spec, "node")
    if role not in ROLES or not isinstance(sha256, str) or (node and not valid_name(node)) or not _is_sound(spec):
        return None
    return Token(
        id=item.key.name,
        sha256=sha256,
        role=role,
        node=node,
        created=_created(manifest),
        expires=_text(spec, "expires"),
    )


def checked(text: str, found: Token | None, now: datetime) -> Token | None:
    """Returns the token of this text, where it is `found` by its id, the secret fits and its time is not over; None otherwise.

    What is not found takes as long as what does not fit.
    """
    match = _TOKEN.fullmatch(text)
    stored = found.sha256 if found else _NO_HASH
    fits = hmac.compare_digest(_hash(match[2] if match else "").encode(), stored.encode(errors="replace"))
    return found if found and match and fits and match[1] == found.id and not found.is_over(now) else None


def id_of(text: str) -> str:
    """Returns the id in the text of a token; empty: it is none."""
    match = _TOKEN.fullmatch(text) if len(text) <= limits.TOKEN_BYTES else None
    return match[1] if match else ""


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _is_sound(spec: Manifest) -> bool:
    """Whether no field is there that is of another type than k3 writes: an end that cannot be read is not none."""
    return all(isinstance(spec.get(name, ""), str) for name in ("node", "expires"))


def _text(spec: Manifest, name: str) -> str:
    value = spec.get(name)
    return value if isinstance(value, str) else ""


def _created(manifest: Manifest) -> str:
    created = manifest["metadata"].get("creationTimestamp")
    return created if isinstance(created, str) else ""
