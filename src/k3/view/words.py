"""What every state, condition and reason means, and what to do about it: the one place where that is said. Pure.

`k3 describe`, `k3 why`, the page and `docs/states.md` all show these entries, so that nothing is explained twice (ADR 57).
An entry is one sentence that says what it means, one that says what to do, and a command where there is one. In the sentences
and commands, `NAME`, `ADDRESS:PORT`, `PORT`, `SOURCE` and `CONSUL_NODE` stand for what the Node says (`fitted`).

A test reads the code for every reason that k3 writes: each has its entry here, and no entry is without use.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from k3.core import phrases
from k3.core.addresses import authority, parse_address
from k3.core.documents import UNREADABLE
from k3.core.node import NodeView
from k3.core.sources import DISCOVERY, NETWORK
from k3.view.node_table import A_CLONE, CORDONED, NO_OBSERVER, NOT_ANSWERING, Reading, State
from k3.view.reasons import NEW_MACHINE_ID, NOTHING, OTHERS_REASONS, OWN_REASONS, SITUATIONS, Word

STATES: Final[Mapping[str, Word]] = {
    "Ready": Word("The machine answered when it was last asked, or its controller says that it is well.", NOTHING),
    "NotReady": Word(
        "The machine is not well, has left, or could not be asked: its reason says which.",
        "Ask k3 for the cause.",
        "k3 why NAME",
    ),
    "Unknown": Word(
        "The Node has no Ready condition: what made it has not said how the machine is.",
        "Look whether the program that made the Node still runs, since k3 writes nothing here.",
        "kubectl describe node NAME",
    ),
    f"Unknown ({NO_OBSERVER})": Word(
        "No agent has refreshed the Node for twice its time to live, so how the machine is now is not known.",
        "Start an agent that writes to this store.",
        "k3 SOURCE",
    ),
    f"Ready ({NOT_ANSWERING})": Word(
        "The machine has stopped answering, and its time to live has not passed yet.",
        "Wait until it answers or becomes NotReady, or ask it yourself.",
        "curl -m 3 http://ADDRESS:PORT/info",
    ),
    f"Ready ({A_CLONE})": Word(
        "Another machine has the same machine id and hardware address: one of them is a copy of the other.",
        "Give one of the two an identity of its own, and restart k3 there; the message says how where this is no Linux.",
        NEW_MACHINE_ID,
        on_machine=True,
    ),
    UNREADABLE: OWN_REASONS[UNREADABLE],
    CORDONED: Word(
        "New work is kept off the machine, by a person or by maintenance in Consul: this says nothing about its health.",
        "Allow work again when the maintenance is over.",
        "kubectl uncordon NAME",
    ),
    "Deleted": Word(
        "The Node has just been removed from the store.",
        "Do nothing: if the machine still runs k3, its Node returns at the next probe.",
    ),
}
"""By the text of the STATUS column; a cordoned Node's has two entries, that of its health and that of the cordon."""

CONDITIONS: Final[Mapping[str, Word]] = {
    "Ready": Word("Whether the machine is healthy; Unknown where it could not be asked.", "Read its reason.", "k3 why NAME"),
    f"{NETWORK.prefix}Reachable": Word(
        "Whether the machine answers the agents that ask it: False within seconds of its silence, long before Ready is.",
        "While it is False, look whether the machine is on and can be reached.",
        "curl -m 3 http://ADDRESS:PORT/info",
    ),
    f"{NETWORK.prefix}Cloned": Word(
        "True while another machine has the same machine id and hardware address.",
        "Give one of the two an identity of its own, as its message says.",
    ),
    f"{DISCOVERY.prefix}Warning": Word(
        "True while a check of the machine in Consul warns: the machine is Ready all the same.",
        "Read what its checks print.",
        "curl ${CONSUL_HTTP_ADDR:-127.0.0.1:8500}/v1/health/node/CONSUL_NODE",
    ),
    "MemoryPressure": Word(
        "True while the kubelet finds too little free memory on the machine.",
        "Stop what uses it, or move work elsewhere.",
        "kubectl describe node NAME",
    ),
    "DiskPressure": Word(
        "True while the kubelet finds too little free space on the machine's disks.",
        "Free space on the machine, best where its images and logs are.",
        "kubectl describe node NAME",
    ),
    "PIDPressure": Word(
        "True while too many processes run on the machine.",
        "Find what starts them.",
        "kubectl describe node NAME",
    ),
    "NetworkUnavailable": Word(
        "True while the network of the machine's Pods is not set up.",
        "Look at the network plugin or the cloud's routes.",
        "kubectl describe node NAME",
    ),
}
"""By type: those that k3 writes, and those that kubelets and controllers write about Nodes."""

