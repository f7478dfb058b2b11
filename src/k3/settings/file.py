"""The configuration file as YAML: its sections, with the line of every key. Knows no section's meaning.

A section that no command asks for is not looked into: other programs may keep theirs in the same file. No error repeats a
value, which may be a password.
"""

import re
from collections.abc import Sequence
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Any, Final

from k3.core.errors import ConfigInvalid
from k3.core.records import dataclass
from k3.core.safe_text import printable
from k3.settings.parsing import Section

FILE_BYTES: Final = 256 * 1024
VALUES: Final = 10_000
"""The most values in one section, with what its aliases stand for."""

_QUOTED: Final = re.compile(r"'[^'<][^']+'")
_NULL: Final = "tag:yaml.org,2002:null"
_MERGE: Final = "tag:yaml.org,2002:merge"
_PLAINER: Final = (
    (
        "mapping values are not allowed",
        "a key is where none can be; is it indented as it should be, or a value with : not quoted?",
    ),
    ("expected <block end>", "it is not indented as the lines before it"),
    ("could not find expected ':'", 'expected "key: value"'),
    ("expected a single document", "a second document begins here (---), and there can be one only"),
    ("while scanning a quoted scalar", "a quote is not closed"),
    ("found unexpected end of stream", "a quote or bracket is not closed"),
)
"""What the YAML library says, and what a person is told."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file's sections, not yet looked into. Made by `read`; the empty one stands for no file."""

    file: str = ""
    nodes: dict[str, Any] = field(default_factory=dict, repr=False)
    lines: dict[str, int] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        """Whether there is such a section."""
        return name in self.nodes

    def at(self, name: str) -> str:
        """Returns where a section stands: `k3.yaml:3: name`."""
        return f"{self.file}:{self.lines[name]}: {printable(name, limit=60)}"

    def values(self, name: str) -> Any:  # noqa: ANN401 - whatever the file says
        """Returns a section as YAML reads it: numbers, booleans and texts; None where there is none. Raises ConfigInvalid."""
        return self._read(name, as_texts=False)

    def texts(self, name: str) -> Any:  # noqa: ANN401 - whatever the file says
        """Returns a section with each value as it is written; None where there is none. Raises ConfigInvalid."""
        return self._read(name, as_texts=True)

    def _read(self, name: str, *, as_texts: bool) -> Any:  # noqa: ANN401 - whatever the file says
        if name not in self.nodes:
            return None
        reading = _Reading(self.file, as_texts=as_texts)
        return _telling(self.file, "", partial(reading.plain, self.nodes[name], name))


def read(path: Path) -> Document:
    """Returns the sections of a file. Raises ConfigInvalid naming file and line."""
    import yaml  # noqa: PLC0415 - loading it takes longer than most commands; only who has a file pays

    text = _text(path)
    root = _telling(str(path), text, lambda: yaml.compose(text, Loader=yaml.SafeLoader))
    if root is None or root.tag == _NULL:
        return Document(str(path))
    if not isinstance(root, yaml.MappingNode):
        msg = f"{path}: expected a mapping (key: value) with sections such as storage"
        raise ConfigInvalid(msg)
    keys = _keys(root.value, str(path), "")
    return Document(
        str(path),
        {key: value for key, (_, value) in zip(keys, root.value, strict=True)},
        {key: _line(node) for key, (node, _) in zip(keys, root.value, strict=True)},
    )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
    except IsADirectoryError:
        msg = f"cannot read the configuration file {path}: it is a directory"
        raise ConfigInvalid(msg) from None
    except PermissionError:
        msg = f"cannot read the configuration file {path}: it must be readable for the user who runs k3"
        raise ConfigInvalid(msg) from None
    except (OSError, ValueError) as error:
        msg = f"cannot read the configuration file {path}: {getattr(error, 'strerror', None) or 'not a path'}"
        raise ConfigInvalid(msg) from None
    if len(data) > FILE_BYTES:
        msg = f"{path}: larger than {FILE_BYTES // 1024} KiB, so not a configuration file of k3"
        raise ConfigInvalid(msg)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        msg = f"{path}:{line}: not UTF-8, so not valid YAML; save the file as UTF-8"
        raise ConfigInvalid(msg) from None


