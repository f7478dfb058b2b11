"""Whether Consul can be used from here: reached, with a leader, and with the rights that k3 needs. Registers nothing."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from shlex import quote
from typing import Any, Final

from k3.agent import host_names
from k3.agent.tasks import time_limit
from k3.core.addresses import is_loopback
from k3.core.errors import ConfigInvalid, Forbidden, Invalid, K3Error, NotFound, Unavailable
from k3.core.records import dataclass
from k3.core.sources import DISCOVERY
from k3.discovery.catalog import Catalog
from k3.discovery.local_agent import LocalAgent
from k3.discovery.options import DiscoveryOptions
from k3.discovery.sender import Sender
from k3.discovery.settings import ConsulSettings
from k3.doctor.finding import LOOK_UP_SHARE, Finding, Subject, look_up_commands, note, ok, problem, sentence, warning
from k3.settings.structs import Reader

OLDEST: Final = (1, 8)
NEEDED: Final = "Machines in Consul are found through it, and this one is registered there."


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsulSeen:
    """What was found at Consul."""

    findings: tuple[Finding, ...]
    ahead_seconds: float | None = None
    """How far the clock of its agent is ahead of this process's; None: it has not said."""


async def look(options: DiscoveryOptions, reader: Reader, *, seconds: float) -> ConsulSeen:
    """Looks at Consul for so long. Raises for nothing that it does."""
    try:
        sender = Sender(options.consul)
    except ConfigInvalid as error:
        return ConsulSeen(findings=(problem(Subject.CONSUL, sentence(str(error)), why=NEEDED),))
    visit = _Visit(sender, options, reader)
    try:
        async with time_limit(seconds):
            if why := await _unknown(options.consul, seconds=seconds * LOOK_UP_SHARE):
                return ConsulSeen(findings=(_nameless(options.consul, why),))
            await visit.run()
    except TimeoutError:
        what = f"Consul at {options.consul.where} does not answer within {seconds:.1f} s."
        visit.findings.append(_away(what, options.consul))
    except Unavailable as error:
        visit.findings.append(_away(sentence(str(error)), options.consul))
    except Forbidden as error:
        visit.findings.append(_lacking(str(error), "", options))
    except K3Error as error:
        visit.findings.append(
            problem(Subject.CONSUL, sentence(str(error)), why=NEEDED, do="Correct --consul-addr, or CONSUL_HTTP_ADDR.")
        )
    finally:
        await sender.aclose()
    return ConsulSeen(findings=tuple(visit.findings), ahead_seconds=visit.ahead_seconds)


async def _unknown(consul: ConsulSettings, *, seconds: float) -> str:
    return "" if consul.scheme == "unix" else await host_names.unknown(consul.host, seconds=seconds)


def _nameless(consul: ConsulSettings, why: str) -> Finding:
    what = f"Consul at {consul.where} cannot be looked for: {why}."
    do = "Correct --consul-addr, or CONSUL_HTTP_ADDR; or see why the name is not found:"
    return problem(Subject.CONSUL, what, why=NEEDED, do=do, commands=look_up_commands(consul.host))


def _away(what: str, consul: ConsulSettings) -> Finding:
    commands = [f"consul members -http-addr={quote(consul.where)}"]
    there = ""
    if consul.scheme == "unix" or is_loopback(consul.host):
        commands.insert(0, "systemctl status consul")
    else:
        there = f" on {consul.host} (there: systemctl status consul)"
    do = f"See that Consul's agent runs{there}, and that --consul-addr is right:"
    return problem(Subject.CONSUL, what, why=NEEDED, do=do, commands=tuple(commands))


