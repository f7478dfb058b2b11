"""One line in the log for each write: who, what, which object, from where, and what became of it. Never a body or a credential.

What repeats itself is told once a minute, with the number of times (`agent/log_repeats.py`): the renewals of a Lease or of a
Node's status, of which a fleet makes hundreds in a second, and a user's refused writes. Every other write has its line.
"""

import logging
from collections.abc import Mapping
from typing import Final

from k3.core.safe_text import printable
from k3.server.access.identity import User
from k3.server.access.roles import Attempt

log = logging.getLogger(__name__)

_RENEWALS: Final = ("update", "patch")
_REFUSED: Final = 400
_NAME_CHARACTERS: Final = 253
"""The longest name of an object; a path can have more."""


def write(user: User, attempt: Attempt, *, address: str, code: int, dry_run: bool) -> None:
    """Tells of a write that was answered with this code."""
    fields: Mapping[str, object] = {
        "user": user.name,
        "verb": attempt.verb,
        "object": _object(attempt),
        "from": address,
        "code": code,
        **({"token": user.token} if user.token else {}),
        **({"dry_run": True} if dry_run else {}),
    }
    if code >= _REFUSED:
        log.info("api.write_refused", extra={"fields": fields})
    elif attempt.verb in _RENEWALS and (attempt.resource == "leases" or attempt.subresource == "status"):
        log.info("api.renewed", extra={"fields": fields})
    else:
        log.info("api.written", extra={"fields": fields})


def refused(why: str, *, address: str, code: int) -> None:
    """Tells of a request whose sender is not known: what it showed does not hold, or it asks too often."""
    log.warning("api.turned_away", extra={"fields": {"from": address, "why": why, "code": code}})


def _object(attempt: Attempt) -> str:
    """Returns `nodes/web1`, `nodes/web1/status`, `leases.coordination.k8s.io/kube-system/k3`."""
    resource = f"{attempt.resource}.{attempt.group}" if attempt.group else attempt.resource
    parts = (resource, attempt.namespace, attempt.name, attempt.subresource)
    return "/".join(printable(part, limit=_NAME_CHARACTERS) for part in parts if part)
