"""What a Kubernetes API answers to its client: objects, lists, lines of a watch, refusals; and kubeconfigs."""

import tempfile
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from k3.core import limits
from k3.core.errors import K3Error
from k3.core.objects import LEASE, NODE, Object
from k3.core.store import Bookmark, Change
from k3.stores.kubernetes import asking, documents, kubeconfig, troubles
from k3.stores.kubernetes.documents import Listed, Odd, Refusal
from k3.stores.kubernetes.kubeconfig import Access
from tests.fuzz import making
from tests.fuzz.parser import Parser
from tests.fuzz.stores import LEASE_DOCUMENT, NODE_DOCUMENT

NODE_ANSWER: Final[dict[str, Any]] = {**NODE_DOCUMENT, "metadata": {**NODE_DOCUMENT["metadata"], "managedFields": []}}
LEASE_ANSWER: Final[dict[str, Any]] = {
    **LEASE_DOCUMENT,
    "metadata": {**LEASE_DOCUMENT["metadata"], "uid": "u", "resourceVersion": "6"},
}
LIST: Final[dict[str, Any]] = {
    "kind": "NodeList",
    "apiVersion": "v1",
    "metadata": {"resourceVersion": "12", "continue": "abc", "remainingItemCount": 3},
    "items": [NODE_ANSWER, {"metadata": {"name": "web2", "uid": "v", "resourceVersion": "7"}}],
}
STATUS: Final[dict[str, Any]] = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": 'nodes "web" not found',
    "reason": "NotFound",
    "details": {"name": "web", "kind": "nodes", "causes": [{"reason": "ResourceVersionTooLarge", "message": "m"}]},
    "code": 404,
}
CONFIG: Final[dict[str, Any]] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    "clusters": [{"name": "k", "cluster": {"server": "https://hub:8443", "certificate-authority-data": "aGVsbG8="}}],
    "users": [{"name": "u", "user": {"token": "t", "tokenFile": "token", "client-certificate": "c.pem"}}],
}


def _list(data: bytes) -> Listed:
    return documents.read_list(documents.parse(data), NODE)


def _check_list(found: Listed) -> None:
    assert found.revision >= 0
    assert len(found.token) <= limits.KUBERNETES_TOKEN_CHARACTERS
    for item in found.objects:
        _check_object(item)


def _check_object(item: Object) -> None:
    assert documents.is_name(item.key)
    assert 0 < item.revision < 10**19
    assert 0 < len(item.uid) <= limits.UID_CHARACTERS
    assert not item.unreadable
    manifest = item.manifest()
    assert manifest["metadata"]["name"] == item.key.name
    assert manifest["metadata"]["resourceVersion"] == str(item.revision)
    assert "managedFields" not in manifest["metadata"]


def _line(data: bytes) -> Change | Bookmark | Refusal:
    return documents.read_event(data, LEASE)


def _check_line(found: Change | Bookmark | Refusal) -> None:
    if isinstance(found, Change):
        _check_object(found.object)


ASKS: Final = (
    asking.Ask(verb="get", resource="nodes", path="/", name="web"),
    asking.Ask(verb="create", resource="nodes", path="/", name="web"),
    asking.watched(NODE),
)


def _refusals(data: bytes) -> list[K3Error]:
    """What is made of a refusal, as an answer with any code and inside a watch."""
    asker = troubles.Asker(url="https://hub:8443")
    found = [troubles.refusal(code, data, ask, asker) for code in (302, 400, 401, 404, 409, 429, 504) for ask in ASKS]
    try:
        status = documents.parse(data)
    except Odd:
        return found
    return [*found, *(troubles.by_status(status, ask, asker) for ask in ASKS)]


def _check_refusals(found: list[K3Error]) -> None:
    for error in found:
        assert str(error).isprintable()
        assert len(str(error)) <= 1_000


def _config(data: bytes) -> Access:
    with tempfile.TemporaryDirectory(prefix="k3-fuzz-") as folder:
        path = Path(folder) / "config"
        path.write_bytes(data)
        return kubeconfig.read(str(path), "")


def _check_config(found: Access) -> None:
    assert found.server.startswith(("https://", "http://"))


def _lines() -> st.SearchStrategy[bytes]:
    bookmark = {"type": "BOOKMARK", "object": {"kind": "Lease", "metadata": {"resourceVersion": "9"}}}
    events = [{"type": type_, "object": LEASE_ANSWER} for type_ in ("ADDED", "MODIFIED", "DELETED")]
    return making.documents(*events, bookmark, {"type": "ERROR", "object": STATUS})


PARSERS: Final = (
    Parser(name="kubernetes-list", read=_list, inputs=making.documents(LIST), check=_check_list, refuses=(Odd,)),
    Parser(name="kubernetes-watch", read=_line, inputs=_lines(), check=_check_line, refuses=(Odd,)),
    Parser(name="kubernetes-status", read=_refusals, inputs=making.documents(STATUS), check=_check_refusals, refuses=()),
    Parser(name="kubeconfig", read=_config, inputs=making.documents(CONFIG), check=_check_config),
)
