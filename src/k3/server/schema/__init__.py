"""Kubernetes' own schema: request bodies in, their check, and the description of the kinds (ADR 50).

What the other parts of the server call:

* `bodies.decode(kind, body, content_type, *, field_validation) -> Body`: JSON, YAML or protobuf to `manifest` and `warnings`.
* `types.normalised(kind, manifest) -> Manifest` and `types.unknown_fields(kind, manifest) -> list[str]`: the same check of
  types for what a patch made.
* `defaults.apply(kind, manifest) -> None`: what Kubernetes fills in.
* `validation.check_new(kind, manifest) -> None`, `validation.check_update(kind, manifest, old, subresource="") -> None`: the
  rules of Kubernetes.
* `validation.check_conditional(kind, manifest) -> None`: a Lease is not updated without a resourceVersion.
* `validation.warnings(kind, manifest) -> tuple[str, ...]`: texts of Warning headers that a write is answered with.
* `openapi.index() -> dict`, `openapi.document("api/v1") -> bytes`, `openapi.hash_of("api/v1") -> str`: OpenAPI v3.
* `openapi_v2.document() -> bytes`, with `openapi_v2.MEDIA_TYPE`: OpenAPI v2 as protobuf, for kubectl up to 1.28.

Each refuses with `status.Refused`. `kinds` has a Kind for every body that is read.

Field names, types and descriptions are those of lightkube-models, which is made from Kubernetes' OpenAPI. Its modules need
the whole lightkube client to be imported, so their text is read (`models`). What they do not have stands in `facts`.
"""
