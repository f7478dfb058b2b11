"""Many observers, one truth: when to probe whom, when to suspect, when to say that a machine is gone.

`PeerTable` is a state machine without I/O: `handle(event, now)` takes one event and the local monotonic time and answers with
what is to be done: probes to start, observations to report, a reannouncement. `deadline` says when it wants a `Tick`. It opens
no socket, reads no clock, and knows no other host's clock either: ages are differences between two local times, or between two
times that one host wrote.

Theory of operation
-------------------
The store is the list of peers. Per peer the table keeps `last_sign_at`, the local time of the newest evidence that it lives: an
answer to this agent, or the store showing a fresh lastSeen. All times follow from the peer's time to live T (`ranks.Timing`).

* Observers of a peer are ordered by hash (`ranks.rank`). Rank 0 probes every T/6; later ranks only when the peer has
  been out of sight for T/3 + T/6 and a step more per rank. So the work per machine does not grow with their number.
* Success is written only where it changes something, or the stored lastSeen is about T/3 old.
* A prefix in common makes no agent an observer: one that has never reached a peer, nor heard it, has no say over it (`places`).
* Two failures of an agent that has a say make a suspicion (Reachable=False). Any observer's success takes it back.
* The verdict falls when the last sign of life is T old, after two failures of the agent's own just now: NotReady by an observer
  with standing (it reached the peer itself over a link that it still has, or the store says that it was the last to see it),
  Unknown by any other. An agent that has no say, or has lost its link to the peer, says Unknown: T/3 later where others may yet
  speak.
* An observer that doubts itself (`doubt`) suspects no peer, and can only say Unknown.
* While the store is out of reach, or after the agent's own loop stood still, ages do not advance: they start again.
* The agent writes its own Node on joining and on change; its lastSeen only where no other agent looks after it. What others
  concluded about it, only they can take back: it announces itself again. That no observer knew of it is no conclusion.

Where the rules are
-------------------
`docs/architecture.md`, "Many observers, one truth", numbers them; every module here names the numbers of its own.

    table          the entrance: which part takes an event, and which acts when its time has come
    laws           two tables: what may be reported of a peer in which state, and what may follow from which event
    knowledge      what one agent knows of all peers, and what has come of the present event so far
    peer           rule 2: what it knows of one peer
    from_store     rules 1 and 2: what the store shows
    observers      rules 3 and 4: which agents look after which peer, and this agent's rank among them
    places         rule 3: where a peer can be asked from here, and whether this agent has a say over it
    from_network   rules 4 and 10: announcements and goodbyes
    candidates     rule 4: the places where a name is only announced; `crowd` holds them in bounds and gives them their turns
    bounds         how many proven machines there may be at one address and in all
    asking         where a peer is asked, and who else is asked that claims the name of a Node which is not Ready
    probing        rules 4 and 5: when a peer is asked, and what its answer changes
    suspicion      rules 6 and 10: what two failures in a row mean
    verdicts       rule 7: what is said at the end of a peer's time to live
    own_node       rule 8: the agent's own Node
    doubt          rule 9: whether the agent itself is the broken one
    adoption       Nodes that another source has given up; `foreign` knows them
    forgetting     Nodes that an agent removes by itself
"""

from k3.network.peers.table import PeerTable

__all__ = ["PeerTable"]
