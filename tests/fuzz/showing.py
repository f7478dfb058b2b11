"""What readers make of stored objects, and what people write to choose and order them: selectors, orders, names."""

import io
import json
import logging
import unicodedata
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import yaml

from k3.cli import describe, events
from k3.cli.follow import Shown
from k3.cli.names import node_name
from k3.cli.printers import Style, printer
from k3.cli.sorting import Order, parse_order
from k3.cli.why import told
from k3.core import freshness, node, ownership
from k3.core.objects import EVENT, NODE, Object
from k3.core.sources import SOURCES
from k3.settings.structs import Reader
from k3.view import documents, node_table
from k3.view.cells import Column, Moment
from k3.view.findings import Asked, Clocks, Fleet, Record
from k3.view.node_table import Reading
from k3.view.selector import Selector, typed_selector
from k3.view.table import Table
from k3.view.why import Explanation, explain
from tests.fuzz import making, stores
from tests.fuzz.parser import Parser, text_of

_TURNING: Final = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
NOW: Final = datetime(2026, 11, 27, 1, 2, 10, tzinfo=UTC)
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _item(document: bytes, kind: Any = NODE) -> Object:
    return Object(key=stores.KEYS[kind], uid="u", revision=7, document=document, created=stores.STAMP)


# --- a Node, in all the forms in which it is shown ---------------------------------------------------------------------


def _shown(document: bytes) -> tuple[Object, list[str]]:
    """Returns a Node and every text that a person may see of it."""
    item = _item(document)
    texts = []
    for is_observed in (True, False):
        reading = node_table.read(item.manifest(), Moment(NOW, is_observed=is_observed))
        cells = node_table.row(item.manifest(), Moment(NOW, is_observed=is_observed), wide=True)
        table = Table(node_table.titles(wide=True), headers=True)
        texts += [table.text([cells]), "".join(describe.described(reading, [], Reader()))]
        texts += ["".join(told(explanation)) for explanation in _explained(item, reading)]
    with redirect_stdout(io.StringIO()) as printed:
        for form in ("table", "wide", "json", "yaml", "name"):
            columns: list[Column[Reading]] = [*node_table.columns(wide=True), node_table.LABELS, node_table.label_column("t")]
            shown = Shown(printer(form, columns, Style(following=True), single=False), lambda _: True, lambda: NOW)
            shown.first([item], freshness.observed([node_table.view_of(item)], NOW))
            shown.apply("MODIFIED", item)
            shown.apply("DELETED", item)
    return item, [*texts, printed.getvalue()]


def _explained(item: Object, reading: Reading) -> list[Explanation]:
    """Returns why the Node is as it is, beside itself, its own Event and Lease, and after each answer of its machine."""
    manifest, seen = item.manifest(), node_table.view_of(item)
    fleet = Fleet.of([seen, seen], Clocks(wrong=freshness.wrong_clocks([seen], NOW, ["web"])))
    record = Record(name="web", reading=reading, fleet=fleet, events=[manifest], lease=manifest, mirror=manifest)
    return [explain(replace(record, asked=asked)) for asked in (None, Asked("refused"), Asked("filtered"))]


def _check_shown(found: tuple[Object, list[str]]) -> None:
    item, texts = found
    for text in texts:
        check_still(text)
    manifest = item.manifest()
    assert json.loads(documents.as_json(manifest)) == manifest
    text = documents.as_yaml(manifest)
    if "\\ud" not in text:  # half a surrogate pair is nothing that libyaml takes
        assert yaml.load(text, _LOADER) == manifest  # noqa: S506 - a safe one
    seen = ownership.view("web", manifest)
    _check_view(seen)
    assert seen.owner in {None, *SOURCES}
    labels = node_table.labels(manifest)
    for key, value in labels.items():
        assert isinstance(key, str)
        assert isinstance(value, str)
    clocks = freshness.wrong_clocks([seen], NOW, ["web"])
    assert freshness.unwritten_seconds([seen], NOW, clocks) >= 0
    for order in ("age", "last-seen", "status", ".metadata", ".status.conditions[0].type", ".spec"):
        keys = [parse_order(order).key(node_table.read(each, Moment(NOW))) for each in (manifest, {"metadata": {"name": "x"}})]
        assert sorted(keys)


