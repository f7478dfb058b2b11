"""The reasons that stand in conditions and Events: what each means, and what to do about it. Pure: data only.

`k3.view.words` hands these entries out, together with those of states and conditions, and says how they are to be read.
"""

from collections.abc import Mapping
from typing import Final

from k3.core.records import dataclass

NOTHING: Final = "Nothing is to be done."
_LOOK: Final = "Look whether the machine is on and k3 runs there, then ask it from here."
_ASK: Final = "curl -m 3 http://ADDRESS:PORT/info"
_DESCRIBE: Final = "kubectl describe node NAME"


@dataclass(frozen=True, slots=True)
class Word:
    """One entry: one sentence that says what it means, one that says what to do, and a command, where there is one."""

    means: str
    do: str
    command: str = ""
    on_machine: bool = False
    """Whether the command is to be typed on the machine itself."""

    def to_json(self) -> dict[str, str | bool]:
        """Returns it as JSON: `{means, do, command, onMachine}`."""
        return {"means": self.means, "do": self.do, "command": self.command, "onMachine": self.on_machine}


NEW_MACHINE_ID: Final = "rm -f /etc/machine-id /var/lib/dbus/machine-id; systemd-machine-id-setup"
_START: Final = ("Start k3 on that machine again.", "k3 SOURCE", True)

OWN_REASONS: Final[Mapping[str, Word]] = {
    # Ready, by network
    "PeerAlive": Word("Another machine asked it who it is, and it gave the right answer.", NOTHING),
    "SelfRegistered": Word("Its own agent started, asked it at its own addresses, and had the right answer.", NOTHING),
    "PeerUnreachable": Word(
        "It was asked again and again for its whole time to live, and has not answered.",
        f"{_LOOK[:-1]}; if it answers only there, open TCP port PORT in its firewall.",
        _ASK,
    ),
    "PeerLeft": Word("It said goodbye, and its port refused connections: k3 was stopped there.", *_START),
    "NodeShutdown": Word("Its own agent was told to stop, and said so before it ended.", *_START),
    "ObserverLost": Word(
        "Its time to live has passed, and no agent whose word would count was able to ask it: it may be well.",
        "Look at the network of the machines that run k3: do they reach each other, and is one on this network?",
        _ASK,
    ),
    # Ready, by discovery
    "ConsulPassing": Word("All its checks in Consul pass, or only warn.", NOTHING),
    "ConsulCritical": Word(
        "A check of it in Consul is critical: its message says which.",
        "Read what the check prints, then look on the machine.",
        "curl ${CONSUL_HTTP_ADDR:-127.0.0.1:8500}/v1/health/node/CONSUL_NODE",
    ),
    "ConsulDeregistered": Word(
        "Consul no longer lists it: k3 was stopped there, or somebody took it out, or Consul did after it was silent.",
        *_START,
    ),
    "SourceUnreachable": Word(
        "Consul, or its datacenter, cannot say how the machine is: it may be well.",
        "Look whether Consul answers and has a leader; the log of k3 discovery says what failed and since when.",
        "curl ${CONSUL_HTTP_ADDR:-127.0.0.1:8500}/v1/status/leader",
    ),
    # Ready, by the programs that the specification describes
    "LANDiscovery": Word(
        "Another program of the same purpose has heard the machine announce itself, and has not connected to it yet.", NOTHING
    ),
    "PeerExpired": Word("Another program of the same purpose could not connect to it for its whole time to live.", _LOOK, _ASK),
    "ConsulRegistered": Word("Another program of the same purpose has found it in Consul.", NOTHING),
    "ConsulHealthCheck": Word(
        "Another program of the same purpose has read its checks in Consul: its message says what they are.",
        "Look in Consul which check fails, then on the machine.",
        "curl ${CONSUL_HTTP_ADDR:-127.0.0.1:8500}/v1/health/node/NAME",
    ),
    # What readers work out
    "NoObserver": Word(
        "No agent has refreshed the Node for twice its time to live, so how the machine is now is not known.",
        "Start an agent that writes to this store.",
        "k3 SOURCE",
    ),
    "NoCondition": Word(
        "The Node has no Ready condition: what made it has not said how the machine is.",
        "Look whether the program that made the Node still runs, since k3 writes nothing here.",
        _DESCRIBE,
    ),
    "Unreadable": Word(
        "What the store holds under this name is no Node that can be read: its message says what is wrong with it.",
        "Find the program that wrote it, then remove it: agents leave it alone, and a machine that still runs k3 comes back.",
        "k3 delete node NAME",
    ),
    # The other conditions
    "ProbeSucceeded": Word("It answered the agent that asked it last.", NOTHING),
    "ProbeFailed": Word(
        "It did not answer an agent that asked it twice.",
        "Wait: it answers, or becomes NotReady when its time to live has passed; or ask it yourself.",
        _ASK,
    ),
    "NotAsked": Word("No agent was able to ask it.", "Look at the network of the machines that run k3.", _ASK),
    "SameIdentity": Word(
        "Another machine has the same machine id and hardware address: one of them is a copy of the other.",
        "Give one of the two an identity of its own, and restart k3 there; the message says how where this is no Linux.",
        NEW_MACHINE_ID,
        on_machine=True,
    ),
    "ConsulWarning": Word(
        "A check of it in Consul warns: its message says which, and it is Ready all the same.",
        "Read what the check prints, then look on the machine.",
        "curl ${CONSUL_HTTP_ADDR:-127.0.0.1:8500}/v1/health/node/CONSUL_NODE",
    ),
    # Events
    "Registered": Word("The machine was found, and has a Node from now on.", NOTHING),
    "NodeReady": Word("It is well again.", NOTHING),
    "NodeNotReady": Word("It is not Ready any more: the message says why.", "Ask k3 for the cause.", "k3 why NAME"),
    "NodeUnknown": Word(
        "It is not known any more how it is, since no agent was able to ask it.", "Ask k3 for the cause.", "k3 why NAME"
    ),
    "NameConflict": Word(
        "Two machines ask for one name: the one that had it keeps it, and this one goes by its second name.",
        "Rename one of the two machines, or give one of them a name.",
        "k3 network --node-name OTHER",
        on_machine=True,
    ),
    "IdentityChanged": Word(
        "Another identity answers under this name: the machine was installed anew, or is another one.",
        "If no machine was replaced or installed anew, look which one answers.",
        _ASK,
    ),
    "IdentityCloned": Word(
        "Another machine has the same machine id and hardware address: one of them is a copy of the other.",
        "Give one of the two an identity of its own, as the message says.",
    ),
    "AddressChanged": Word("Its addresses have changed.", NOTHING),
    "Adopted": Word("Another source of k3 looks after the Node from now on, as the former one had given it up.", NOTHING),
    "Replaced": Word(
        "It is known now why the machine does not answer: another one is in its place, or it goes by another name.",
        "If it goes by another name, remove this Node.",
        "k3 delete node NAME",
    ),
}
"""Those that k3 writes or reads as its own, and no others."""

