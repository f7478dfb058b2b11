"""A controller that keeps Nodes as a kubelet does, at random, and the judge of what others wrote between its writes."""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from k3.core.documents import decode
from k3.core.errors import AlreadyExists, Conflict, NotFound
from k3.core.objects import NODE, Key, Manifest, Object
from k3.core.store import Change, Store
from tests.discovery.histories import History

KUBELETS: Final = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
K3S_REASONS: Final = {"ConsulPassing", "ConsulCritical", "ConsulDeregistered", "SourceUnreachable", "NodeShutdown"}
MANAGED: Final = "k3.discovery/managed"


class Controller:
    """Whatever it wrote is in `wrote`, by revision, with what it deleted."""

    def __init__(self, store: Store, dice: Random) -> None:
        self._store = store
        self._dice = dice
        self.wrote: dict[int, Object] = {}
        self.takeovers: Counter[str] = Counter()

    async def step(self, name: str) -> None:
        """One random deed at one Node."""
        try:
            current = await self._store.get(Key(NODE, name))
        except NotFound:
            if self._dice.random() < 0.5:
                await self.create(name)
            return
        if is_k3_s(current.manifest()):
            await self.change(name, self._take_over)
        elif self._dice.random() < (0.2 if _is_labelled(current.manifest()) else 0.05):
            await self._delete(name)
        else:
            await self.change(name, self._dice.choice(self._deeds()))

    async def create(self, name: str) -> None:
        """A Node as a kubelet and its helpers leave it, unless there is one already."""
        try:
            made = await self._store.create(Key(NODE, name), self.manifest())
        except AlreadyExists:
            return
        self.wrote[made.revision] = made

    async def _delete(self, name: str) -> None:
        with contextlib.suppress(NotFound):
            gone = await self._store.delete(Key(NODE, name))
            self.wrote[gone.revision] = gone

    async def change(self, name: str, deed: Callable[[Manifest], None]) -> None:
        """Read, change, write if nobody else did, until it is done or the Node is gone."""
        while True:
            try:
                current = await self._store.get(Key(NODE, name))
                manifest = current.manifest()
                deed(manifest)
                written = await self._store.update(current.with_manifest(manifest))
            except Conflict:
                continue
            except NotFound:
                return
            if written.revision != current.revision:
                self.wrote[written.revision] = written
            return

    def manifest(self) -> Manifest:
        """All that a Node may hold: five conditions, taints, capacity, images, and what nobody has heard of."""
        return {
            "metadata": {
                "labels": {"zone": "a", "kubernetes.io/os": "plan9"},
                "annotations": {"volumes.kubernetes.io/attach": "true", "k3.discovery/lastSeen": "theirs"},
                "ownerReferences": [{"kind": "Machine", "name": "m-1", "uid": "7"}],
            },
            "spec": {
                "podCIDR": "10.1.0.0/24",
                "taints": [{"key": "gpu", "effect": "NoSchedule"}],
                "unheardOf": {"a": [1, 1.5]},
            },
            "status": {
                "conditions": [self._condition(type_, "False") for type_ in KUBELETS[1:]] + [self._condition("Ready", "True")],
                "addresses": [{"type": "InternalIP", "address": "192.0.2.9"}],
                "capacity": {"cpu": "8", "memory": "64Gi"},
                "allocatable": {"cpu": "7500m"},
                "images": [{"names": ["registry/pause@sha256:0", "registry/pause:3"], "sizeBytes": 299_513}],
                "nodeInfo": {"kubeletVersion": "v1.31.2", "bootID": "é\u2028"},
                "unheardOf": None,
            },
            "unheardOf": {"deep": [{"er": True}, None, "", 0, -0.5]},
        }

    def _condition(self, type_: str, status: str) -> dict[str, Any]:
        heard = f"2026-01-01T00:{self._dice.randrange(60):02}:{self._dice.randrange(60):02}Z"
        return {
            "type": type_,
            "status": status,
            "reason": f"Kubelet{self._dice.randrange(1000)}",
            "message": "as the kubelet says",
            "lastHeartbeatTime": heard,
            "lastTransitionTime": heard,
            "unheardOf": heard,
        }

    def _deeds(self) -> list[Callable[[Manifest], None]]:
        often = [self._beat, self._beat, self._beat, self._be_ready, self._be_ready]
        ready = [self._flip_ready, self._drop_ready, self._condition_anew, self._shuffle]
        return [*often, *ready, self._taint, self._label, self._annotate, self._pull_image, self._unheard_of]

    def _beat(self, manifest: Manifest) -> None:
        """Long ago by its own clock, so that there is always something to renew."""
        for each in manifest["status"]["conditions"]:
            each["lastHeartbeatTime"] = f"2026-01-01T01:{self._dice.randrange(60):02}:{self._dice.randrange(60):02}Z"

    def _set_ready(self, manifest: Manifest, status: str) -> None:
        conditions = manifest["status"]["conditions"]
        kept = [each for each in conditions if each["type"] != "Ready"]
        kept.insert(self._dice.randrange(len(kept) + 1), self._condition("Ready", status))
        manifest["status"]["conditions"] = kept

    def _flip_ready(self, manifest: Manifest) -> None:
        self._set_ready(manifest, self._dice.choice(["True", "False", "Unknown"]))

    def _be_ready(self, manifest: Manifest) -> None:
        self._set_ready(manifest, "True")

    def _drop_ready(self, manifest: Manifest) -> None:
        conditions = manifest["status"]["conditions"]
        if "kubeletVersion" in manifest["status"].get("nodeInfo", {}):
            conditions[:] = [each for each in conditions if each["type"] != "Ready"]

    def _condition_anew(self, manifest: Manifest) -> None:
        type_ = self._dice.choice(KUBELETS[1:])
        conditions = [each for each in manifest["status"]["conditions"] if each["type"] != type_]
        manifest["status"]["conditions"] = [*conditions, self._condition(type_, self._dice.choice(["True", "False"]))]

    def _shuffle(self, manifest: Manifest) -> None:
        self._dice.shuffle(manifest["status"]["conditions"])

    def _taint(self, manifest: Manifest) -> None:
        manifest["spec"]["taints"] = [{"key": f"t{self._dice.randrange(99)}", "effect": "NoExecute"}]
        manifest["spec"]["unschedulable"] = self._dice.random() < 0.5

    def _label(self, manifest: Manifest) -> None:
        manifest["metadata"].setdefault("labels", {})["kubernetes.io/hostname"] = f"h{self._dice.randrange(999)}"

    def _annotate(self, manifest: Manifest) -> None:
        manifest["metadata"].setdefault("annotations", {})["k3.discovery/maintenance"] = str(self._dice.random())

    def _pull_image(self, manifest: Manifest) -> None:
        manifest["status"].setdefault("images", []).append({"names": [f"i{self._dice.random()}"]})

    def _unheard_of(self, manifest: Manifest) -> None:
        manifest["unheardOf"] = {"number": self._dice.random(), "nothing": None}

    def _take_over(self, manifest: Manifest) -> None:
        """A Node of discovery's becomes ours, in one of the three ways; one that is by now stays as it is."""
        if not is_k3_s(manifest):
            return
        way = self._dice.choice(sorted(TAKEOVERS))
        TAKEOVERS[way](manifest)
        self.takeovers[way] += 1


