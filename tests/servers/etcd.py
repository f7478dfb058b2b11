"""etcd, one member, without TLS unless `extra` says otherwise."""

import contextlib
import tempfile
from collections.abc import Iterator

from tests.lab import Host, Lan
from tests.needs import require
from tests.servers.server import Server, Site


@contextlib.contextmanager
def etcd_server(*extra: str, lan: Lan | None = None, host: Host | None = None) -> Iterator[Server]:
    """An etcd whose clients use `server.endpoint`; `extra` are more flags of etcd."""
    require("etcd")
    site = Site(lan, host)
    port, peer_port = site.free_port(), site.free_port()
    peer = f"http://{site.address}:{peer_port}"
    client = f"http://{site.address}:{port}"
    with tempfile.TemporaryDirectory(prefix="k3-etcd-") as data, contextlib.ExitStack() as stack:
        argv = [
            "etcd",
            f"--data-dir={data}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--log-outputs=stderr",
            "--heartbeat-interval=20",
            "--election-timeout=200",
            *extra,
        ]
        server = Server("etcd", site, argv, port=port, ready=lambda: '"true"' in site.get(f"{client}/health"))
        stack.callback(server.close)
        yield server
