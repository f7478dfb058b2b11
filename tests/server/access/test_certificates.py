import asyncio
import os
import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from k3.core.errors import ConfigInvalid, StartFailed
from k3.server.access import certificates
from k3.server.access.authority import client_pair, is_authority, new_authority, server_pair
from k3.server.access.certificates import Certificates
from k3.server.access.identity import of_certificate, of_token
from k3.server.access.pair import Pair
from k3.server.access.settings import AccessSettings
from k3.settings.listen import Listen

NOW = datetime.now(UTC)
HERE = frozenset({"10.0.0.5", "fd00::5", "fe80::1"})


def made(directory: Path, addresses: frozenset[str] = HERE, **more: Any) -> Certificates:
    return Certificates(AccessSettings(listen=Listen("", 8443), tls=True, **more), directory, addresses)


def shown(context: ssl.SSLContext, *, ca: str, name: str, client: Path | None = None) -> tuple[dict[str, Any], Any]:
    """Returns the server's certificate as a client has checked it, and the client's as the server has."""
    trusting = ssl.create_default_context(cadata=ca)
    if client is not None:
        trusting.load_cert_chain(client)
    near, far = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(far, near, server_side=True)
    one = trusting.wrap_bio(near, far, server_hostname=name)
    done: set[object] = set()
    while len(done) < 2:
        for each in (one, server):
            try:
                each.do_handshake()
                done.add(each)
            except ssl.SSLWantReadError:
                continue
    return one.getpeercert() or {}, server.getpeercert()


def test_a_certificate_is_made_once_for_all_names_of_the_machine(tmp_path: Path) -> None:
    one = made(tmp_path)
    context = one.context()
    directory = tmp_path / "server"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {path.name for path in directory.iterdir()} == {"ca.crt", "ca.key", "server.pem"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in directory.iterdir())
    ca = (directory / "ca.crt").read_text()
    for name in ("localhost", "127.0.0.1", "::1", "10.0.0.5", "fd00::5", socket.gethostname()):
        found, client = shown(context, ca=ca, name=name)
        assert found
        assert client is None
    with pytest.raises(ssl.SSLCertVerificationError):
        shown(context, ca=ca, name="10.0.0.6")
    before = (directory / "server.pem").read_bytes()
    assert not one.renew()
    made(tmp_path).context()
    assert (directory / "server.pem").read_bytes() == before
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_it_is_made_again_for_other_addresses_and_the_authority_stays(tmp_path: Path) -> None:
    one = made(tmp_path)
    context = one.context()
    ca = (tmp_path / "server/ca.crt").read_text()
    one.addresses = frozenset({"10.0.0.6"})
    assert one.renew()
    assert shown(context, ca=ca, name="10.0.0.6")[0]  # the same context, so without a restart
    assert (tmp_path / "server/ca.crt").read_text() == ca


def test_it_is_made_again_before_its_end_and_where_the_clock_went_back(tmp_path: Path) -> None:
    directory = tmp_path / "server"
    certificates.own_server(directory, ["localhost"], NOW)
    first = (directory / "server.pem").read_text()
    certificates.own_server(directory, ["localhost"], NOW + timedelta(days=200))
    assert (directory / "server.pem").read_text() == first
    certificates.own_server(directory, ["localhost"], NOW + timedelta(days=300))
    second = (directory / "server.pem").read_text()
    assert second != first
    certificates.own_server(directory, ["localhost"], NOW)
    assert (directory / "server.pem").read_text() not in {first, second}


@pytest.mark.parametrize("broken", ["", "-----BEGIN CERTIFICATE-----\nx\n", "ä"])
def test_what_cannot_be_read_is_made_again_but_never_an_authority(tmp_path: Path, broken: str) -> None:
    made(tmp_path).context()
    (tmp_path / "server/server.pem").write_text(broken)
    made(tmp_path).context()
    (tmp_path / "server/ca.crt").write_text(broken)
    with pytest.raises(StartFailed, match="no authority that may still certify"):
        made(tmp_path).context()


