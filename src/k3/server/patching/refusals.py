"""The refusals that patches share, in Kubernetes' words. Pure."""

from typing import Final, NoReturn

from k3.server.status import Refused

_GO_TYPES: Final = {
    bool: "bool",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


def does_not_apply() -> Refused:
    """Returns the refusal of a patch that cannot be applied to this object: Kubernetes does not say why."""
    return Refused(422, "the server rejected our request due to an error in our request", details={})


def refuse_type(wanted: str, given: object, *, prefix: str = "") -> NoReturn:
    """Refuses a body of another type, in the words of Go's decoder: `wanted` is the type as Go writes it."""
    raise Refused(400, f"{prefix}json: cannot unmarshal {_GO_TYPES[type(given)]} into Go {wanted}")


def refuse_as_fault(message: str) -> NoReturn:
    """Refuses what kube-apiserver takes for a fault of its own: a code, a message and no reason."""
    raise Refused(500, message, reason="")
