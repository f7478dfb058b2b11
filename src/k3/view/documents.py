"""Nodes as documents that `kubectl` takes: JSON and YAML. Nothing in them can move a terminal's cursor.

A list is written piece by piece: ten thousand Nodes need no more memory than one.

The YAML is k3's own, since a manifest is JSON and needs little of it: PyYAML takes ten times as long with libyaml, and forty
times without. What could be read as anything but a text is quoted, for the readers of YAML 1.1 behind kubectl and of 1.2.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from k3.core.objects import Manifest

# What no terminal should be sent as it is: C1 controls, and characters that hide or turn the text around them. The last
# two of Unicode's first plane are no characters at all, and no reader of YAML takes them.
_UNSEEN: Final = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb\ufffe\uffff]"
)
_quoted: Final = json.JSONEncoder(ensure_ascii=False).encode
_PLAIN: Final = re.compile(r"(?!.*[: ](?:[: ]|\Z))[A-Za-z_/][A-Za-z0-9_./@+,()=: -]*+")
"""Words, each colon and each space between two of their characters."""
_READ_AS_OTHERS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_KEY_CHARACTERS: Final = 1_000
"""The longest key without a `?` in front (YAML 1.2 §8.2.2 allows 1,024)."""


def as_json(manifest: Manifest) -> str:
    """Returns indented JSON in UTF-8, ending in a newline."""
    return _json(manifest) + "\n"


def json_list(manifests: Iterable[Manifest]) -> Iterator[str]:
    """Gives many objects as one `v1 List`, piece by piece."""
    yield '{\n    "apiVersion": "v1",\n    "items": ['
    end = "]"
    for number, manifest in enumerate(manifests):
        yield ("," if number else "") + "\n        " + _json(manifest, "\n        ")
        end = "\n    ]"
    yield end + ',\n    "kind": "List",\n    "metadata": {\n        "resourceVersion": ""\n    }\n}\n'


def as_yaml(manifest: Manifest) -> str:
    """Returns YAML in which every text stays a text: timestamps, `1e3` and `on` are quoted."""
    return "\n".join(_block(manifest)) + "\n"


def yaml_list(manifests: Iterable[Manifest]) -> Iterator[str]:
    """Gives many objects as one `v1 List`, piece by piece."""
    start = "apiVersion: v1\nitems:"
    for manifest in manifests:
        yield start + "\n" + "\n".join(_block([manifest]))
        start = ""
    yield (f"{start} []" if start else "") + "\nkind: List\nmetadata:\n  resourceVersion: ''\n"


def _json(manifest: Manifest, margin: str = "\n") -> str:
    text = _indented_json(manifest, margin)
    return text if text.isascii() and "\x7f" not in text else _UNSEEN.sub(_code_point, text)


def _indented_json(value: Any, margin: str) -> str:  # noqa: ANN401 - JSON
    """Returns what `json.dumps` does with indent=4 and sort_keys, in a third of its time: that is plain Python as well."""
    if isinstance(value, str):
        return _quoted(value)
    inner = margin + "    "
    if isinstance(value, dict) and value:
        entries = [f"{_quoted(key)}: {_indented_json(each, inner)}" for key, each in sorted(value.items())]
        return f"{{{inner}{f',{inner}'.join(entries)}{margin}}}"
    if isinstance(value, list) and value:
        return f"[{inner}{f',{inner}'.join([_indented_json(each, inner) for each in value])}{margin}]"
    return json.dumps(value)


def _block(value: Any) -> list[str]:  # noqa: ANN401 - JSON
    """Gives the lines of a value in YAML's block style."""
    if isinstance(value, dict) and value:
        return [line for key in sorted(value) for line in _entry(_text(key), value[key])]
    if isinstance(value, list) and value:
        return [line for each in value for line in _indented("- ", _block(each))]
    return [_scalar(value)]


def _entry(key: str, value: Any) -> list[str]:  # noqa: ANN401 - JSON
    head = [f"? {key}"] if len(key) > _KEY_CHARACTERS else []
    key = "" if head else key
    if isinstance(value, dict) and value:
        return [*head, f"{key}:", *_indented("  ", _block(value))]
    if isinstance(value, list) and value:
        return [*head, f"{key}:", *_block(value)]
    return [*head, f"{key}: {_scalar(value)}"]


def _indented(first: str, lines: list[str]) -> list[str]:
    return [first + lines[0], *("  " + line for line in lines[1:])]


def _scalar(value: Any) -> str:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict | list):
        return "{}" if isinstance(value, dict) else "[]"
    if isinstance(value, float):
        return _number(value)
    return "null" if value is None else str(value).lower()


def _number(value: float) -> str:
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    text = repr(value)
    return text if "." in text else text.replace("e", ".0e")  # YAML 1.1 has no `1e+22`


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and value.lower() not in _READ_AS_OTHERS:
        return value
    if value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return _UNSEEN.sub(_code_point, json.dumps(value, ensure_ascii=False))


def _code_point(found: re.Match[str]) -> str:
    r"""Returns `\u009b`: the same in JSON and in YAML's double quotes, the only places such a character can stand."""
    return f"\\u{ord(found[0]):04x}"
