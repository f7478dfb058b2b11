"""Endpoints by name: they are looked up as every other program of the machine does, whatever its name servers do."""

import sys
from pathlib import Path

import pytest

from tests.lab import Lan
from tests.servers import etcd_server

pytestmark = [pytest.mark.servers("etcd"), pytest.mark.netns]


def test_a_name_of_etc_hosts_is_enough_where_no_name_server_answers(lan: Lan, tmp_path: Path) -> None:
    reader = lan.host("reader")
    with etcd_server(lan=lan, host=lan.host("etcd")) as server:
        # Nobody has .200: questions to it are lost, as behind a VPN that is down.
        files = {"hosts": f"127.0.0.1 localhost\n{server.address} hub\n", "resolv.conf": "nameserver 10.77.1.200\n"}
        mounts = ""
        for name, text in files.items():
            (tmp_path / name).write_text(text, encoding="ascii")
            mounts += f"mount --bind {tmp_path}/{name} /etc/{name} && "
        check = f"{mounts}exec {sys.executable} -m k3.cli store check --store etcd://hub:{server.port}"
        done = reader.run(["unshare", "--mount", "sh", "-c", check])
    assert done.returncode == 0, done.stderr
    assert f"etcd://hub:{server.port}" in done.stdout
