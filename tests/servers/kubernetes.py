"""kube-apiserver with an etcd behind it, where the machine has one: Debian has no package of it, so nothing requires it."""

import contextlib
import json
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.needs import find
from tests.servers.etcd import etcd_server
from tests.servers.server import Server, Site

TOKENS: Final = {"admin": "admin-token", "agent": "agent-token", "nobody": "nobody-token"}
"""A token for each user: `admin` is in system:masters, `agent` may do what k3's agents do, `nobody` nothing."""

AGENT_RULES: Final = (
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "create", "update", "delete"]},
    {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["update"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "list", "watch", "create", "update", "delete"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "list", "watch", "create", "update", "delete"],
    },
    {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]},
)
"""As docs/stores.md has them."""


@dataclass
class Api:
    """A Kubernetes API that runs, and what a client needs to know of it."""

    url: str
    ca_file: str
    token: str
    server: Server | None = None
    etcd: Server | None = None

    def call(self, method: str, path: str, document: Any = None) -> Any:
        """Sends a request as the administrator; returns the answer's JSON."""
        tls = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if tls:
            handlers.append(urllib.request.HTTPSHandler(context=tls))
        data = None if document is None else json.dumps(document).encode()
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        request = urllib.request.Request(f"{self.url}{path}", data=data, method=method, headers=headers)  # noqa: S310 - its own
        with urllib.request.build_opener(*handlers).open(request, timeout=20) as answer:
            return json.loads(answer.read())


@contextlib.contextmanager
def kube_apiserver() -> Iterator[Api]:
    """A kube-apiserver whose users are `TOKENS`, by roles."""
    if find("kube-apiserver") is None or find("etcd") is None:
        pytest.skip("runs where there is a kube-apiserver, and an etcd for it")
    site = Site(None, None)
    port = site.free_port()
    with tempfile.TemporaryDirectory(prefix="k3-kube-") as name, etcd_server() as etcd:
        folder = Path(name)
        key = folder / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        groups = {"admin": ',"system:masters"'}
        lines = [f"{token},{user},{user}{groups.get(user, '')}" for user, token in TOKENS.items()]
        (folder / "tokens.csv").write_text("\n".join(lines) + "\n")
        argv = [
            "kube-apiserver",
            f"--etcd-servers={etcd.endpoint}",
            f"--cert-dir={folder}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.96.0.0/24",
            f"--token-auth-file={folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
        ]
        api = Api(f"https://127.0.0.1:{port}", str(folder / "apiserver.crt"), TOKENS["admin"], etcd=etcd)
        api.server = Server("kube-apiserver", site, argv, port=port, ready=lambda: _is_ready(api))
        try:
            _allow_agents(api)
            yield api
        finally:
            api.server.close()


def _is_ready(api: Api) -> bool:
    try:
        api.call("GET", "/api/v1/namespaces/kube-system")
        return bool(api.call("GET", "/api/v1/namespaces/default"))
    except (OSError, ValueError):
        return False


def _allow_agents(api: Api) -> None:
    group = "/apis/rbac.authorization.k8s.io/v1"
    api.call("POST", f"{group}/clusterroles", {"metadata": {"name": "k3-agent"}, "rules": list(AGENT_RULES)})
    binding = {
        "metadata": {"name": "k3-agent"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "k3-agent"},
        "subjects": [{"kind": "User", "name": "agent"}],
    }
    api.call("POST", f"{group}/clusterrolebindings", binding)
