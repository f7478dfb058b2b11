"""A machine goes, in every way, and comes back: how long until another host's `k3 nodes -w` says so.

Three hosts at `--peer-ttl 5s`, once on one SQLite file and once on a file each; one of them goes and another one watches.
Beside T, their time to live, which is what a person has chosen; how long a TCP connection between two of them takes is
remarked. Needs root. Prints one JSON object.

PYTHONPATH=src:. python benchmarks/leave.py [--quick]
"""

import signal
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Figure, median, tell
from benchmarks.scene import Ear, Stage, connect_seconds, is_quick, settle, stage
from tests.system.agents import Agent, Sight, Sights, is_ready

TTL_SECONDS = 5.0
SUSPECT_SECONDS = 4.0
"""max(T/3, 4 s)."""

Times = dict[str, list[float]]


class Scene:
    """The victim, who watches it, and the times so far."""

    def __init__(self, stage_: Stage, *, shared: bool) -> None:
        word = "s" if shared else "o"
        self.watching, self.other, self.victim = (stage_.agent(f"{word}{n}", shared=shared, ttl="5s") for n in "abc")
        self.lan = stage_.lan
        self.times: Times = defaultdict(list)
        self.frozen_in_write = 0
        for agent in self.agents:
            agent.watch()
            agent.start()
        settle(*self.agents)

    @property
    def agents(self) -> tuple[Agent, Agent, Agent]:
        return self.watching, self.other, self.victim

    @property
    def watcher(self) -> Sights:
        return self.watching.watch()

    def seconds(self, wanted: Callable[[Sight], object], since: float) -> float:
        """From then until the watcher was shown the victim so."""
        moment = datetime.fromtimestamp(since, UTC)
        return self.watcher.wait_for(self.victim.name, wanted, since=moment, guard_seconds=60).at.timestamp() - since

    def start_again(self, ear: Ear, name: str) -> None:
        """Start the victim and take the time from its announcement, and from its start."""
        began = time.time()
        self.victim.start()
        shown = began + self.seconds(is_ready, began)
        self.times[name].append(shown - ear.first_of(self.victim.name, since=began))
        self.times[f"{name} (from its start)"].append(shown - began)
        settle(*self.agents)

    def goodbye(self, ear: Ear) -> None:
        began = time.time()
        self.victim.process.send_signal(signal.SIGTERM)
        self.times["goodbye → NotReady"].append(self.seconds(is_down, began))
        self.victim.process.wait()
        self.start_again(ear, "start after goodbye → Ready")

    def death(self, ear: Ear) -> None:
        began = time.time()
        self.victim.process.kill()
        self.times["kill → Reachable=False"].append(self.seconds(is_suspect, began))
        self.times["kill → NotReady"].append(self.seconds(is_down, began))
        self.start_again(ear, "start after death → Ready")

    def freeze(self) -> None:
        began = self.freeze_between_writes()
        self.times["SIGSTOP → NotReady"].append(self.seconds(is_down, began))
        thawed = time.time()
        self.victim.process.thaw()
        self.times["SIGCONT → Ready"].append(self.seconds(is_ready, thawed))
        settle(*self.agents)

    def freeze_between_writes(self) -> float:
        """Stop the victim; returns when.

        One that stands still in a transaction on a shared file keeps all others from writing for as long as it does: that is
        counted, not timed.
        """
        while True:
            began = time.time()
            self.victim.process.freeze()
            if not is_locked(self.victim.path):
                return began
            self.frozen_in_write += 1
            self.victim.process.thaw()
            settle(*self.agents)

    def move(self, number: int) -> None:
        address = f"10.77.1.{100 + number}"
        began = time.time()
        self.lan.nic(self.victim.host).readdress(f"{address}/24")
        self.times["other address → in the store"].append(
            self.seconds(lambda sight: address in sight.view.addresses and is_ready(sight), began)
        )
        settle(*self.agents)


def is_locked(path: Path) -> bool:
    """Whether somebody is in the middle of a write, and stays there."""
    with closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        database.execute("ROLLBACK")
    return False


def is_down(sight: Sight) -> bool:
    return not sight.view.is_ready


def is_suspect(sight: Sight) -> bool:
    return sight.reachable == "False"


LIMITS: dict[str, tuple[float | None, float | None]] = {
    "goodbye → NotReady": (None, 1.0),
    "start after goodbye → Ready": (None, 1.0),
    "kill → Reachable=False": (None, SUSPECT_SECONDS),
    "kill → NotReady": (4.0, 7.0),
    "start after death → Ready": (None, 1.0),
    "SIGSTOP → NotReady": (None, None),
    "SIGCONT → Ready": (None, 3.0),
    "other address → in the store": (None, None),
}


def measure(scene: Scene, rounds: int, deaths: int) -> float:
    """Fill the times; returns what a bare connection takes."""
    with Ear(scene.watching.host) as ear:
        for _ in range(rounds):
            scene.goodbye(ear)
        for _ in range(deaths):
            scene.death(ear)
        for _ in range(deaths):
            scene.freeze()
        bare = connect_seconds(scene.watching.host, scene.lan.address(scene.victim.host))
        for number in range(rounds):
            scene.move(number)
    return bare


def main() -> None:
    rounds, deaths = (2, 1) if is_quick() else (8, 5)
    table, details = [], {}
    for shared in (False, True):
        name = "one store" if shared else "separate stores"
        with stage() as stage_:
            scene = Scene(stage_, shared=shared)
            bare = measure(scene, rounds, deaths)
        details[name] = {**scene.times, "frozen in the middle of a write": scene.frozen_in_write}
        for what, (low, high) in LIMITS.items():
            times = scene.times[what]
            rounds_ = f"{len(times)} round{'s' if len(times) > 1 else ''}"
            spread = f"{min(times):.3f} to {max(times):.3f} s in {rounds_}; a TCP connection takes {bare * 1e3:.3f} ms"
            if what.startswith("SIGSTOP") and scene.frozen_in_write:
                spread += f"; stopped in the middle of a write, and taken again: {scene.frozen_in_write}"
            if min(times) < 0:
                spread += "; below 0: found by a probe before it announced itself"
            table.append(Figure(f"{what}, median, {name}", median(times), "s", low, high, "T", TTL_SECONDS, spread))
    tell(table, **details)


if __name__ == "__main__":
    main()
