"""In which form a client wants its answer: the first that it accepts and the server can give. Pure.

A form that is not known, such as protobuf or CBOR, is passed over: every client that asks for these accepts JSON as well.
"""

from collections.abc import Iterator
from typing import Final, Literal

from k3.core.objects import Kind
from k3.core.records import dataclass
from k3.server.status import Refused

JSON: Final = "application/json"
META: Final = "meta.k8s.io"
DISCOVERY: Final = "apidiscovery.k8s.io"

Shape = Literal["plain", "table", "metadata", "groups"]

_SHAPES: Final[dict[tuple[str, str, str], Shape]] = {
    (META, "v1", "Table"): "table",
    (META, "v1beta1", "Table"): "table",
    (META, "v1", "PartialObjectMetadata"): "metadata",
    (META, "v1", "PartialObjectMetadataList"): "metadata",
    (META, "v1beta1", "PartialObjectMetadata"): "metadata",
    (META, "v1beta1", "PartialObjectMetadataList"): "metadata",
    (DISCOVERY, "v2", "APIGroupDiscoveryList"): "groups",
}
_ANY: Final = {"application/json", "*/*"}


@dataclass(frozen=True, slots=True)
class Form:
    """A form of an answer: its shape, the version of the group that describes the shape, and the name it was asked for by."""

    shape: Shape = "plain"
    version: str = "v1"
    name: str = ""

    @property
    def media_type(self) -> str:
        """Returns the Content-Type. Only discovery's says its shape there: clients go by it."""
        return f"{JSON};g={DISCOVERY};v=v2;as=APIGroupDiscoveryList" if self.shape == "groups" else JSON

    def check_list(self, kind: Kind, *, is_list: bool) -> None:
        """Refuses one object's metadata for a list, and a list's for one object."""
        if self.shape != "metadata" or is_list == self.name.endswith("List"):
            return
        what = "a list" if is_list else "not a list"
        group = kind.group.removesuffix(".k8s.io") or "core"
        named = f"*{group}.{kind.name}{'List' if is_list else ''}"
        message = f"you requested {self.name}, but the requested object is {what} ({named})"
        raise Refused(406, message)


def form(accept: str, *shapes: Shape) -> Form:
    """Returns the form to answer in, `plain` or one of `shapes`. Raises Refused where none that is accepted can be given.

    As at a kube-apiserver, `application/*` and names in another case are not known.
    """
    if not accept.strip():
        return Form()
    is_json = False
    for media_type, parameters in _ranges(accept):
        if media_type not in _ANY:
            continue
        is_json = True
        wanted = (parameters.get("g", ""), parameters.get("v", ""), parameters.get("as", ""))
        if wanted == ("", "", ""):
            return Form()
        if (shape := _SHAPES.get(wanted)) in shapes and shape is not None:
            return Form(shape, wanted[1], wanted[2])
    if is_json:
        message = "only the following media types are accepted: application/json"
        raise Refused(406, message)
    message = "406: Not Acceptable\n\nAvailable representations: application/json"
    raise Refused(406, message, details={})


def _ranges(accept: str) -> Iterator[tuple[str, dict[str, str]]]:
    for part in accept.split(","):
        media_type, *parameters = (each.strip() for each in part.split(";"))
        yield media_type, {name: value for name, _, value in (each.partition("=") for each in parameters)}
