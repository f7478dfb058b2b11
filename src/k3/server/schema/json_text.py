"""JSON of a request body, with what Go's encoding/json says of text that is none, and with keys that are there twice. Pure."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from k3.core import documents, limits
from k3.server.schema import literals, wording
from k3.server.schema.literals import Number

_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_HALF: Final = re.compile("[\ud800-\udfff]")
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_END: Final = "unexpected end of JSON input"
"""At the end Go reads on as if a blank came: where a blank is wrong, it says so, and here only that there is no more."""


class NotJson(ValueError):
    """A text is not JSON, in Go's words."""


class Doubled(dict[str, Any]):
    """An object some of whose keys were there twice: the later one counts, and two objects are made one."""

    __slots__ = ("written",)

    def __init__(self, values: dict[str, Any], written: tuple[str, ...]) -> None:
        super().__init__(values)
        self.written = written
        """The keys as they were written, again and again."""


class _Twice(Exception):
    """An object has a key twice."""


class _Pairs(list[tuple[str, Any]]):
    """An object whose keys are kept as they were written."""


def parsed(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """Returns what a body says; numbers that no field may have are `Number`. Raises NotJson."""
    text = body.decode("utf-8", "replace")
    try:
        try:
            value = _DECODER.decode(text)
        except _Twice:
            value = _merged(_PAIRS.decode(text))
    except json.JSONDecodeError as odd:
        if _is_deep(text[: odd.pos]):  # from which depth on that is an error by itself depends on the Python
            raise _too_deep(body) from None
        raise NotJson(why_not(text, odd)) from None
    except RecursionError:
        raise _too_deep(body) from None
    if documents.is_too_deep(value, body.count(b"{") + body.count(b"[")):
        raise _too_deep(body)
    return _without_halves(value) if _SURROGATE.search(text) else value


def _is_deep(text: str) -> bool:
    """Whether some text of JSON, which need not be whole, is nested deeper than a document may be."""
    depth = 0
    for found in _BRACKET_OR_STRING.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > limits.DOCUMENT_DEPTH:
            return True
    return False


_BRACKET_OR_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def _too_deep(body: bytes) -> NotJson:
    bracket = "{" if body.count(b"{") >= body.count(b"[") else "["
    return NotJson(f"invalid character '{bracket}' exceeded max depth")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Twice
    return made


def _refuse(constant: str) -> NoReturn:
    raise NotJson("invalid character 'I' in numeric literal" if constant[0] == "-" else _beginning(constant))


_DECODER: Final = json.JSONDecoder(
    parse_float=Number, parse_int=literals.whole, parse_constant=_refuse, object_pairs_hook=_once
)
_PAIRS: Final = json.JSONDecoder(parse_float=Number, parse_int=literals.whole, parse_constant=_refuse, object_pairs_hook=_Pairs)


def _merged(value: Any) -> Any:  # noqa: ANN401 - JSON
    if type(value) is list:
        return [_merged(each) for each in value]
    if type(value) is not _Pairs:
        return value
    made: dict[str, Any] = {}
    for key, each in value:
        item = _merged(each)
        made[key] = _both(made[key], item) if key in made else item
    return Doubled(made, tuple(key for key, _ in value)) if len(made) != len(value) else made


def _both(one: Any, other: Any) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(one, dict) or not isinstance(other, dict):
        return other
    return one | {key: _both(one[key], each) if key in one else each for key, each in other.items()}


def doubled(value: Any, at: str = "") -> Iterator[str]:  # noqa: ANN401 - JSON
    """Gives the paths of the keys that are there twice: `metadata.labels.x`."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from doubled(each, f"{at}[{index}]")
    elif isinstance(value, dict):
        begin = f"{at}." if at else ""
        if type(value) is Doubled:
            yield from (begin + key for key in value if value.written.count(key) > 1)
        for key, each in value.items():
            yield from doubled(each, begin + key)


def _without_halves(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Returns JSON in which half a surrogate pair, which is no character, is U+FFFD, as Go has it."""
    if type(value) is str:
        return _HALF.sub("\ufffd", value)
    if type(value) is list:
        return [_without_halves(each) for each in value]
    if isinstance(value, dict):
        made = {_HALF.sub("\ufffd", key): _without_halves(each) for key, each in value.items()}
        return Doubled(made, value.written) if type(value) is Doubled else made
    return value


# --- what Go says -----------------------------------------------------------------------------------------------------


def why_not(text: str, odd: json.JSONDecodeError) -> str:
    """Returns what Go says of a text where Python finds no JSON."""
    at = odd.pos
    if odd.msg.startswith(("Unterminated string", "Invalid")):
        return _in_string(text, at, odd.msg)
    at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n"))
    if at >= len(text):
        return _END
    if odd.msg.startswith("Expecting value"):
        return _no_value(text, at)
    if odd.msg.startswith("Expecting property name"):
        return f"invalid character {wording.character(text[at:])} looking for beginning of object key string"
    if odd.msg.startswith("Illegal trailing comma"):  # since Python 3.13, at the comma
        after = text[at + 1 :].lstrip(" \t\r\n")
        return _beginning(after, of="object key string" if after.startswith("}") else "value")
    return _in_number(text, at) or f"invalid character {wording.character(text[at:])} {_after(text, at, odd.msg)}"


def _in_string(text: str, at: int, message: str) -> str:
    if message.startswith("Unterminated"):
        backslashes = len(text) - len(text.rstrip("\\"))
        return "invalid character ' ' in string escape code" if backslashes % 2 else _END
    if message.startswith("Invalid control character"):
        return f"invalid character {wording.character(text[at:])} in string literal"
    escape = text[text.rindex("\\", 0, at + 1) + 1 :][:6] if "\\" in text[: at + 1] else text[at:]
    escape = escape or " "
    if escape[0] != "u":
        return f"invalid character {wording.character(escape)} in string escape code"
    odd = escape[1:5].lstrip("0123456789abcdefABCDEF") or " "
    return f"invalid character {wording.character(odd)} in \\u hexadecimal character escape"


def _no_value(text: str, at: int) -> str:
    word = _WORDS.get(text[at], "")
    for offset, expected in enumerate(word):
        found = text[at + offset : at + offset + 1] or " "
        if found != expected:
            return f"invalid character {wording.character(found)} in literal {word} (expecting {wording.character(expected)})"
    if text[at] == "-":
        return f"invalid character {wording.character(text[at + 1 :] or ' ')} in numeric literal"
    return _beginning(text[at:])


_WORDS: Final = {"t": "true", "f": "false", "n": "null"}


def _beginning(rest: str, of: str = "value") -> str:
    return f"invalid character {wording.character(rest)} looking for beginning of {of}" if rest else _END


def _in_number(text: str, at: int) -> str:
    """Returns what is wrong with a number that Python took for a shorter one."""
    if not at or not text[at - 1].isdigit() or text[at] not in ".eE":
        return ""
    rest = text[at + 1 :]
    if text[at] != ".":
        rest = rest.removeprefix("+") if rest.startswith("+") else rest.removeprefix("-")
    rest = rest or " "
    where = "after decimal point in numeric literal" if text[at] == "." else "in exponent of numeric literal"
    return f"invalid character {wording.character(rest)} {where}"


def _after(text: str, at: int, message: str) -> str:
    if message.startswith("Extra data"):
        return "after top-level value"
    if message.startswith("Expecting ':'"):
        return "after object key"
    opened: list[str] = []
    for token in _TOKEN.finditer(text, 0, at):
        if token[0] in "[{":
            opened.append(token[0])
        elif token[0] in "]}" and opened:
            opened.pop()
    return "after array element" if opened and opened[-1] == "[" else "after object key:value pair"
