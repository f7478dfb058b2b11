"""Rows of a Table are made once, but for the age: the bytes are those of a row that is made anew."""

import json
from datetime import UTC, datetime

import pytest

from k3.core.objects import EVENT, LEASE, NODE, Key, Kind, Manifest, Object
from k3.server.entries import Entry, encoded
from k3.server.shapes import Reading, Table
from k3.view import api_tables

SOON = datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)
LATE = datetime(2026, 3, 1, tzinfo=UTC)


def entry_of(kind: Kind, stamp: str) -> Entry:
    metadata = {"name": "a", "labels": {"k": 'ü"[]'}, "creationTimestamp": stamp}
    document = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}
    return Entry(Object(key=Key(kind, "a", "d"), uid="u", revision=5, document=json.dumps(document).encode()))


@pytest.mark.parametrize("stamp", ["2026-01-01T00:00:00Z", "", "odd"])
@pytest.mark.parametrize("include", ["None", "Metadata", "Object"])
@pytest.mark.parametrize("kind", [NODE, LEASE, EVENT], ids=lambda kind: kind.name)
def test_a_row_that_was_kept_is_as_one_that_is_made_anew(kind: Kind, include: str, stamp: str) -> None:
    entry = entry_of(kind, stamp)
    manifest = entry.manifest()
    for observed in (set[str](), {"a"}):
        for now in (SOON, LATE):
            row: Manifest = {"cells": api_tables.cells(kind, manifest, now, is_observed="a" in observed), "object": None}
            if include == "Metadata":
                partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": manifest["metadata"]}
                row["object"] = partial
            if include == "Object":
                row["object"] = manifest
            assert Table(kind, "v1", include, Reading(now, observed)).item(entry) == encoded(row)
