"""Every error k3 raises on purpose.

    K3Error
    ├── NotFound            404  no such object                                          exit 3
    ├── AlreadyExists       409  the name is taken                                       exit 5
    ├── Conflict            409  another writer was first; read again                    exit 5
    ├── Expired             410  that revision is no longer kept; list again             exit 1
    ├── TooLarge            413  the object is larger than the store takes               exit 1
    ├── Invalid             422  the text is not what it should be                       exit 2
    │   └── ConfigInvalid        … in a configuration file, flag or environment name     exit 2
    ├── Forbidden           403  the store knows the user and says no                    exit 1
    │   └── NotPermitted         … to this write, and works for this user otherwise      exit 1
    ├── Unavailable         503  no answer: a write may or may not have happened         exit 4
    ├── Damaged             500  what the store holds is no longer what k3 made          exit 1
    ├── NameTaken                another live machine holds the name                     exit 5
    └── StartFailed              this machine cannot run what was asked                  exit 1

RunEnded is none of them: it ends one run of a source on purpose.

`status` and `reason` are what a Kubernetes client is told; `exit_code` is what a shell is told.
Every message names what happened, where, and what to do about it.
"""

from typing import ClassVar


class K3Error(Exception):
    """The root of every deliberate error."""

    status: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"
    exit_code: ClassVar[int] = 1


class NotFound(K3Error):
    """There is no object with that key."""

    status = 404
    reason = "NotFound"
    exit_code = 3


class AlreadyExists(K3Error):
    """An object with that key is already there."""

    status = 409
    reason = "AlreadyExists"
    exit_code = 5


class Conflict(K3Error):
    """The object is no longer the one that was read: its revision or uid differs."""

    status = 409
    reason = "Conflict"
    exit_code = 5


class Expired(K3Error):
    """The revision asked for has been compacted, or the reader fell too far behind: list again."""

    status = 410
    reason = "Expired"


class TooLarge(K3Error):
    """The object is larger than `limits.OBJECT_BYTES`."""

    status = 413
    reason = "RequestEntityTooLarge"


class Invalid(K3Error):
    """Text from outside is not what it should be; the message says what was expected."""

    status = 422
    reason = "Invalid"
    exit_code = 2


class ConfigInvalid(Invalid):
    """A flag, an environment variable or a configuration file says something k3 cannot follow."""


class Forbidden(K3Error):
    """The store or server was reached and refuses: rights, password or certificate."""

    status = 403
    reason = "Forbidden"


class NotPermitted(Forbidden):
    """The store refuses this write for want of a right. It knows the user and answers: no outage (ADR 53)."""


class Unavailable(K3Error):
    """The store or server did not answer. The outcome of a write is unknown: read again before repeating it."""

    status = 503
    reason = "ServiceUnavailable"
    exit_code = 4


class Damaged(K3Error):
    """A store's file, table or column is no longer what k3 made; the message says which, and what to do (ADR 47)."""


class NameTaken(K3Error):
    """Another live machine holds the name this one was told to use."""

    exit_code = 5


class StartFailed(K3Error):
    """The machine lacks something without which the command cannot run; the message says what."""


def first_of(error: BaseException) -> BaseException:
    """Returns what went wrong first, taken out of any group of tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class RunEnded(Exception):
    """Ends one run of a source on purpose: no error, and never shown to a person. Whoever runs the source begins another."""