def check_still(text: str) -> None:
    """Asserts that nothing in a text moves a terminal's cursor, or turns the text around it."""
    assert not {char for char in set(text) - {"\n"} if unicodedata.category(char) in {"Cc", "Cs"}}
    assert not {char for char in set(text) if unicodedata.bidirectional(char) in _TURNING}


def _check_view(seen: node.NodeView) -> None:
    assert 0 <= seen.port <= 65_535
    assert 0 <= seen.pid < 2**31
    assert 0 <= seen.peer_ttl_seconds < 1e300
    assert len(seen.links) <= 32
    assert node.unobserved_seconds(seen) > 0
    assert isinstance(seen.evidence.ready, str)
    assert isinstance(seen.is_ready, bool)


# --- an Event ----------------------------------------------------------------------------------------------------------


def _event(document: bytes) -> str:
    item = _item(document, EVENT)
    about = events._is_about(item, None), events._is_about(item, "web")
    assert about in {(True, True), (True, False), (False, False)}
    return Table(events.TITLES, headers=True).text(events.rows([item], NOW)) + documents.as_yaml(item.manifest())


def _check_event(text: str) -> None:
    check_still(text)


# --- what people write -------------------------------------------------------------------------------------------------

_LABELS: Final[tuple[dict[str, str], ...]] = ({}, {"app": "web"}, {"app": "x", "tier": "front"}, {"k8s.io/a": "", "g": "1"})


def _selector(data: bytes) -> Selector:
    return typed_selector(text_of(data))


def _check_selector(found: Selector) -> None:
    assert typed_selector(selector_text(found)) == found, "a normal form"
    for labels in _LABELS:
        assert found.matches(labels) == all(term.matches(labels) for term in found.terms)
    for term in found.terms:
        assert term.key
        assert all(len(value) <= 63 for value in term.values)


def selector_text(selector: Selector) -> str:
    """Returns a selector as it could be written."""
    written = []
    for term in selector.terms:
        values = f"({','.join(sorted(term.values))})"
        form = {"exists": term.key, "absent": f"!{term.key}", "in": f"{term.key} in {values}"}
        written.append(form.get(term.operator, f"{term.key} notin {values}"))
    return ",".join(written)


def _order(data: bytes) -> Order:
    return parse_order(text_of(data))


def _check_order(order: Order) -> None:
    manifests: list[dict[str, Any]] = [
        stores.NODE_DOCUMENT,
        {},
        {"metadata": {"name": "web10", "creationTimestamp": "0001-01-01T00:00:00+23:59"}},
        {"metadata": {"name": 5}, "spec": [1, "a", None]},
        {"metadata": {"name": 1.5, "labels": {"a": True}}},
        {"metadata": {"name": "9" * 5_000}},
    ]
    readings = [node_table.read(manifest, Moment(NOW + timedelta(seconds=1))) for manifest in manifests]
    assert len(sorted(readings, key=order.key)) == len(readings)


def _name(data: bytes) -> str:
    return node_name(text_of(data), command="nodes")


def _check_name(name: str) -> None:
    assert name
    assert "/" not in name
    assert node_name(f"node/{name}", command="nodes") == name


logging.getLogger("k3").addHandler(logging.NullHandler())

PARSERS: Final = (
    Parser(name="node", read=_shown, inputs=stores.inputs(stores.NODE_DOCUMENT), check=_check_shown, refuses=()),
    Parser(name="event", read=_event, inputs=stores.inputs(stores.EVENT_DOCUMENT), check=_check_event, refuses=()),
    Parser(
        name="selector",
        read=_selector,
        inputs=making.texts(
            "a=b", "c!=d", "e in (x,y)", "f notin (z)", "g", "!h", "k8s.io/a==b", "a in ()", ",", alphabet="ab0/.-_=!,() \t\n"
        ),
        check=_check_selector,
    ),
    Parser(
        name="sort-order",
        read=_order,
        inputs=making.texts(
            "age", "status", ".metadata.name", "{.spec}", ".a[0]", ".a['b.c']", "last seen", r".a\.b", alphabet=".[]'\\{}ab0_ "
        ),
        check=_check_order,
    ),
    Parser(
        name="node-name", read=_name, inputs=making.texts("web1", "node/web1", "no/a", "/", alphabet="/a.-"), check=_check_name
    ),
)
