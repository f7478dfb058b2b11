"""The compose file as data: what each service runs with."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.docs.pages import ROOT

FILE = ROOT / "docker-compose.discovery.yaml"


@dataclass(frozen=True, slots=True)
class Service:
    """One of its services."""

    name: str
    document: dict[str, Any]

    @property
    def argv(self) -> list[str]:
        """What follows the entry point."""
        return [str(word) for word in self.document.get("command", [])]

    @property
    def environ(self) -> dict[str, str]:
        pairs = [str(each).partition("=") for each in self.document.get("environment", [])]
        return {name: value for name, _, value in pairs}

    @property
    def healthcheck(self) -> list[str]:
        """The command that says whether it works."""
        kind, *argv = [str(word) for word in self.document["healthcheck"]["test"]]
        assert kind == "CMD", f"{self.name}: there may be no shell in the image"
        return argv

    @property
    def mounts(self) -> dict[str, str]:
        """A file of the project or the name of a volume, by the place where the container has it."""
        return {place: source for source, place, *_ in (each.split(":") for each in self.document.get("volumes", []))}


@cache
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


def service(name: str) -> Service:
    return Service(name, document()["services"][name])
