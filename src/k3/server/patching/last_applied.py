"""What `kubectl apply` left in an annotation, as long as kubectl's two ways to apply meet on one object. Pure.

Who goes from `kubectl apply` to `kubectl apply --server-side` meets no conflict with the former self: what the annotation says,
and the object still has, may be taken over. The annotation is then kept up to date, so that the way back is open.
"""

import json
from typing import Any, Final

from k3.core import limits
from k3.core.documents import DECODER, Manifest
from k3.core.objects import Kind
from k3.server.patching.changes import changes, fields_of
from k3.server.patching.field_sets import NOTHING, FieldSet, difference, json_of, union
from k3.server.patching.shapes import shape_of

MANAGER: Final = "kubectl"
ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"


def taken_over(kind: Kind, live: Manifest) -> FieldSet:
    """Returns the fields that the annotation has as the object has them."""
    text = _annotations(live).get(ANNOTATION)
    if not isinstance(text, str) or not text:
        return NOTHING
    try:
        applied = DECODER.decode(text)
    except (json.JSONDecodeError, ValueError, RecursionError):
        return NOTHING
    if not isinstance(applied, dict) or applied.get("apiVersion") != kind.api_version:
        return NOTHING
    shape = shape_of(kind)
    found = changes(applied, live, shape)
    return difference(fields_of(applied, shape), union(found.changed, found.removed))


def renewed(document: Manifest, applied: Manifest) -> Manifest:
    """Returns an object with the annotation of what was applied last, if it has such an annotation."""
    annotations = _annotations(document)
    if not annotations.get(ANNOTATION):
        return document
    metadata = applied.get("metadata") or {}
    told = _annotations(applied)
    if told:
        metadata = {**metadata, "annotations": {name: text for name, text in told.items() if name != ANNOTATION}}
    renewed_annotations = {**annotations, ANNOTATION: json_of({**applied, "metadata": metadata}) + "\n"}
    if (
        sum(len(name.encode()) + len(str(text).encode()) for name, text in renewed_annotations.items())
        > limits.ANNOTATION_BYTES
    ):
        del renewed_annotations[ANNOTATION]
    return {**document, "metadata": {**document["metadata"], "annotations": renewed_annotations}}


def _annotations(document: Manifest) -> dict[str, Any]:
    metadata = document.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return annotations if isinstance(annotations, dict) else {}
