"""JSON and YAML: what is written is what is read, by every reader, whatever the texts are; and a long list needs no room."""

import json
import re
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from k3.view import documents

ODD = [
    "on",
    "y",
    "Yes",
    "NULL",
    "~",
    "1e3",
    "0x1F",
    "1:30",
    "-",
    "a: b",
    "a #b",
    "? x",
    "a ",
    "=",
    "<<",
    "---",
    "http://a:80/b",
]
TEXT = st.one_of(st.text(max_size=20), st.sampled_from(ODD), st.text(alphabet="ab0_./@+,()=-:# ", max_size=12))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=16,
)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(TEXT, JSON, max_size=5))
def test_what_is_written_is_what_is_read(manifest: dict[str, Any]) -> None:
    text = documents.as_yaml(manifest)
    assert yaml.safe_load(text) == manifest
    assert yaml.safe_load("".join(documents.yaml_list([manifest, manifest])))["items"] == [manifest, manifest]
    assert json.loads(documents.as_json(manifest)) == manifest
    assert json.loads("".join(documents.json_list([manifest, manifest])))["items"] == [manifest, manifest]


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(TEXT, JSON, max_size=5))
def test_json_is_written_as_python_writes_it(manifest: dict[str, Any]) -> None:
    written = json.dumps(manifest, indent=4, ensure_ascii=False, sort_keys=True) + "\n"
    assert re.sub(r"\\u[0-9a-f]{4}", "", documents.as_json(manifest)) == re.sub(
        r"\\u[0-9a-f]{4}", "", documents._UNSEEN.sub("", written)
    )


@pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="this PyYAML is built without libyaml")
@settings(deadline=None, max_examples=40)
@given(st.dictionaries(TEXT, JSON, max_size=5))
def test_libyaml_reads_the_same(manifest: dict[str, Any]) -> None:
    text = documents.as_yaml(manifest)
    if not re.search(r"\\ud[89a-f]", text):  # half a surrogate pair is nothing that libyaml takes
        assert yaml.load(text, yaml.CSafeLoader) == manifest


def test_the_layout_is_kubectls() -> None:
    node = {"kind": "Node", "spec": {}, "status": {"addresses": [{"type": "Hostname", "address": "a"}], "m": [[1], []]}}
    assert documents.as_yaml(node) == (
        "kind: Node\nspec: {}\nstatus:\n  addresses:\n  - address: a\n    type: Hostname\n  m:\n  - - 1\n  - []\n"
    )
    listed = {"apiVersion": "v1", "items": [node], "kind": "List", "metadata": {"resourceVersion": ""}}
    assert "".join(documents.json_list([node])) == json.dumps(listed, indent=4, sort_keys=True) + "\n"


def test_a_key_of_any_length_can_be_read() -> None:
    manifest = {"k" * 2_000: {"l" * 2_000: [1, {"m" * 2_000: "x"}]}}
    assert yaml.safe_load(documents.as_yaml(manifest)) == manifest


@pytest.mark.parametrize(("render", "read"), [(documents.json_list, json.loads), (documents.yaml_list, yaml.safe_load)])
def test_an_empty_list_is_one(render: Callable[[Iterable[Any]], Iterator[str]], read: Callable[[str], Any]) -> None:
    assert read("".join(render([])))["items"] == []


@pytest.mark.parametrize("render", [documents.json_list, documents.yaml_list])
def test_a_long_list_is_never_held_as_a_whole(render: Callable[[Iterable[Any]], Iterator[str]]) -> None:
    tracemalloc.start()
    length = sum(len(piece) for piece in render({"name": "x" * 5_000, "n": number} for number in range(1_000)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert length > 5_000_000
    assert peak < 500_000
