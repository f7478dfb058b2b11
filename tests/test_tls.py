"""A server's certificate is checked in the same way with every Python; a file that TLS cannot use is named, with the reason."""

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from k3.agent import tls
from k3.agent.tls import BadFile, check_files, client_context
from k3.core.errors import ConfigInvalid, StartFailed
from k3.discovery.settings import from_flags
from k3.stores import connect
from k3.stores.etcd import EtcdStorage
from k3.stores.mysql import MysqlStorage
from tests.needs import find

HANG_SECONDS = 20.0


def test_a_certificate_is_checked_and_what_people_made_for_themselves_is_trusted_with_every_python() -> None:
    context = client_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT, "Python 3.13 demands more than 3.12"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two certificates with their keys, and what people take for them by mistake."""
    if find("openssl") is None:
        pytest.skip("needs openssl, to make certificates")
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=HANG_SECONDS)

    made = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    for name in ("one", "two"):
        openssl(*made, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    openssl("x509", "-in", "one.pem", "-outform", "DER", "-out", "one.der")
    openssl("ec", "-in", "one.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key")
    (folder / "both.pem").write_bytes((folder / "one.pem").read_bytes() + (folder / "one.key").read_bytes())
    (folder / "garbage").write_bytes(bytes(range(256)) * 9)
    (folder / "empty").touch()
    (folder / "cut.pem").write_bytes((folder / "one.pem").read_bytes()[:200])
    return folder


NO_CERTIFICATE = "it holds no certificate in PEM format"
NO_KEY = "it holds no private key in PEM format"
BAD = {
    "no-ca": (("none", "", ""), "ca", "No such file or directory"),
    "a-directory": ((".", "", ""), "ca", "Is a directory"),
    "garbage-ca": (("garbage", "", ""), "ca", NO_CERTIFICATE),
    "empty-ca": (("empty", "", ""), "ca", NO_CERTIFICATE),
    "der-ca": (("one.der", "", ""), "ca", NO_CERTIFICATE),
    "cut-ca": (("cut.pem", "", ""), "ca", NO_CERTIFICATE),
    "key-as-ca": (("one.key", "", ""), "ca", NO_CERTIFICATE),
    "no-cert": (("one.pem", "none", "one.key"), "cert", "No such file or directory"),
    "garbage-cert": (("one.pem", "garbage", "one.key"), "cert", NO_CERTIFICATE),
    "key-as-cert": (("one.pem", "one.key", "one.key"), "cert", NO_CERTIFICATE),
    "no-key": (("one.pem", "one.pem", "none"), "key", "No such file or directory"),
    "garbage-key": (("one.pem", "one.pem", "garbage"), "key", NO_KEY),
    "cert-as-key": (("one.pem", "one.pem", "one.pem"), "key", NO_KEY),
    "another-s-key": (("one.pem", "one.pem", "two.key"), "key", "its key is not that of the certificate in "),
    "locked-key": (("one.pem", "one.pem", "locked.key"), "key", "its key has a passphrase"),
}


def test_good_ones_are_taken(files: Path) -> None:
    check_files(str(files / "one.pem"), str(files / "one.pem"), str(files / "one.key"))
    check_files(str(files / "two.pem"), str(files / "both.pem"), "")
    check_files("", "", "")


@pytest.mark.parametrize("kind", BAD)
async def test_a_file_that_cannot_be_used_is_named_before_any_connection(
    files: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for each client of k3's: nothing listens at port 1, which no line speaks of."""
    names, role, why = BAD[kind]
    ca, cert, key = (str(files / name) if name else "" for name in names)
    path = {"ca": ca, "cert": cert, "key": key}[role]
    with pytest.raises(BadFile) as bad:
        check_files(ca, cert, key)
    assert (bad.value.role, str(bad.value).startswith(f"{path}: {why}")) == (role, True), bad.value
    environ = {"CONSUL_HTTP_SSL": "true", "CONSUL_CACERT": ca, "CONSUL_CLIENT_CERT": cert, "CONSUL_CLIENT_KEY": key}
    variable = {"ca": "CONSUL_CACERT", "cert": "CONSUL_CLIENT_CERT", "key": "CONSUL_CLIENT_KEY"}[role]
    consul: Callable[[], object] = from_flags("127.0.0.1:1", "", environ).tls
    with pytest.raises(ConfigInvalid, match=f"^{variable}: cannot use {path}: {why}"):
        consul()
    tls = {"ca_file": ca, "cert_file": cert, "key_file": key}
    with pytest.raises(StartFailed, match=f"^storage.etcd.{role}_file: {path}: {why}"):
        await connect(EtcdStorage(endpoints=("https://127.0.0.1:1",), **tls))  # type: ignore[arg-type]
    with pytest.raises(StartFailed, match=f"^storage.mysql: {role}_file {path}: {why}"):
        await connect(MysqlStorage(host="127.0.0.1", port=1, **tls))  # type: ignore[arg-type]


def test_a_file_that_is_replaced_between_two_looks_is_named(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = files / "ca.pem"
    ca.write_bytes((files / "one.pem").read_bytes())
    look = tls._check_certificate

    def and_emptied(role: tls.Role, path: str) -> None:
        look(role, path)
        ca.write_bytes(b"")

    monkeypatch.setattr(tls, "_check_certificate", and_emptied)
    with pytest.raises(BadFile, match=NO_CERTIFICATE):
        client_context(str(ca))
