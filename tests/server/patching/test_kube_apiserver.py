"""The cases, and writes left to chance, on a kube-apiserver that is started here, beside the functions of this package.

`K3_TEST_KUBE_APISERVER=/opt/kube-apiserver` names one that the PATH does not find. To record the cases again:
`K3_RECORD=1 pytest tests/server/patching/test_kube_apiserver.py`.
"""

import json
import os
import random
import ssl
import tempfile
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests import needs
from tests.server.patching import cases, chances
from tests.server.patching.kube import KubeApiserver
from tests.server.patching.replaying import Replaying
from tests.servers.etcd import etcd_server
from tests.servers.server import Server, Site

pytestmark = [pytest.mark.slow, pytest.mark.servers("etcd"), pytest.mark.xdist_group("kube-apiserver")]

RECORDED: Final = Path(__file__).parent / "recorded.json"
AT_ONCE: Final = 24
"""Cases wait for the next second most of the time."""


@pytest.fixture(scope="module")
def kube() -> Iterator[KubeApiserver]:
    if not needs.find("kube-apiserver"):
        pytest.skip(f"{needs.MARK}kube-apiserver (K3_TEST_KUBE_APISERVER may name one)")
    with etcd_server() as etcd, tempfile.TemporaryDirectory(prefix="k3-kube-") as data:
        server = _started(etcd, Path(data))
        try:
            yield KubeApiserver(f"https://127.0.0.1:{server.port}", "token")
        finally:
            server.close()


def _started(etcd: Server, data: Path) -> Server:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    (data / "key").write_bytes(pem)
    (data / "tokens").write_text("token,admin,admin,system:masters\n", encoding="utf-8")
    site = Site(None, None)
    port = site.free_port()
    argv = [
        "kube-apiserver",
        f"--etcd-servers={etcd.endpoint}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={data}",
        "--service-account-issuer=https://localhost",
        f"--service-account-key-file={data}/key",
        f"--service-account-signing-key-file={data}/key",
        f"--token-auth-file={data}/tokens",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
    ]
    return Server("kube-apiserver", site, argv, port=port, ready=lambda: _is_ready(port))


def _is_ready(port: int) -> bool:
    request = urllib.request.Request(f"https://127.0.0.1:{port}/readyz", headers={"Authorization": "Bearer token"})
    context = ssl._create_unverified_context()  # noqa: S323 - its certificate is made for this run
    try:
        with urllib.request.urlopen(request, timeout=2, context=context) as answer:  # noqa: S310 - https
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_cases_are_as_recorded(kube: KubeApiserver) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = dict(zip(cases.CASES, threads.map(lambda name: cases.played(name, kube.do), cases.CASES), strict=True))
    if os.environ.get("K3_RECORD"):
        RECORDED.write_text(_lines(found), encoding="utf-8")
    assert found == json.loads(RECORDED.read_text(encoding="utf-8"))


def test_writes_left_to_chance(kube: KubeApiserver) -> None:
    seed = random.randrange(10**9)
    drawn = {f"chance-{seed}-{n}": chances.case(random.Random(seed + n)) for n in range(4 * AT_ONCE)}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        real = dict(zip(drawn, threads.map(lambda name: cases.play(drawn[name], name, kube.do), drawn), strict=True))
    for name, case in drawn.items():
        assert cases.play(case, name, Replaying().do) == real[name], f"seed {seed}, {case}"


def _lines(found: dict[str, list[Any]]) -> str:
    told = []
    for name, steps in found.items():
        lines = ",\n".join(json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in steps)
        told.append(f"{json.dumps(name)}: [\n{lines}\n]")
    return "{\n" + ",\n".join(told) + "\n}\n"
