"""A real kube-apiserver on an etcd: HTTPS with a certificate of its own, one token that may do all (`TOKEN`)."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.needs import find
from tests.servers.etcd import etcd_server
from tests.servers.server import Server, Site

TOKEN: Final = "token"


@contextlib.contextmanager
def kube_apiserver() -> Iterator[Server]:
    """A kube-apiserver at `https://{server.address}:{server.port}`; skipped where there is none (K3_TEST_KUBE_APISERVER).

    It puts no taint on new Nodes: that admission plugin stands for a controller that takes it off again.
    """
    if not find("kube-apiserver"):
        pytest.skip("not on this machine: kube-apiserver")
    site = Site(None, None)
    port = site.free_port()
    with etcd_server() as etcd, tempfile.TemporaryDirectory(prefix="k3-kube-") as folder, contextlib.ExitStack() as stack:
        for words in (["genrsa", "-out", "key", "2048"], ["rsa", "-in", "key", "-pubout", "-out", "public"]):
            subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
        Path(folder, "tokens").write_text(f'{TOKEN},admin,1,"system:masters"\n', encoding="utf-8")
        argv = [
            "kube-apiserver",
            f"--etcd-servers={etcd.endpoint}",
            f"--secure-port={port}",
            f"--bind-address={site.address}",
            f"--cert-dir={folder}",
            f"--token-auth-file={folder}/tokens",
            "--authorization-mode=AlwaysAllow",
            "--service-account-issuer=https://k3",
            f"--service-account-key-file={folder}/public",
            f"--service-account-signing-key-file={folder}/key",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
        ]
        server = Server("kube-apiserver", site, argv, port=port, ready=lambda: _answers(port))
        stack.callback(server.close)
        yield server


def _answers(port: int) -> bool:
    asked = ["curl", "-sk", "-H", f"Authorization: Bearer {TOKEN}", f"https://127.0.0.1:{port}/api/v1/namespaces/default"]
    return b'"phase"' in subprocess.run(asked, capture_output=True, check=False).stdout
