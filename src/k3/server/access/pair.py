"""What the authority makes, apart from it: cryptography is loaded only where one of these is made or checked. Pure."""

from typing import Final

from k3.core.records import dataclass

NAME_CHARACTERS: Final = 64
"""RFC 5280, upper bound of a common name."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        """Returns no key."""
        return "Pair(…)"