def test_a_link_of_another_user_is_not_followed(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can make a link another user's")
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    os.chown(shared, 65533, 65533)
    (tmp_path / "elsewhere").mkdir()
    (shared / "server").symlink_to(tmp_path / "elsewhere")
    os.lchown(shared / "server", 65534, 65534)
    with pytest.raises(StartFailed, match="is a symbolic link of"):
        made(shared).context()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_name_that_is_too_long_for_a_certificate(tmp_path: Path) -> None:
    user = of_token("x", "agent", "a" * 60)
    with pytest.raises(ConfigInvalid, match="too long for a certificate"):
        certificates.own_client(tmp_path / "server", user, NOW, ttl=timedelta(days=1))


def test_an_authority_made_while_the_clock_was_wrong_holds_once_it_is_right() -> None:
    early = new_authority("x", datetime(1970, 1, 2, tzinfo=UTC))
    assert is_authority(early, NOW)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=new_authority("x", NOW + timedelta(days=9_999)).certificate)
    (found,) = context.get_ca_certs()
    assert ssl.cert_time_to_seconds(str(found["notBefore"])) < NOW.timestamp()


def test_a_clients_certificate_is_its_user(tmp_path: Path) -> None:
    context = made(tmp_path).context()
    ca = (tmp_path / "server/ca.crt").read_text()
    user = of_token("laptop", "agent", "web1")
    pair = certificates.own_client(tmp_path / "server", user, NOW, ttl=timedelta(days=1))
    file = tmp_path / "client.pem"
    file.write_text(pair.certificate + pair.key)
    _, seen = shown(context, ca=ca, name="localhost", client=file)
    names = [text for part in seen["subject"] for kind, text in part if kind == "commonName"]
    assert names == ["system:node:web1"]
    found = of_certificate(names[0], [text for part in seen["subject"] for kind, text in part if kind == "organizationName"])
    assert (found.role, found.node) == ("agent", "web1")


@pytest.mark.parametrize("kind", ["foreign", "over", "of a server"])
def test_a_clients_certificate_that_does_not_hold_ends_the_handshake(tmp_path: Path, kind: str) -> None:
    context = made(tmp_path).context()
    ca = Pair((tmp_path / "server/ca.crt").read_text(), (tmp_path / "server/ca.key").read_text())
    pair = {
        "foreign": lambda: client_pair(new_authority("x", NOW), "eva", ["system:masters"], NOW, ttl=timedelta(days=1)),
        "over": lambda: client_pair(ca, "eva", ["system:masters"], NOW - timedelta(days=2), ttl=timedelta(days=1)),
        "of a server": lambda: server_pair(ca, ["localhost"], NOW),
    }[kind]()
    file = tmp_path / "client.pem"
    file.write_text(pair.certificate + pair.key)
    with pytest.raises(ssl.SSLError):
        shown(context, ca=ca.certificate, name="localhost", client=file)


def test_a_given_certificate_is_read_again_when_it_changes(tmp_path: Path) -> None:
    ca = new_authority("other", NOW)
    file, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def give(name: str) -> None:
        pair = server_pair(ca, [name], NOW)
        file.write_text(pair.certificate)
        key.write_text(pair.key)

    give("one.example")
    one = made(tmp_path / "state", cert_file=str(file), key_file=str(key))
    context = one.context()
    assert shown(context, ca=ca.certificate, name="one.example")[0]
    give("two.example")
    assert one.renew()
    assert shown(context, ca=ca.certificate, name="two.example")[0]
    assert not one.renew()
    key.write_text("half")
    with pytest.raises(ConfigInvalid, match=r"--tls-key-file: .*no private key"):
        one.renew()
    assert shown(context, ca=ca.certificate, name="two.example")[0]
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"cert_file": "/nowhere.pem"}, "--tls-cert-file: /nowhere.pem: No such file"),
        ({"client_ca_file": "/nowhere.pem"}, "--client-ca-file: /nowhere.pem: No such file"),
    ],
)
def test_files_that_are_not_there(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        made(tmp_path, **more).context()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"listen": Listen("", 80)}, "--tls"),
        ({"listen": Listen("10.0.0.5", 80)}, "--tls"),
        ({"listen": Listen("::", 80)}, "--tls"),
        ({"cert_file": "x"}, "--tls"),
        ({"tls": True, "key_file": "x"}, "--tls-key-file"),
    ],
)
def test_off_loopback_there_is_no_way_without_tls(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        AccessSettings(**more)
    assert not AccessSettings(listen=Listen("127.0.0.1", 80)).tls


async def test_two_processes_that_begin_at_once_make_one_authority(tmp_path: Path) -> None:
    found = await asyncio.gather(*(asyncio.to_thread(certificates.own_authority, tmp_path / "server", NOW) for _ in range(8)))
    assert len({each.certificate for each in found}) == 1
