"""What images and compose file promise, without an engine: their own commands, in a clean directory, on real servers."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import compose, dockerfile
from tests.deploy.conftest import dockerfile as dockerfile_of
from tests.deploy.container import Container
from tests.deploy.image import Image
from tests.docs.pages import ROOT
from tests.lab import Host, Lan, Process, until
from tests.needs import find

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("deploy")]

FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"
USER = "10001"


def serve(host: Host, name: str, argv: list[str], volumes: Mapping[str, str] | None = None) -> Process:
    """Start a service of the compose file on a host, and wait until its own health check is content."""
    service = compose.service(name)
    environ = {key: (volumes or {}).get(value, value) for key, value in service.environ.items()}
    process = host.start([find(argv[0]) or argv[0], *argv[1:]], env=environ)

    def is_healthy() -> bool:
        assert process.running, process.text
        return host.run(service.healthcheck).returncode == 0

    until(is_healthy, guard_seconds=60, every_seconds=0.2, what=f"{name} healthy")
    return process


def ask(host: Host, url: str) -> Any:
    return json.loads(host.python(FETCH, url))


@pytest.mark.servers("consul", "etcd", "etcdctl")
def test_the_compose_file_brings_up_a_ready_node(lan: Lan, image: Image, tmp_path: Path) -> None:
    consul, etcd, machine = (lan.host(name, machine_id="") for name in ("consul", "etcd", "discovery"))
    (tmp_path / "etcd-data").mkdir(mode=0o700)
    serve(consul, "consul", ["consul", *compose.service("consul").argv])
    serve(etcd, "etcd", ["etcd"], {"/etcd-data": f"{tmp_path}/etcd-data"})

    service = compose.service("discovery")
    names = tmp_path / "hosts"
    names.write_text(f"127.0.0.1 localhost\n{lan.address(consul)} consul\n{lan.address(etcd)} etcd\n", encoding="ascii")
    state = image.new_volume("/var/lib/k3", tmp_path / "k3-state")
    mounts = {ROOT / service.mounts["/app/config.yaml"]: "/app/config.yaml", state: "/var/lib/k3", names: "/etc/hosts"}
    k3 = Container(machine, image, service.argv, environ=service.environ, mounts=mounts)

    def nodes() -> list[list[str]]:
        assert k3.process.running, k3.process.text
        return [row.split()[:2] for row in k3.execute(["k3", "nodes", "--no-headers"]).stdout.splitlines()]

    until(lambda: nodes() == [["node-1", "Ready"]], guard_seconds=60, every_seconds=0.2, what=k3.process.label)
    assert "/kubernetes//v1/Node/node-1\n" in etcd.run(["etcdctl", "get", "--prefix", "--keys-only", "/"]).stdout
    assert k3.is_healthy()

    # Consul, in its own container, reaches the address that k3 found by itself, and says so after asking.
    url = f"http://{lan.address(machine)}:7946/healthz"
    assert consul.python(FETCH, url) == "ok\n"
    passed = f"HTTP GET {url}: 200 OK"
    checks = "http://127.0.0.1:8500/v1/agent/checks"  # the catalog hears of an output that changes nothing minutes later
    until(lambda: passed in json.dumps(ask(consul, checks)), guard_seconds=60, every_seconds=0.5, what=passed)

    refuses_rights(k3)
    assert k3.stop() == 0, k3.process.text
    assert "discovery.stopped" in k3.process.text
    assert ask(consul, checks) == {}
    shown = etcd.run(["etcdctl", "get", "--print-value-only", "/kubernetes//v1/Node/node-1"]).stdout
    assert '"NodeShutdown"' in shown
    assert (state / "machine-id").stat().st_uid == int(USER), "the image has no /etc/machine-id: its identity is kept here"


def refuses_rights(k3: Container) -> None:
    """It runs as nobody in particular, may do nothing, and can write in its own directory only."""
    status = Path(f"/proc/{k3.pid}/status").read_text(encoding="ascii")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == fields["Gid"].split() == [USER] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    for place, expected in (("/app/x", 1), ("/opt/k3/x", 1), ("/tmp/x", 1), ("/var/lib/k3/x", 0)):
        assert k3.execute(["touch", place]).returncode == expected, place


def test_nothing_has_to_be_compiled_for_the_python_of_the_image(tmp_path: Path) -> None:
    version = re.findall(r"python:(\d+\.\d+)-", dockerfile.read(dockerfile_of("network"))[0].base)[0]
    files = [word for name in ("build", "run", "etcd", "mysql") for word in ("-r", f"requirements/{name}.txt")]
    choose = ["--python-version", version, "--only-binary", ":all:", "--no-deps", "--require-hashes", "--target", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", *choose, *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["network", "discovery"])
def test_a_flag_nobody_knows_is_told_as_usual(lan: Lan, image: Image, module: str) -> None:
    one = replace(image, entrypoint=dockerfile.read(dockerfile_of(module))[-1].one("ENTRYPOINT").exec_form)
    k3 = lan.host("one").start(one.entering(one.command([*one.entrypoint, "--no-such-flag"]), read_only=True, is_first=True))
    assert k3.wait() == 2
    assert f'Run "k3 {module} --help"' in k3.text


def test_two_machines_find_each_other_with_the_network_image(lan: Lan, image: Image, tmp_path: Path) -> None:
    # The two images differ in nothing that is built or copied: see test_the_images_differ_only_in_what_they_are_for.
    network = replace(image, entrypoint=dockerfile.read(dockerfile_of("network"))[-1].one("ENTRYPOINT").exec_form)
    machines = [lan.host(name) for name in ("alpha", "beta")]
    volumes = [network.new_volume("/var/lib/k3", tmp_path / host.name) for host in machines]
    running = [
        Container(host, network, ["--peer-ttl", "5s"], mounts={volume: "/var/lib/k3"})
        for host, volume in zip(machines, volumes, strict=True)
    ]

    def sees_both(k3: Container) -> bool:
        rows = k3.execute(["k3", "nodes", "--no-headers"]).stdout.splitlines()
        return [row.split()[:2] for row in rows] == [["alpha", "Ready"], ["beta", "Ready"]]

    for k3 in running:
        until(lambda k3=k3: sees_both(k3), guard_seconds=60, every_seconds=0.2, what=k3.process.label)  # type: ignore[misc]
        assert k3.is_healthy()
        assert k3.execute(network.healthcheck, {"HEALTHZ": "http://127.0.0.1:9/healthz"}).returncode == 1
    assert [k3.stop() for k3 in running] == [0, 0]
    assert all((volume / "k3.db").exists() for volume in volumes)