def _by_label(manifest: Manifest) -> None:
    del manifest["metadata"]["labels"][MANAGED]


def _by_kubelet(manifest: Manifest) -> None:
    manifest["status"]["nodeInfo"] = {"kubeletVersion": "v1.31.2"}


def _by_reason(manifest: Manifest) -> None:
    for each in manifest["status"]["conditions"]:
        if each["type"] == "Ready":
            each["reason"] = "KubeletReady"


TAKEOVERS: Final[Mapping[str, Callable[[Manifest], None]]] = {
    "label": _by_label,
    "kubelet": _by_kubelet,
    "reason": _by_reason,
}


def is_k3_s(manifest: Manifest) -> bool:
    """Whether discovery may write all it likes: labelled so, no kubelet, and no reason of somebody else's in Ready."""
    status = manifest["status"]
    reasons = {each["reason"] for each in status.get("conditions", []) if each["type"] == "Ready"}
    return _is_labelled(manifest) and not status.get("nodeInfo", {}).get("kubeletVersion") and reasons <= K3S_REASONS


def _is_labelled(manifest: Manifest) -> bool:
    return (manifest["metadata"].get("labels") or {}).get(MANAGED) == "true"


def judge(history: History, controller: Controller) -> int:
    """Hold every revision to the law of ownership; returns how many heartbeats others wrote into the controller's Nodes."""
    nodes = dict(history.first)
    beats = 0
    for change in history.changes:
        name = change.object.key.name
        before = nodes.pop(name, None)
        if (ours := controller.wrote.get(change.object.revision)) is not None:
            assert change.object.document == ours.document, f"{name}: a write of the controller's is not there as written"
        elif before is None:
            assert change.type == "ADDED"
            assert is_k3_s(change.object.manifest())
        elif is_k3_s(before.manifest()):
            assert change.type == "MODIFIED"
        else:
            _is_a_heartbeat(before, change)
            beats += 1
        if change.type != "DELETED":
            nodes[name] = change.object
    assert set(controller.wrote) <= {change.object.revision for change in history.changes}
    return beats


def _is_a_heartbeat(before: Object, change: Change) -> None:
    """Nothing but a later heartbeat time in a Ready that is True, in a Node that does not bear k3's label."""
    name = before.key.name
    assert (change.type, change.object.uid) == ("MODIFIED", before.uid), name
    old, new = decode(before.document), decode(change.object.document)
    assert not _is_labelled(old), f"{name}: written after it was taken over"
    former, ready = _ready(old), _ready(new)
    assert former["status"] == "True", f"{name}: a heartbeat for what is not ready"
    assert ready["lastHeartbeatTime"] > former["lastHeartbeatTime"], name
    ready["lastHeartbeatTime"] = former["lastHeartbeatTime"]
    assert json.dumps(new) == json.dumps(old), f"{name}: more than the heartbeat was written"


def _ready(manifest: Manifest) -> dict[str, Any]:
    found: list[dict[str, Any]] = [each for each in manifest["status"]["conditions"] if each["type"] == "Ready"]
    assert len(found) == 1
    return found[0]
