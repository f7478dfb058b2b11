"""Real clients before the gate: kubectl, curl and the Python client, over loopback and over TLS."""

import asyncio
import json
import logging
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client as official
from kubernetes import config as official_config

from k3.server.access import kubeconfig, tokens
from k3.server.access.bounds import Bounds, Share
from k3.server.access.certificates import Certificates
from k3.server.access.settings import AccessSettings
from k3.settings.listen import Listen
from tests.server.access.wire import Wire

pytestmark = pytest.mark.servers("curl")

NOW = datetime.now(UTC)
NOBODY = "65534"


async def run(*words: str, stdin: bytes = b"", home: str = "/dev/null") -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "HOME": home},
    )
    out, _ = await process.communicate(stdin)
    return process.returncode or 0, out.decode()


async def curl(wire: Wire, path: str, *flags: str, scheme: str = "http", host: str = "127.0.0.1") -> tuple[int, dict[str, Any]]:
    url = f"{scheme}://{host}:{wire.port}{path}"
    _, out = await run("curl", "-s", "--max-time", "20", "-w", "\n%{http_code}", *flags, url)
    body, _, code = out.rpartition("\n")
    return int(code), json.loads(body) if body else {}


async def as_nobody(wire: Wire, path: str, *flags: str) -> tuple[int, dict[str, Any]]:
    command = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "curl", "-s", "-w", "\n%{http_code}"]
    _, out = await run(*command, *flags, f"http://127.0.0.1:{wire.port}{path}")
    body, _, code = out.rpartition("\n")
    return int(code), json.loads(body)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
async def test_everybody_on_the_machine_reads_and_only_the_servers_user_writes() -> None:
    async with Wire().listening("127.0.0.1") as wire:
        assert (await curl(wire, "/api/v1/nodes"))[0] == 200
        assert (await curl(wire, "/api/v1/nodes", "-X", "POST"))[0] == 200
        assert (await curl(wire, "/api/whoami"))[1]["username"] == "local:root"
        assert (await as_nobody(wire, "/api/v1/nodes"))[0] == 200
        code, body = await as_nobody(wire, "/api/v1/nodes/web1", "-X", "DELETE")
        assert code == 403
        assert body["message"].startswith('nodes "web1" is forbidden: User "local:nobody" cannot delete resource "nodes"')
        admin = wire.add(tokens.make("admin", "", now=NOW))
        assert (await as_nobody(wire, "/api/v1/nodes", "-X", "POST", "-H", f"Authorization: Bearer {admin.text}"))[0] == 200
    async with Wire(writes="all").listening("127.0.0.1") as wire:
        assert (await as_nobody(wire, "/api/v1/nodes", "-X", "POST"))[0] == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (["Host: localhost:8080"], 200),
        (["Host: LOCALHOST"], 200),
        (["Host: [::1]:8080"], 200),
        (["Host: 127.8.9.1"], 200),
        (["Host: evil.example"], 403),
        (["Host: 10.0.0.5:8080"], 403),
        (["Host: localhost.evil.example"], 403),
        (["Host: evil.example@localhost"], 403),
        (["Host: [::1"], 403),
        (["Host: localhost:x"], 403),
        (["Host;"], 403),
        (["Origin: http://evil.example"], 403),
        (["Origin: null"], 403),
        (["Origin: http://localhost:1", "Host: localhost:1"], 200),
        (["Origin: http://localhost:2", "Host: localhost:1"], 403),
        (["Sec-Fetch-Site: cross-site"], 403),
        (["Sec-Fetch-Site: same-site"], 403),
        (["Sec-Fetch-Site: none"], 200),
        (["X-Forwarded-For: 10.0.0.9"], 403),
        (["Via: 1.1 proxy"], 403),
        (["Impersonate-User: root"], 403),
        (["Authorization: Bearer x"], 401),
        (["Authorization: Basic YTpi"], 401),
        (["Authorization: Bearer x", "Authorization: Bearer y"], 400),
    ],
)
async def test_a_page_in_a_browser_cannot_write(headers: list[str], code: int) -> None:
    flags = [part for header in headers for part in ("-H", header)]
    async with Wire().listening("127.0.0.1") as wire:
        assert (await curl(wire, "/api/v1/nodes", "-X", "POST", *flags))[0] == code


async def test_a_health_check_without_a_name_is_answered() -> None:
    async with Wire().listening("127.0.0.1") as wire:
        assert (await curl(wire, "/healthz", "--http1.0", "-H", "Host:"))[0] == 200


async def test_over_tls_a_token_is_asked_for(tmp_path: Path) -> None:
    found = Certificates(AccessSettings(listen=Listen("", 0), tls=True), tmp_path, frozenset())
    ca = str(tmp_path / "server/ca.crt")
    async with Wire().listening("127.0.0.1", found.context()) as wire:
        one = wire.add(tokens.make("agent", "web1", now=NOW))

        async def ask(path: str, *flags: str) -> tuple[int, dict[str, Any]]:
            return await curl(wire, path, "--cacert", ca, *flags, scheme="https", host="localhost")

        assert (await ask("/healthz"))[0] == 200
        code, body = await ask("/api/v1/nodes")
        assert (code, body["message"]) == (
            403,
            'nodes is forbidden: User "system:anonymous" cannot list resource "nodes" in API group "" at the cluster scope',
        )
        bearer = ("-H", f"Authorization: Bearer {one.text}")
        assert (await ask("/api/v1/nodes", *bearer))[0] == 200
        assert (await ask("/api/v1/nodes/web1", "-X", "PATCH", *bearer))[0] == 200
        code, body = await ask("/api/v1/nodes/web2", "-X", "PATCH", *bearer)
        assert (code, body["message"]) == (403, 'nodes "web2" is forbidden: node "web1" is not allowed to modify node "web2"')
        del wire.tokens[one.token.id]
        assert await ask("/api/v1/nodes", *bearer) == (
            401,
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "Unauthorized",
             "reason": "Unauthorized", "code": 401},
        )  # fmt: skip


