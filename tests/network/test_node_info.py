"""What a machine runs on: read on the machine, told in /info, held to bounds by the reader, shown on the Node."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from k3.agent import facts
from k3.agent.info import info_document, parse_info
from k3.core.decision import Create, Update
from k3.core.errors import Invalid
from k3.core.observation import Alive, Evidence, Facts, System
from k3.network import policy

NOW = datetime(2026, 7, 1, tzinfo=UTC)
BOOT = "0ef70068-16e7-4588-b559-d2812d7acb23"
SYSTEM = System("Debian GNU/Linux 12 (bookworm)", "6.1.0-18-amd64", "f" * 32, BOOT)
WEB1 = Facts(
    node="web1",
    addresses=("10.0.0.7",),
    port=7946,
    pid=1,
    id="0" * 32,
    boot="1" * 16,
    hostname="web1",
    os="linux",
    arch="amd64",
    system=SYSTEM,
)


def test_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(
        '# a comment\nNAME=x\nPRETTY_NAME="Debian GNU/Linux 12"\nBROKEN="\n', encoding="utf-8"
    )
    found = facts.system(tmp_path, tmp_path)
    assert found.os_image == "Debian GNU/Linux 12"
    assert found.boot_id == ""
    assert found.kernel_version
    assert re.fullmatch("[0-9a-f]{32}", found.machine_id)


@pytest.mark.parametrize(
    "text", ["", "PRETTY_NAME=", 'PRETTY_NAME="B\u00fcro"', "PRETTY_NAME=" + "x" * 200, 'PRETTY_NAME="a\tb"']
)
def test_what_is_no_plain_text_is_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(text, encoding="utf-8")
    assert facts.system(tmp_path, tmp_path).os_image == ""


def test_the_machine_id_itself_is_not_told() -> None:
    ours = "0123456789abcdef0123456789abcdef"
    assert facts.application_id(ours) != ours
    assert facts.application_id(ours) == facts.application_id(ours) != facts.application_id("f" * 32)


def test_what_is_told_is_read_back() -> None:
    assert parse_info(json.dumps(info_document(WEB1, 1.0, "")).encode()).facts == WEB1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("osImage", "x" * 129),
        ("osImage", "a\nb"),
        ("osImage", "\x1b[31m"),
        ("osImage", 12),
        ("kernelVersion", " 6.1"),
        ("machineID", "f" * 31),
        ("bootID", BOOT.upper()),
        ("bootID", ["x"]),
    ],
)
def test_what_breaks_a_bound_is_refused(field: str, value: object) -> None:
    with pytest.raises(Invalid, match=field):
        parse_info(json.dumps(info_document(WEB1, 1.0, "") | {field: value}).encode())


def seen(of: Facts, current: dict[str, Any] | None = None) -> dict[str, Any]:
    decision = policy.decide(current, Alive(name="web1", facts=of, seen_by="web2", evidence=Evidence()), now=NOW)
    assert isinstance(decision, Create | Update)
    return dict(decision.manifest["status"].get("nodeInfo", {}))


def test_it_stands_on_the_node_and_no_kubelet_does() -> None:
    info = seen(WEB1)
    assert info["osImage"] == "Debian GNU/Linux 12 (bookworm)"
    assert (info["kernelVersion"], info["operatingSystem"], info["architecture"]) == ("6.1.0-18-amd64", "linux", "amd64")
    assert (info["machineID"], info["bootID"], info["kubeletVersion"]) == ("f" * 32, BOOT, "")
    assert len(info) == 10, "typed clients want all fields of a v1 NodeSystemInfo"


def test_a_machine_that_says_nothing_of_it_takes_nothing_away() -> None:
    decision = policy.decide(None, Alive(name="web1", facts=WEB1, seen_by="web2", evidence=Evidence()), now=NOW)
    assert isinstance(decision, Create)
    plain = Facts(node="web1", addresses=("10.0.0.8",), port=7946, pid=1, id="0" * 32, boot="2" * 16)
    assert seen(plain, dict(decision.manifest))["osImage"] == SYSTEM.os_image
    assert seen(plain) == {}