class _Visit:
    """One look at a Consul agent: question after question, until one has no answer."""

    def __init__(self, sender: Sender, options: DiscoveryOptions, reader: Reader) -> None:
        self._sender = sender
        self._options = options
        self._reader = reader
        self._agent = LocalAgent(sender)
        self._catalog = Catalog(sender)
        self.findings: list[Finding] = []
        self.ahead_seconds: float | None = None

    async def run(self) -> None:
        """Asks all there is to ask. Raises K3Error."""
        await self._leader()
        await self._version()
        lacks = [right for right in await self._rights() if right]
        if lacks:
            self.findings.append(
                _lacking(f"The token that k3 uses at Consul lacks {', '.join(lacks)}", self._why(lacks), self._options)
            )
            return
        datacenters = await self._catalog.datacenters()
        self.findings.append(await self._registration())
        wanted = [each for each in self._options.datacenters if each not in datacenters]
        for each in wanted:
            what = f"Consul knows no datacenter {each}; it has {', '.join(datacenters)}."
            self.findings.append(problem(Subject.CONSUL, what, why=NEEDED, do="Correct --datacenter."))
        self.findings.append(
            ok(Subject.CONSUL, f"Consul at {self._sender.where} answers, datacenters: {', '.join(datacenters)}")
        )

    def _why(self, lacks: Sequence[str]) -> str:
        if any(each.startswith("service:write") for each in lacks):
            return "Without that this machine cannot be registered in Consul, and no other one finds it there."
        return "Without that Consul shows fewer machines than there are, and says nothing of it."

    async def _leader(self) -> None:
        answer = await self._sender.call("GET", "/v1/status/leader")
        self.ahead_seconds = _ahead(answer.headers.get("date", ""))
        if answer.body.strip() in {b'""', b""}:
            what = f"Consul at {self._sender.where} has no leader: too few of its servers run, or they do not reach each other."
            do = "See which servers are there:"
            self.findings.append(
                problem(Subject.CONSUL, what, why=NEEDED, do=do, commands=("consul operator raft list-peers", "consul members"))
            )

    async def _version(self) -> None:
        try:
            said = await self._agent.read_self()
        except Forbidden:
            if not self._sender.has_token:
                return
            what = "The token may not read Consul's own agent (agent:read): its version and datacenter are not known."
            self.findings.append(note(Subject.CONSUL, what, do='Add to its policy: agent_prefix "" { policy = "read" }'))
            return
        numbers = said.version.split(".")
        if len(numbers) > 1 and numbers[0].isdigit() and numbers[1].isdigit() and (int(numbers[0]), int(numbers[1])) < OLDEST:
            what = f"Consul {said.version} is older than any that k3 was run with ({OLDEST[0]}.{OLDEST[1]})."
            self.findings.append(
                warning(Subject.CONSUL, what, why="What it answers may not be understood.", do="Upgrade Consul.")
            )

    async def _rights(self) -> list[str]:
        """Returns which rights are missing."""
        service = self._options.service
        wanted = [("service", service, "read"), ("node", "", "read")]
        wanted += [("service", service, "write")] if self._options.register_self else []
        answers = await self._authorized(wanted)
        if answers is not None:
            names = [f"{kind}:{access} on {name or 'all nodes'}" for kind, name, access in wanted]
            return [name for name, may in zip(names, answers, strict=False) if not may]
        return [] if await self._catalog.sees_nodes() else ["node:read on all nodes"]

    async def _authorized(self, wanted: Sequence[tuple[str, str, str]]) -> list[bool] | None:
        """Asks Consul itself what a token may, as its own page does; None: it cannot say."""
        asked = [{"Resource": kind, "Segment": name, "Access": access} for kind, name, access in wanted]
        try:
            answer = await self._sender.call("POST", "/v1/internal/acl/authorize", body=json.dumps(asked).encode())
        except (Forbidden, NotFound, Invalid, Unavailable) as error:
            if "ACL support disabled" in str(error):
                return [True] * len(wanted)
            if isinstance(error, Forbidden) and "acl not found" in str(error).lower():
                raise  # the token itself is unknown
            return None
        return _allowed(answer.body)

    async def _registration(self) -> Finding:
        service_id = self._options.full_service_id
        if not self._options.register_self:
            return note(Subject.CONSUL, "This machine is not to be registered in Consul (--no-register-self).")
        if await self._agent.own_service(service_id) is not None:
            return ok(Subject.CONSUL, f"this machine is registered in Consul as {service_id}")
        what = f"This machine is not registered in Consul (as {service_id}): k3 does that when it runs."
        return note(
            Subject.CONSUL, what, do="Start it:", commands=(self._reader.command(DISCOVERY.name), self._reader.command("up"))
        )


def _allowed(body: bytes) -> list[bool] | None:
    try:
        found: Any = json.loads(body)
    except ValueError:
        return None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        return None
    return [each.get("Allow") is True for each in found]


_RULES: Final = 'service "{}" {{ policy = "write" }} node_prefix "" {{ policy = "read" }} agent_prefix "" {{ policy = "read" }}'
"""What a token of k3 needs (docs/discovery.md)."""


def _lacking(what: str, why: str, options: DiscoveryOptions) -> Finding:
    do = "With a token that may change rights, make this policy and a token that has it; give that to k3 in CONSUL_HTTP_TOKEN:"
    policy = f"consul acl policy create -name k3 -rules '{_RULES.format(options.service)}'"
    commands = (f"{policy} && consul acl token create -policy-name k3",)
    return problem(Subject.CONSUL, f"{what}.", why=why or NEEDED, do=do, commands=commands)


def _ahead(date: str) -> float | None:
    try:
        at = parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return None
    return (at - datetime.now(UTC)).total_seconds() if at.tzinfo else None


def found_by_itself(reader: Reader, *, is_open: bool) -> Iterable[Finding]:
    """Gives a word on a Consul agent that runs here and that k3 was not told of."""
    if is_open:
        what = "Something listens at 127.0.0.1:8500, Consul's port, and k3 was told nothing of Consul."
        yield note(
            Subject.CONSUL,
            what,
            do="To find machines through it too:",
            commands=(reader.command("up --consul-addr localhost:8500"),),
        )
