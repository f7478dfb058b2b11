"""A stand-in for the program of the specification, for a host of the laboratory: what it announces, answers and writes.

    original.py NODE ETCD-ADDRESS:PORT [--ttl SECONDS]

It announces TXT node, port and pid and nothing else, answers /healthz and /info, and every second writes the whole Node of
itself and of everybody it hears into etcd, without looking at what is there: Ready `PeerAlive` where the port could be
connected, `LANDiscovery` where somebody was only just heard, `PeerExpired` where nobody could be connected for the ttl.
"""

import argparse
import base64
import contextlib
import http.server
import json
import os
import socket
import threading
import time
import urllib.request
from datetime import UTC, datetime
from typing import Any

from zeroconf import ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

TYPE = "_k3._tcp.local."
PORT = 7946


class Heard(ServiceListener):
    """Everybody on the network, by name: address, port, pid and when it was last connected."""

    def __init__(self) -> None:
        self.peers: dict[str, tuple[str, int, str]] = {}

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        info = zc.get_service_info(type_, name)
        if info is None or not info.addresses or info.port is None:
            return
        text = {key.decode(): (value or b"").decode() for key, value in info.properties.items()}
        self.peers[text.get("node") or name.removesuffix(f".{type_}")] = (
            socket.inet_ntoa(info.addresses[0]),
            info.port,
            text.get("pid", ""),
        )

    update_service = add_service

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """It expires by itself."""


class Answer(http.server.BaseHTTPRequestHandler):
    """/healthz and /info."""

    document: dict[str, Any]

    def do_GET(self) -> None:
        body = b"ok" if self.path == "/healthz" else json.dumps(self.document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def whole_node(name: str, address: str, port: int, pid: str, *, status: str, reason: str) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": status, "reason": reason, "lastHeartbeatTime": now, "lastTransitionTime": now}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"k3.network/managed": "true"},
            "annotations": {"k3.network/lastSeen": now, "k3.network/port": str(port), "k3.network/pid": pid},
        },
        "status": {
            "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}],
            "conditions": [ready],
        },
    }


def put(etcd: str, node: dict[str, Any]) -> None:
    key = f"/kubernetes//v1/Node/{node['metadata']['name']}"
    body = {"key": encoded(key), "value": encoded(json.dumps(node))}
    request = urllib.request.Request(f"http://{etcd}/v3/kv/put", data=json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - see above
        answer.read()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("node")
    parser.add_argument("etcd")
    parser.add_argument("--ttl", type=float, default=5.0)
    options = parser.parse_args()
    with socket.create_connection((options.etcd.rpartition(":")[0], int(options.etcd.rpartition(":")[2]))) as way:
        address = way.getsockname()[0]
    Answer.document = {"node": options.node, "port": PORT, "pid": os.getpid(), "addrs": [address]}
    server = http.server.ThreadingHTTPServer(("", PORT), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    zeroconf = Zeroconf(interfaces=[address])
    text = {"node": options.node, "port": str(PORT), "pid": str(os.getpid())}
    info = ServiceInfo(TYPE, f"{options.node}.{TYPE}", addresses=[socket.inet_aton(address)], port=PORT, properties=text)
    zeroconf.register_service(info)
    heard = Heard()
    ServiceBrowser(zeroconf, TYPE, heard)
    connected: dict[str, float] = {}
    print("ready", flush=True)  # noqa: T201 - the test waits for it
    while True:
        for name, (where, port, pid) in {**heard.peers, options.node: (address, PORT, text["pid"])}.items():
            reason = "LANDiscovery" if name not in connected else "PeerAlive"
            with contextlib.suppress(OSError), socket.create_connection((where, port), timeout=0.3):
                connected[name] = time.monotonic()
            expired = time.monotonic() - connected.setdefault(name, time.monotonic()) > options.ttl
            status, reason = ("False", "PeerExpired") if expired else ("True", reason)
            put(options.etcd, whole_node(name, where, port, pid, status=status, reason=reason))
        time.sleep(1.0)


if __name__ == "__main__":
    main()