@pytest.mark.servers("kubectl")
@pytest.mark.parametrize("kind", ["token", "certificate"])
async def test_kubectl_takes_the_kubeconfig(kind: str, tmp_path: Path) -> None:
    from datetime import timedelta  # noqa: PLC0415 - the same

    from k3.server.access.certificates import own_client  # noqa: PLC0415 - beside what it is compared with
    from k3.server.access.identity import of_token  # noqa: PLC0415 - the same

    found = Certificates(AccessSettings(listen=Listen("", 0), tls=True), tmp_path, frozenset())
    context = found.context()
    async with Wire().listening("127.0.0.1", context) as wire:
        one = wire.add(tokens.make("view", "", now=NOW))
        pair = own_client(tmp_path / "server", of_token("laptop", "view", ""), NOW, ttl=timedelta(hours=1))
        user = kubeconfig.by_token(one.text) if kind == "token" else kubeconfig.by_certificate(pair.certificate, pair.key)
        file = tmp_path / "k3.yaml"
        document = kubeconfig.config(f"https://localhost:{wire.port}", ca=(tmp_path / "server/ca.crt").read_text(), user=user)
        file.write_text(yaml.safe_dump(document))
        code, out = await run("kubectl", "--kubeconfig", str(file), "get", "--raw", "/api/v1/nodes", home=str(tmp_path))
        assert (code, json.loads(out)["kind"]) == (0, "NodeList")
        code, out = await run("kubectl", "--kubeconfig", str(file), "delete", "--raw", "/api/v1/nodes/web1", home=str(tmp_path))
        assert (code, "cannot delete resource" in out) == (1, True)
        wire.tokens.clear()
        if kind == "token":
            code, out = await run("kubectl", "--kubeconfig", str(file), "get", "--raw", "/api/v1/nodes", home=str(tmp_path))
            assert "You must be logged in to the server" in out


async def test_the_python_client_takes_the_kubeconfig(tmp_path: Path) -> None:
    found = Certificates(AccessSettings(listen=Listen("", 0), tls=True), tmp_path, frozenset())
    async with Wire().listening("127.0.0.1", found.context()) as wire:
        one = wire.add(tokens.make("view", "", now=NOW))
        ca = (tmp_path / "server/ca.crt").read_text()
        document = kubeconfig.config(f"https://localhost:{wire.port}", ca=ca, user=kubeconfig.by_token(one.text))

        def names() -> list[str]:
            settings = official.Configuration()
            loader: Any = official_config.load_kube_config_from_dict
            loader(document, client_configuration=settings)
            with official.ApiClient(settings) as api:
                listed: Any = official.CoreV1Api(api).list_node()
                return [each.metadata.name for each in listed.items]

        assert await asyncio.to_thread(names) == ["web1"]


async def test_who_shows_what_does_not_hold_is_told_to_wait_and_the_others_are_not() -> None:
    async with Wire().listening("127.0.0.1") as wire:
        one = wire.add(tokens.make("view", "", now=NOW))
        bad = ("-H", "Authorization: Bearer k3.0123456789." + "0" * 40)
        codes = [(await curl(wire, "/api/v1/nodes", *bad))[0] for _ in range(22)]
        assert codes == [401] * 20 + [429] * 2
        code, body = await curl(wire, "/api/v1/nodes", *bad)
        assert (code, body["reason"], body["details"]) == (429, "TooManyRequests", {"retryAfterSeconds": 1})
        assert (await curl(wire, "/api/v1/nodes", "-H", f"Authorization: Bearer {one.text}"))[0] == 200


async def test_beyond_a_bound_is_429_and_what_was_held_is_given_back(caplog: pytest.LogCaptureFixture) -> None:
    bounds = Bounds()
    bounds.requests = Share(10, 0)
    async with Wire(bounds=bounds).listening("127.0.0.1") as wire:
        code, body = await curl(wire, "/api/v1/nodes")
        assert (code, body["message"]) == (429, "Too many requests, please try again later: too many requests at once")
        bounds.requests = Share(1, 1)
    caplog.set_level(logging.INFO)
    async with Wire(bounds=bounds).listening("127.0.0.1") as wire:
        for _ in range(3):
            assert (await curl(wire, "/api/v1/nodes/web1", "-X", "DELETE"))[0] == 200
        assert bounds.requests.total == 0
    lines = [record.fields for record in caplog.records if record.msg == "api.written"]  # type: ignore[attr-defined]
    assert lines[0] == {"user": "local:root" if not os.geteuid() else lines[0]["user"], "verb": "delete",
                        "object": "nodes/web1", "from": "127.0.0.1", "code": 200}  # fmt: skip
