"""The refusals that patches share, in Kubernetes' words. Pure."""

from typing import Any, Final, NoReturn

from k3.core import limits
from k3.server.status import Refused

_JSON_TYPES: Final = {
    bool: "bool",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}

_GO_TYPES: Final = {
    bool: "bool",
    int: "int64",
    float: "float64",
    str: "string",
    list: "[]interface {}",
    dict: "map[string]interface {}",
    type(None): "<nil>",
}


def does_not_apply() -> Refused:
    """Returns the refusal of a patch that cannot be applied to this object: Kubernetes does not say why."""
    return Refused(422, "the server rejected our request due to an error in our request", details={})


def refuse_type(wanted: str, given: object, *, prefix: str = "") -> NoReturn:
    """Refuses a body of another type, in the words of Go's decoder: `wanted` is the type as Go writes it."""
    raise Refused(400, f"{prefix}json: cannot unmarshal {_JSON_TYPES[type(given)]} into Go {wanted}")


def refuse_as_fault(message: str) -> NoReturn:
    """Refuses what kube-apiserver takes for a fault of its own: a code, a message and no reason.

    The message holds what was sent. kube-apiserver sends all of it back; here it is cut: no answer is as long as its request.
    """
    raise Refused(500, message[: limits.REFUSAL_CHARACTERS], reason="")


def go_type(value: object) -> str:
    """Returns the type that a value has in Go."""
    return _GO_TYPES[type(value)]


def as_go_prints(value: Any) -> str:  # noqa: ANN401 - JSON
    """Returns a value as Go prints it in messages."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{name}:{as_go_prints(value[name])}" for name in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(as_go_prints, value)) + "]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)
