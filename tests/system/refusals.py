"""What a command says instead of starting, and a stranger that is in its way."""

from collections.abc import Mapping, Sequence

from tests.lab import Host

STRANGER = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
sock = socket.socket(family, socket.SOCK_STREAM)
sock.bind((sys.argv[1], 7946))
sock.listen()
print("listening", flush=True)
while True:
    client, _ = sock.accept()
    client.recv(4096)
    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    client.close()
"""


def refusal(host: Host, *arguments: str, code: int, before: Sequence[str] = (), env: Mapping[str, str] | None = None) -> str:
    """What `k3` says instead of starting: one line on stderr, beginning with its name; nothing on stdout."""
    done = host.run([*before, "k3", *arguments], env=env, guard_seconds=60)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (code, "", 1), f"{done.returncode}: {done.stdout}{done.stderr}"
    assert lines[0].startswith("k3: ")
    assert "unexpected" not in lines[0]
    return lines[0]
