"""What `k3 server` loads before its first answer, and what it leaves until somebody asks for it (ADR 60)."""

import subprocess
import sys

_LOADED = """
import os, ssl, sys
from k3.agent.tls import without_authorities
os.environ["SSL_CERT_FILE"] = "before"
with without_authorities():
    import k3.cli.server, k3.daemon.server
assert os.environ.pop("SSL_CERT_FILE") == "before"
from aiohttp import connector
assert connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"] == 0
from k3.core.objects import NODE
from k3.server.schema import shapes, types
shapes.shape(types.of_kind(NODE))
print(*(name for name in sys.argv[1:] if name in sys.modules))
"""
LATER = ("cryptography", "importlib.metadata", "lightkube", "yaml")


def test_what_few_requests_need_is_loaded_with_the_first_of_these() -> None:
    argv = [sys.executable, "-c", _LOADED, *LATER]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
