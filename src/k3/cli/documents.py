"""Nodes as documents that `kubectl` takes: JSON and YAML. Nothing in them can move a terminal's cursor."""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from k3.core.objects import Manifest

# What no terminal should be sent as it is: C1 controls, and characters that hide or turn the text around them.
_UNSEEN: Final = re.compile("[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb]")
# What PyYAML leaves bare, and the YAML 1.1 reader behind kubectl takes for a number or a boolean.
_MISREAD: Final = re.compile(r"[-+.\d].*|[yYnN]", re.DOTALL)


def listing(manifests: Iterable[Manifest]) -> Manifest:
    """Many Nodes as one `v1 List`."""
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": list(manifests)}


def as_json(manifest: Manifest) -> str:
    """Indented JSON in UTF-8, ending in a newline."""
    return _UNSEEN.sub(_code_point, json.dumps(manifest, indent=4, ensure_ascii=False, sort_keys=True)) + "\n"


def as_yaml(manifest: Manifest) -> str:
    """YAML in which every text stays a text: timestamps, `1e3` and `on` are quoted."""
    import yaml  # noqa: PLC0415 - loading it takes longer than printing a table; only who asks for YAML pays

    class Dumper(yaml.SafeDumper):
        """PyYAML's, with stricter quotes and without anchors."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - PyYAML's signature
            return True

    def text(dumper: Dumper, value: str) -> yaml.ScalarNode:
        style = '"' if _UNSEEN.search(value) else "'" if _MISREAD.fullmatch(value) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    shown = yaml.dump(manifest, Dumper=Dumper, allow_unicode=True, sort_keys=True, width=float("inf"))
    return _UNSEEN.sub(_code_point, shown)


def _code_point(found: re.Match[str]) -> str:
    r"""`\u009b`: the same in JSON and in YAML's double quotes, the only places such a character can stand."""
    return f"\\u{ord(found[0]):04x}"
