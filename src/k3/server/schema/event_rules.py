"""Kubernetes' rules for an Event of the core group (`pkg/apis/core/validation/events.go`). Pure.

One with an `eventTime` is held to the rules of newer clients; the others only have to name their object's namespace rightly.
"""

from typing import Final

from k3.core import limits, name_rules
from k3.core.objects import Manifest
from k3.server.schema.complaints import Complaints

_NAMESPACE: Final = "involvedObject.namespace"
_NO_MATCH: Final = "does not match event.namespace"


def check(found: Complaints, event: Manifest) -> None:
    """Notes what is wrong with an Event, new or changed."""
    own, theirs = event["metadata"].get("namespace", ""), event["involvedObject"].get("namespace", "")
    if event["eventTime"] is None:
        if own != theirs if theirs else own not in {"", "default"}:
            found.invalid(_NAMESPACE, theirs, _NO_MATCH)
        return
    if not theirs and own not in {"default", "kube-system"}:
        found.invalid(_NAMESPACE, theirs, _NO_MATCH)
    reporter = event["reportingComponent"]
    if not reporter:
        found.required("reportingComponent")
    found.each_invalid("reportingComponent", reporter, name_rules.label_key(reporter))
    for name in ("reportingInstance", "action", "reason"):
        text = event.get(name, "")
        if not text:
            found.required(name)
        _check_length(found, name, text, limits.EVENT_TEXT_BYTES)
    _check_length(found, "message", event.get("message", ""), limits.EVENT_MESSAGE_BYTES)


def _check_length(found: Complaints, name: str, text: str, most: int) -> None:
    if len(text.encode()) > most:
        found.invalid(name, "", f"can have at most {most} characters")
