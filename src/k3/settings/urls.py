"""What the URLs of stores have in common: settings behind a question mark, texts that stand for numbers."""

from typing import Any
from urllib.parse import parse_qsl, urlencode

from k3.settings import parsing
from k3.settings.parsing import Fields


def read_query(query: str, fields: Fields, where: str) -> dict[str, Any]:
    """Returns the settings of a URL's query, checked by the fields. Raises ConfigInvalid."""
    values = {key: _scalar(text) for key, text in parse_qsl(query, keep_blank_values=True)}
    return parsing.read_fields(values, fields, where)


def _scalar(text: str) -> str | int | bool:
    """Returns a text of a query as the number or boolean that it looks like."""
    if text in {"true", "false"}:
        return text == "true"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text  # noqa: PLR2004 - beyond any setting


def query(settings: object, *names: str) -> str:
    """Returns `?ca_file=/etc/ca.pem`: those of these settings that are set; empty where none is."""
    found = {name: getattr(settings, name) for name in names if getattr(settings, name)}
    return f"?{urlencode(found, safe='/')}" if found else ""