OTHERS_REASONS: Final[Mapping[str, Word]] = {
    "KubeletReady": Word("The kubelet says that the machine is ready for Pods.", NOTHING),
    "KubeletNotReady": Word(
        "The kubelet runs and says that the machine is not ready for Pods: its message says why.",
        "Read its log on the machine.",
        "journalctl -u kubelet -n 50",
        on_machine=True,
    ),
    "NodeStatusUnknown": Word(
        "The kubelet has stopped reporting, so the cluster's control plane set the condition to Unknown.",
        "Look whether the machine is on, and whether its kubelet runs and reaches the API server.",
        "systemctl status kubelet",
        on_machine=True,
    ),
    "NodeStatusNeverUpdated": Word(
        "The kubelet has never reported, so the cluster's control plane set the condition to Unknown.",
        "Look whether the kubelet runs on the machine and reaches the API server.",
        "systemctl status kubelet",
        on_machine=True,
    ),
    "KubeletHasSufficientMemory": Word("The kubelet finds enough free memory.", NOTHING),
    "KubeletHasInsufficientMemory": Word(
        "The kubelet finds too little free memory.", "Stop what uses it, or move work elsewhere.", _DESCRIBE
    ),
    "KubeletHasNoDiskPressure": Word("The kubelet finds enough free space on the disks.", NOTHING),
    "KubeletHasDiskPressure": Word("The kubelet finds too little free space on the disks.", "Free space on them.", _DESCRIBE),
    "KubeletHasSufficientPID": Word("The kubelet finds that more processes may be started.", NOTHING),
    "KubeletHasInsufficientPID": Word("The kubelet finds too many processes.", "Find what starts them.", _DESCRIBE),
    "RouteCreated": Word("The cloud's controller has set up the route to the machine's Pods.", NOTHING),
    "NoRouteCreated": Word(
        "The cloud's controller has not set up the route to the machine's Pods.", "Look at the controller's log.", _DESCRIBE
    ),
    "RegisteredNode": Word("A controller has begun to look after the Node.", NOTHING),
    "RemovingNode": Word("A controller looks after the Node no longer.", NOTHING),
    "NodeSchedulable": Word("New work may come to the machine again.", NOTHING),
    "NodeNotSchedulable": Word(
        "New work is kept off the machine.", "Allow it again when the maintenance is over.", "kubectl uncordon NAME"
    ),
    "Rebooted": Word("The machine has been started anew.", NOTHING),
    "Starting": Word("The kubelet, or another program on the machine, has started.", NOTHING),
}
"""Those that kubelets and the controllers of Kubernetes write into Nodes and into Events about them."""