def _telling(file: str, text: str, work: Any) -> Any:  # noqa: ANN401 - hands on what `work` gives
    """Returns the result of `work`, with the library's errors in words that a person can use."""
    import yaml  # noqa: PLC0415 - see `read`

    try:
        return work()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        msg = f"{file}:{line}: not valid YAML: {_problem(error, line, text.splitlines()[line - 1 : line])}"
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        msg = f"{file}:{line}: not valid YAML: there is a control character (0x{error.character:02x}); is it a text file?"
    except (yaml.YAMLError, ValueError):
        msg = f"{file}: not valid YAML"
    except RecursionError:
        msg = f"{file}: not valid YAML for k3: nested too deep"
    raise ConfigInvalid(msg) from None


def _problem(error: Any, number: int, lines: Sequence[str]) -> str:  # noqa: ANN401 - a yaml.MarkedYAMLError
    """Returns what is wrong. It must not quote what stands there."""
    line = lines[0] if lines else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return f"line {number} begins with a tab; YAML wants spaces"
    said = f"{error.context} {error.problem}"
    if r"'\t'" in said:
        return f"line {number} has a tab; YAML wants spaces"
    plainer = next((words for beginning, words in _PLAINER if beginning in said), None)
    return plainer or _QUOTED.sub("'...'", str(error.problem))


def _line(node: Any) -> int:  # noqa: ANN401 - a yaml.Node
    return int(node.start_mark.line) + 1


def _keys(pairs: Sequence[tuple[Any, Any]], file: str, path: str) -> list[str]:
    """Returns the keys of a mapping, each once. Raises ConfigInvalid."""
    lines: dict[str, int] = {}
    for node, _ in pairs:
        line = _line(node)
        if not isinstance(node.value, str) or node.tag == _MERGE:
            msg = f"{file}:{line}: {path or 'a section'}: expected a plain key (no list, no mapping, no <<)"
            raise ConfigInvalid(msg)
        key = node.value
        if key in lines:
            name = printable(f"{path}.{key}" if path else key, limit=60)
            msg = f"{file}:{line}: {name} is there twice, in line {lines[key]} and in line {line}; keep one of them"
            raise ConfigInvalid(msg)
        lines[key] = line
    return list(lines)


class _Reading:
    """One section on its way from YAML's nodes to plain values."""

    def __init__(self, file: str, *, as_texts: bool) -> None:
        import yaml  # noqa: PLC0415 - see `read`

        self._file = file
        self._as_texts = as_texts
        self._loader = yaml.SafeLoader("")
        self._left = VALUES

    def plain(self, node: Any, path: str) -> Any:  # noqa: ANN401 - whatever the file says
        """Returns plain values, mappings as `Section`. Raises ConfigInvalid, and yaml's own errors."""
        self._left -= 1
        if self._left < 0:
            msg = f"{self._file}:{_line(node)}: {path}: more than {VALUES:,} values"
            raise ConfigInvalid(msg)
        if isinstance(node.value, str):
            return self._scalar(node)
        if node.id == "sequence":
            return [self.plain(each, path) for each in node.value]
        keys = _keys(node.value, self._file, path)
        lines = {key: _line(each) for key, (each, _) in zip(keys, node.value, strict=True)}
        values = [self.plain(value, f"{path}.{key}") for key, (_, value) in zip(keys, node.value, strict=True)]
        return Section(dict(zip(keys, values, strict=True)), path, file=self._file, lines=lines)

    def _scalar(self, node: Any) -> Any:  # noqa: ANN401 - whatever the file says
        if not self._as_texts:
            return self._loader.construct_object(node)
        return None if node.tag == _NULL else node.value
