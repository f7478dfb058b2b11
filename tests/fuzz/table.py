"""All parsers of bytes from outside."""

from typing import Final

from tests.fuzz import discovery, http, kernel, network, server, settings, showing, stores
from tests.fuzz.parser import Parser

_GROUPS: Final = (network, discovery, stores, showing, settings, http, kernel, server)
PARSERS: Final[dict[str, Parser]] = {parser.name: parser for group in _GROUPS for parser in group.PARSERS}
