"""What the doctor says: one finding for each thing looked at, the causes before what follows from them. Pure."""

from collections.abc import Iterable, Sequence
from enum import StrEnum, unique
from shlex import quote
from typing import Final

from k3.core.records import dataclass

LOOK_UP_SHARE: Final = 0.8
"""So much of the time for a question a host name may take to be looked up: the rest is for saying that it has no address."""


@unique
class Severity(StrEnum):
    """How bad it is, the worst first."""

    PROBLEM = "problem"
    """Something does not work, and this is the cause."""
    WARNING = "warning"
    """It works, or may work, and something is amiss."""
    NOTE = "note"
    """Nothing is wrong: something that a person may want to know, or that could not be looked at."""
    OK = "ok"


@unique
class Subject(StrEnum):
    """What was looked at, in the order in which one thing rests on another: the cause stands before what follows from it."""

    INTERFACES = "interfaces"
    FIREWALL = "firewall"
    MULTICAST = "multicast"
    PORT = "port"
    AGENT = "agent"
    MACHINES = "machines"
    IDENTITY = "identity"
    NAME = "name"
    CLOCK = "clock"
    STORE = "store"
    CONSUL = "consul"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. Texts are plain sentences; all but `what` may be empty."""

    severity: Severity
    subject: Subject
    what: str
    why: str = ""
    """Why it matters."""
    do: str = ""
    commands: tuple[str, ...] = ()
    """Each does it by itself, unless `do` says otherwise: the first that fits this machine is enough."""
    is_unfinished: bool = False
    """Whether the look was not finished in time, so that nothing is known of its subject."""

    def document(self) -> dict[str, object]:
        """Returns it for programs. Texts that are empty are left out."""
        texts = {"what": self.what, "why": self.why, "do": self.do}
        found: dict[str, object] = {"severity": str(self.severity), "subject": str(self.subject)}
        found |= {key: text for key, text in texts.items() if text}
        found |= {"unfinished": True} if self.is_unfinished else {}
        return found | ({"commands": list(self.commands)} if self.commands else {})


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Returns the findings, the worst first, and among these the causes first."""
    severities, subjects = list(Severity), list(Subject)
    return sorted(findings, key=lambda each: (severities.index(each.severity), subjects.index(each.subject)))


def is_healthy(findings: Iterable[Finding]) -> bool:
    """Whether everything was looked at, and nothing was found to be wrong."""
    return all(each.severity in {Severity.NOTE, Severity.OK} and not each.is_unfinished for each in findings)


def document(findings: Sequence[Finding]) -> dict[str, object]:
    """Returns all of it for programs: what `k3 doctor -o json` prints."""
    return {"healthy": is_healthy(findings), "findings": [each.document() for each in findings]}


def sentence(text: str) -> str:
    """Returns a text with the stop that ends it, if it has none."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def look_up_commands(host: str) -> tuple[str, ...]:
    """Returns what shows why a host name has no address: the look-up itself, and who is asked."""
    return (f"getent hosts {quote(host)}", "cat /etc/resolv.conf")


def problem(subject: Subject, what: str, *, why: str = "", do: str = "", commands: Iterable[str] = ()) -> Finding:
    """Returns the cause of something that does not work."""
    return Finding(severity=Severity.PROBLEM, subject=subject, what=what, why=why, do=do, commands=tuple(commands))


def warning(subject: Subject, what: str, *, why: str = "", do: str = "", commands: Iterable[str] = ()) -> Finding:
    """Returns something that is amiss."""
    return Finding(severity=Severity.WARNING, subject=subject, what=what, why=why, do=do, commands=tuple(commands))


def note(subject: Subject, what: str, *, why: str = "", do: str = "", commands: Iterable[str] = ()) -> Finding:
    """Returns something that is worth knowing."""
    return Finding(severity=Severity.NOTE, subject=subject, what=what, why=why, do=do, commands=tuple(commands))


def ok(subject: Subject, what: str) -> Finding:
    """Returns something that is as it should be."""
    return Finding(severity=Severity.OK, subject=subject, what=what)


def unfinished(subject: Subject) -> Finding:
    """Returns that a look was given up: whether its subject is well is not known."""
    what = f"The look at {subject} was not finished in time: whether it is well is not known."
    do = "Look again when this machine is less busy."
    return Finding(severity=Severity.NOTE, subject=subject, what=what, do=do, is_unfinished=True)
