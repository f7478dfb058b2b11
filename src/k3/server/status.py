"""What a Kubernetes client is told when a request is refused: a `Status` object with a code, a reason and details. Pure.

Codes, reasons and the wording are Kubernetes' own (apimachinery, `api/errors`): clients decide by the reason, and people read
the message.
"""

from collections.abc import Sequence
from typing import Any, Final

from k3.core.objects import Kind
from k3.core.records import dataclass
from k3.core.safe_text import quoted

REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong with an object: `reason` is Kubernetes' CauseType, `field` a path such as `metadata.name`."""

    reason: str
    message: str
    field: str


class Refused(Exception):
    """A request is refused. The text of the error is the Status' message; where Kubernetes gives no reason, it is empty."""

    def __init__(self, code: int, message: str, *, reason: str | None = None, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = REASONS[code] if reason is None else reason
        self.details = details

    def status(self) -> dict[str, Any]:
        """Returns the Status object."""
        found: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
        }
        if self.reason:
            found["reason"] = self.reason
        if self.details is not None:  # empty ones are told too
            found["details"] = self.details
        return {**found, "code": self.code}


def resource_name(kind: Kind) -> str:
    """Returns a resource as messages name it: `nodes`, `leases.coordination.k8s.io`."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def not_found(kind: Kind, name: str) -> Refused:
    """Returns the refusal of a name that is not there."""
    return Refused(404, f"{resource_name(kind)} {quoted(name)} not found", details=_object_details(kind, name))


def already_exists(kind: Kind, name: str) -> Refused:
    """Returns the refusal of a name that is taken."""
    message = f"{resource_name(kind)} {quoted(name)} already exists"
    return Refused(409, message, reason="AlreadyExists", details=_object_details(kind, name))


def conflict(kind: Kind, name: str, why: str) -> Refused:
    """Returns the refusal of a write whose precondition does not hold."""
    message = f"Operation cannot be fulfilled on {resource_name(kind)} {quoted(name)}: {why}"
    return Refused(409, message, details=_object_details(kind, name))


def modified(kind: Kind, name: str) -> Refused:
    """Returns the refusal of a write to another revision than the newest."""
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(kind, name, why)


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> Refused:
    """Returns the refusal of an object that breaks rules of its kind."""
    told = [f"{cause.field}: {cause.message}" for cause in causes]
    message = f"{_full_kind(kind)} {quoted(name)} is invalid: {told[0] if len(told) == 1 else '[' + ', '.join(told) + ']'}"
    details = _details(name=name, group=kind.group, kind=kind.name)
    details["causes"] = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
    return Refused(422, message, details=details)


def bad_request(message: str) -> Refused:
    """Returns the refusal of what cannot be understood."""
    return Refused(400, message)


def no_such_resource() -> Refused:
    """Returns the refusal of a path that nothing answers."""
    return Refused(404, "the server could not find the requested resource", details={})


def unsupported_media_type(message: str) -> Refused:
    """Returns the refusal of a body in a format that is not taken."""
    return Refused(415, message)


def expired(message: str) -> Refused:
    """Returns the refusal of a revision that is no longer kept."""
    return Refused(410, message)


def _full_kind(kind: Kind) -> str:
    return f"{kind.name}.{kind.group}" if kind.group else kind.name


def _object_details(kind: Kind, name: str) -> dict[str, Any]:
    return _details(name=name, group=kind.group, kind=kind.plural)


def _details(*, name: str, group: str, kind: str) -> dict[str, Any]:
    return {key: text for key, text in (("name", name), ("group", group), ("kind", kind)) if text}