SITUATIONS: Final[Mapping[str, Word]] = {
    "NeverAnswered": Word(
        "It announces itself and has never answered: most often a firewall on the machine drops what comes to TCP port PORT.",
        "Open TCP port PORT in the machine's firewall; with firewalld: firewall-cmd --add-port=PORT/tcp.",
        "ufw allow PORT/tcp",
        on_machine=True,
    ),
    "Renamed": Word(
        "The machine goes by another name now, and is on the list under that one.",
        "Remove this Node.",
        "k3 delete node NAME",
    ),
    "AnotherAnswers": Word(
        "Another machine, or the same one installed anew, answers at its address.",
        "If the machine is gone for good, remove its Node; else find out where it is now.",
        "k3 delete node NAME",
    ),
    "SameId": Word(
        "Another Node has its id: where one is a copy with the same hardware address, each takes the other's packets.",
        "Give one of the two another hardware address and machine id; if it is one machine, renamed, remove the older Node.",
        NEW_MACHINE_ID,
        on_machine=True,
    ),
    "SameIdAnnounced": Word(
        "Another Node has its id, and one of the two was only announced: a copy, or something that announces the other's id.",
        "Look who is at the two addresses, and whether both have one hardware address; only a copy needs another id.",
        "ip neigh",
    ),
    "RefusesNow": Word(
        "The machine is on, and refuses the connection: no k3 listens at its port, or a firewall on it refuses.",
        "Start k3 on that machine again; if it runs there, open TCP port PORT in its firewall: ufw allow PORT/tcp.",
        "k3 SOURCE",
        on_machine=True,
    ),
    "AnswersNow": Word(
        "It answers this machine now: the agents that write to this store cannot reach it, or have not asked it again yet.",
        "Wait a minute; if it stays so, look at the network between it and the machines that run these agents.",
        "k3 nodes -w",
    ),
    "OtherProgram": Word(
        "Another program than k3 answers at its port, or something between here and there does.",
        "Look which program has the port on that machine, then start k3 there again.",
        "ss -ltnp sport = :PORT",
        on_machine=True,
    ),
    "Hangs": Word(
        "The machine takes the connection and k3 there gives no answer: its process is stopped, or waits for memory or disk.",
        "Look at the process on that machine (STAT T is stopped, D waits), and start it again.",
        "ps -o pid,stat,args -C k3",
        on_machine=True,
    ),
    "Filtered": Word(
        "The machine is on this network and drops what comes to TCP port PORT: a firewall does that.",
        "Open TCP port PORT in its firewall; with firewalld: firewall-cmd --add-port=PORT/tcp.",
        "ufw allow PORT/tcp",
        on_machine=True,
    ),
    "NotThere": Word(
        "Nothing on this network has its address: the machine is off, or cut off, or has another address by now.",
        "Look whether it is on, and at its cable, switch or Wi-Fi.",
    ),
    "NoWay": Word(
        "This machine itself has no way to the other one's network: its interface is down, or it has no route there.",
        "Mend this machine's own network first: k3 doctor says what is wrong with it.",
        "k3 doctor",
    ),
    "ConsulAgentLost": Word(
        "The Consul agent of the machine does not answer, and neither does k3 there.",
        "Look whether the machine is on, and whether its Consul agent runs.",
        "systemctl status consul",
        on_machine=True,
    ),
    "Foreign": Word("A controller or a person reports this Node, and k3 only shows it.", "Ask what reports it.", _DESCRIBE),
}
"""What the record of a Node tells beyond its reason: `k3.view.words.situation` says which it is."""
