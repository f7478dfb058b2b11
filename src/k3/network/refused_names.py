"""Names that a person chose and this machine refused to start under, kept in the state directory.

At the start nothing tells a machine that honestly holds the name on a store of its own from a liar. So such a claim is believed
once, and the person is told; who starts again means it, and a liar stops no machine for ever (docs/adr/0044).
"""

import logging
from pathlib import Path
from typing import Final

from k3.agent.state_file import replace_text

NAMES: Final = 16
"""The latest are kept."""
_FILE: Final = "refused-names"

log = logging.getLogger(__name__)


class RefusedNames:
    """What is kept. Nothing is known before `learn`."""

    def __init__(self) -> None:
        self._state_dir: Path | None = None

    def learn(self, state_dir: Path) -> None:
        """Says where they are kept."""
        self._state_dir = state_dir

    def has(self, name: str) -> bool:
        """Returns whether a start under this name was refused before."""
        return name in self._names()

    def note(self, name: str) -> None:
        """Keeps a name. Where it cannot be kept, the next start is refused as well."""
        if self._state_dir is None:
            return
        names = [*(each for each in self._names() if each != name), name][-NAMES:]
        try:
            replace_text(self._state_dir / _FILE, "".join(f"{each}\n" for each in names))
        except OSError as error:
            log.debug("name.not_kept", extra={"fields": {"node": name, "error": str(error)}})

    def _names(self) -> list[str]:
        if self._state_dir is None:
            return []
        try:
            return (self._state_dir / _FILE).read_text(encoding="ascii").split()
        except (OSError, ValueError):
            return []