REASONS: Final[Mapping[str, Word]] = {**OWN_REASONS, **OTHERS_REASONS}
"""Of Ready, of the other conditions and of Events."""

LABELS: Final[Mapping[str, str]] = {
    "key": (
        "The key of a label is made of letters, digits, '-', '_' and '.', begins and ends with a letter or digit, and has at "
        "most 63 characters; a domain and a slash may stand before it: rack, example.com/rack."
    ),
    "value": (
        "The value of a label is made of letters, digits, '-', '_' and '.', begins and ends with a letter or digit, and has at "
        "most 63 characters, or is empty: it has no spaces."
    ),
}
"""What is wrong with a label that a person has typed, by the part that Kubernetes does not take."""

_OTHER: Final = Word(
    "Another program wrote this reason, and k3 does not know its meaning.", "Ask that program.", "kubectl describe node NAME"
)
_PLACES: Final = re.compile(r"ADDRESS:PORT|\b(?:NAME|PORT|SOURCE|CONSUL_NODE)\b")


def to_json() -> dict[str, dict[str, dict[str, str | bool]]]:
    """Returns all entries as JSON: `states`, `conditions`, `reasons`, `situations`; each is `{means, do, command, onMachine}`.

    What stands in capitals in a sentence or command is the reader's to replace, as `fitted` does.
    """
    tables = {"states": STATES, "conditions": CONDITIONS, "reasons": REASONS, "situations": SITUATIONS}
    return {title: {key: word.to_json() for key, word in table.items()} for title, table in tables.items()}


def of_reason(reason: str) -> Word:
    """Returns the entry of a reason; one for all that k3 does not know."""
    return REASONS.get(reason, _OTHER)


def of_state(state: State) -> Word:
    """Returns the entry of a state, without its cordon."""
    word = state.word.removesuffix(f",{CORDONED}")
    return STATES[f"{word} ({state.remark})" if state.remark else word]


def situation(reading: Reading) -> str:
    """Returns the situation in which a Node is, where its record tells more than its reason alone; else an empty text."""
    seen, state = reading.view, reading.state
    if seen.is_unreadable or state.is_well:
        return ""
    if seen.owner is None:
        return "" if state.reason in OTHERS_REASONS else "Foreign"
    cases = {
        "Renamed": phrases.is_renamed(state.message),
        "AnotherAnswers": phrases.is_another(state.message),
        "NeverAnswered": seen.is_unproven and state.reason == "PeerUnreachable",
        "ConsulAgentLost": state.reason == "SourceUnreachable" and state.message == phrases.AGENT_LOST,
    }
    return next((name for name, holds in cases.items() if holds), "")


def of(reading: Reading) -> Word:
    """Returns the entry that fits a Node best, fitted to it: that of its situation, of its reason, or of its state."""
    if found := situation(reading):
        word = SITUATIONS[found]
    elif reading.state.remark in {NO_OBSERVER, A_CLONE} or not reading.state.reason:
        word = of_state(reading.state)
    else:
        word = of_reason(reading.state.reason)
    return fitted(word, reading)


def fitted(word: Word, reading: Reading) -> Word:
    """Returns an entry with what the Node says put into it, safe to be typed into a shell. What is not known stays a word."""
    seen = reading.view
    known = {
        "NAME": shlex.quote(_name(reading)),
        "SOURCE": seen.owner or NETWORK.name,
        "PORT": str(seen.port or ""),
        "ADDRESS:PORT": shlex.quote(endpoint(seen)) if endpoint(seen) else "",
        "CONSUL_NODE": quote(seen.annotations.get(f"{DISCOVERY.prefix}consul-node", ""), safe="", errors="replace"),
    }

    def put(found: re.Match[str]) -> str:
        return known[found[0]] or found[0]

    return replace(
        word, means=_PLACES.sub(put, word.means), do=_PLACES.sub(put, word.do), command=_PLACES.sub(put, word.command)
    )


def endpoint(seen: NodeView) -> str:
    """Returns where the machine is asked: `10.0.0.7:7946`, `[fd00::7]:7946`; empty where that is not known."""
    if not (seen.addresses and seen.port and parse_address(seen.addresses[0])):
        return ""
    return authority(seen.addresses[0], seen.port)


def _name(reading: Reading) -> str:
    metadata = reading.manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else ""
    return name if isinstance(name, str) else ""
