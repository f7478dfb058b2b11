"""What a person can do about a machine that is not well: one sentence for each reason. Pure."""

from typing import Final

from k3.core.addresses import authority
from k3.core.node import NodeView
from k3.view.node_table import Reading

_ASK: Final = "Is the machine on, and does k3 run there? Ask it from here: curl http://{endpoint}/info"
SENTENCES: Final = {
    "ProbeFailed": f"Wait: it becomes NotReady when it has been silent for {{ttl}}. {_ASK}",
    "PeerUnreachable": f"{_ASK} (if that works, a firewall keeps other machines from its TCP port {{port}})",
    "PeerLeft": "k3 was stopped there. Start it again on that machine: k3 network",
    "NodeShutdown": "k3 was stopped there. Start it again on that machine: k3 {owner}",
    "ObserverLost": "No agent could ask it. Look at the network of the machines that run k3: do they reach each other?",
    "NoObserver": "No agent writes to this store any more. Start one: k3 {owner}",
    "ConsulCritical": "A check of it fails in Consul; the message says which. Look on the machine itself.",
    "ConsulDeregistered": "Consul no longer lists this machine. Start k3 there again: k3 discovery",
    "SourceUnreachable": "Consul, or the datacenter, cannot be reached. The log of k3 discovery says since when.",
}
_NEVER: Final = (
    "It announces itself and has never answered. Open TCP port {port} in its firewall, then: curl http://{endpoint}/info"
)
_RENAMED: Final = "Remove this Node: its machine is on the list under its new name."
_CONTROLLER: Final = "A controller reports this Node: ask it, as with kubectl describe node."


def advice(reading: Reading) -> str:
    """Returns what to do; empty for a machine that is well."""
    seen, state = reading.view, reading.state
    if state.is_well:
        return ""
    if seen.owner is None:
        return _CONTROLLER
    if state.message.startswith("renamed: "):
        return _RENAMED
    sentence = _NEVER if seen.is_unproven else SENTENCES.get(state.reason, "")
    ttl = f"{seen.peer_ttl_seconds:g} s" if seen.peer_ttl_seconds else "its time to live"
    if not endpoint(seen) and "{endpoint}" in sentence:
        sentence = "Is the machine on, and does k3 run there?"
    return sentence.format(endpoint=endpoint(seen), port=seen.port, owner=seen.owner, ttl=ttl)


def endpoint(seen: NodeView) -> str:
    """Returns where the machine is asked: `10.0.0.7:7946`, `[fd00::7]:7946`; empty where that is not known."""
    if not (seen.addresses and seen.port):
        return ""
    return authority(seen.addresses[0], seen.port)
