"""Nodes as rows: kubectl's way to show a length of time, and what is shown of odd Nodes."""

from datetime import UTC, datetime, timedelta

import pytest

from k3.core import freshness, node
from k3.view import node_table
from k3.view.cells import Moment, human_duration

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
MINUTE, HOUR, DAY, YEAR = 60, 3_600, 86_400, 31_536_000


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-2, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119.9, "119s"),
        (2 * MINUTE, "2m"),
        (3 * MINUTE + 20, "3m20s"),
        (10 * MINUTE + 59, "10m"),
        (3 * HOUR - 1, "179m"),
        (3 * HOUR, "3h"),
        (4 * HOUR + 5 * MINUTE + 59, "4h5m"),
        (8 * HOUR + 59 * MINUTE, "8h"),
        (2 * DAY - 1, "47h"),
        (2 * DAY, "2d"),
        (7 * DAY + 23 * HOUR + 59 * MINUTE, "7d23h"),
        (12 * DAY + HOUR, "12d"),
        (2 * YEAR - 1, "729d"),
        (2 * YEAR + 40 * DAY, "2y40d"),
        (8 * YEAR + 40 * DAY, "8y"),
    ],
)
def test_human_duration(seconds: float, shown: str) -> None:
    assert human_duration(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"metadata": None, "status": []},
        {
            "metadata": {"labels": 3, "annotations": [], "creationTimestamp": 7, "name": None},
            "spec": "x",
            "status": {"nodeInfo": 1},
        },
        {"status": {"conditions": [None, {"type": "Ready"}, 3], "addresses": {"type": "InternalIP"}}},
    ],
)
def test_an_odd_node_is_a_row_like_any_other(manifest: dict[str, object]) -> None:
    for wide in (False, True):
        cells = node_table.row(manifest, Moment(NOW), wide=wide)
        assert len(cells) == len(node_table.titles(wide=wide))
        assert cells[3:8] == ["<unknown>", "", "controller", "-", "<none>"]


@pytest.mark.parametrize(
    ("labels", "roles"),
    [
        ({}, "<none>"),
        ({"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/etcd": "true"}, "etcd,worker"),
        ({"kubernetes.io/role": "master"}, "master"),
        ({"node-role.kubernetes.io/": ""}, "<none>"),
    ],
)
def test_roles(labels: dict[str, str], roles: str) -> None:
    assert node_table.roles({"metadata": {"labels": labels}}) == roles


def test_last_seen_of_a_controllers_node_is_its_last_report() -> None:
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-23T07:56:00Z"}
    assert node_table.row({"status": {"conditions": [ready]}}, Moment(NOW), wide=False)[6] == "4m ago"


@pytest.mark.parametrize(
    ("stamp", "shown"),
    [("08:00:04.000", "0s ago"), ("08:00:30.000", "<unknown>"), ("07:57:00.000", "3m ago"), ("07:56:59.000", "<unknown>")],
)
def test_a_stamp_of_a_wrong_clock_is_not_turned_into_an_age(stamp: str, shown: str) -> None:
    notes = {"k3.network/lastSeen": f"2026-11-23T{stamp}Z", "k3.network/peer-ttl": "90s"}
    manifest = {
        "metadata": {"labels": {"k3.network/managed": "true"}, "annotations": notes},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "PeerAlive"}]},
    }
    assert node_table.row(manifest, Moment(NOW), wide=False)[6] == shown


@pytest.mark.parametrize(("minutes", "shown"), [(11, "Ready"), (13, "Unknown (no observer)")])
def test_a_node_from_a_registry_that_nobody_refreshes_is_unknown(minutes: int, shown: str) -> None:
    ready = {"type": "Ready", "status": "True", "reason": "ConsulPassing"}
    notes = {"k3.discovery/lastSeen": (NOW - timedelta(minutes=minutes)).isoformat()}
    metadata = {"labels": {"k3.discovery/managed": "true"}, "annotations": notes}
    manifest = {"metadata": metadata, "status": {"conditions": [ready]}}
    moment = Moment(NOW, is_observed=bool(freshness.observed([node.view_manifest("m1", manifest)], NOW)))
    assert node_table.status(manifest, moment) == shown
