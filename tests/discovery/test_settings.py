"""Flags and Consul's environment names become settings, or one clear line; a token is never shown."""

import ssl
from pathlib import Path

import pytest

from k3.core.errors import ConfigInvalid
from k3.discovery.settings import ConsulSettings, from_flags

TOKEN = "5d0c2f1e-secret"


@pytest.mark.parametrize(
    ("address", "environ", "where"),
    [
        ("", {}, "http://localhost:8500"),
        ("10.0.0.5:8501", {}, "http://10.0.0.5:8501"),
        ("consul.example", {}, "http://consul.example:8500"),
        ("http://consul.example", {}, "http://consul.example:80"),
        ("https://consul.example/", {}, "https://consul.example:443"),
        ("[::1]:8500", {}, "http://[::1]:8500"),
        ("unix:///run/consul.sock", {}, "unix:///run/consul.sock"),
        ("", {"CONSUL_HTTP_ADDR": "https://c:1"}, "https://c:1"),
        ("flag:1", {"CONSUL_HTTP_ADDR": "https://c:1"}, "http://flag:1"),
        ("c:1", {"CONSUL_HTTP_SSL": "true"}, "https://c:1"),
        ("", {"CONSUL_HTTP_ADDR": "", "CONSUL_HTTP_SSL": ""}, "http://localhost:8500"),
    ],
)
def test_an_address_is_read_as_consul_reads_it(address: str, environ: dict[str, str], where: str) -> None:
    assert from_flags(address, "", environ).where == where


@pytest.mark.parametrize(
    "address",
    [
        "ftp://c:1",
        "c:0",
        "c:70000",
        "c:port",
        "http://",
        "http://user:geheim@c:1",
        "c:1/prefix",
        "unix://run",
        "a b:1",
        "\x1b[2J",
    ],
)
def test_an_address_that_is_none_is_refused_in_one_line(address: str) -> None:
    with pytest.raises(ConfigInvalid, match=r'^--consul-addr: bad value ".*", expected HOST:PORT') as refused:
        from_flags(address, "", {})
    assert "geheim" not in str(refused.value)
    assert str(refused.value).isprintable()


def test_the_flag_s_token_outranks_the_file_and_the_file_the_variable(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n", encoding="ascii")
    environ = {"CONSUL_HTTP_TOKEN": "from-variable", "CONSUL_HTTP_TOKEN_FILE": str(file)}
    assert from_flags("", "from-flag", environ).read_token() == "from-flag"
    assert from_flags("", "", environ).read_token() == "from-file"
    assert from_flags("", "", {"CONSUL_HTTP_TOKEN": "from-variable"}).read_token() == "from-variable"
    assert from_flags("", "", {}).read_token() == ""


def test_no_token_is_ever_shown(tmp_path: Path) -> None:
    assert TOKEN not in repr(from_flags("", TOKEN, {}))
    with pytest.raises(ConfigInvalid) as refused:
        from_flags("", f"{TOKEN}\r\nX-Forged: 1", {})
    assert TOKEN not in str(refused.value)
    file = tmp_path / "token"
    file.write_text(f"{TOKEN} and more", encoding="ascii")
    with pytest.raises(ConfigInvalid, match="CONSUL_HTTP_TOKEN_FILE: not a token") as refused:
        ConsulSettings(token_file=str(file)).read_token()
    assert TOKEN not in str(refused.value)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    with pytest.raises(ConfigInvalid, match=f"cannot read {missing}: No such file"):
        ConsulSettings(token_file=str(missing)).read_token()
    with pytest.raises(ConfigInvalid, match=f"cannot use {missing}"):
        ConsulSettings(scheme="https", ca_file=str(missing)).tls()
    missing.write_text("not a certificate", encoding="ascii")
    with pytest.raises(ConfigInvalid, match="CONSUL_CLIENT_CERT"):
        ConsulSettings(scheme="https", cert_file=str(missing), key_file=str(missing)).tls()
    with pytest.raises(ConfigInvalid, match="a key without CONSUL_CLIENT_CERT"):
        from_flags("", "", {"CONSUL_CLIENT_KEY": "key.pem"})


def test_certificates_are_checked_unless_told_otherwise() -> None:
    checked, unchecked = (
        ConsulSettings(scheme="https").tls(),
        from_flags("https://c:1", "", {"CONSUL_HTTP_SSL_VERIFY": "false"}).tls(),
    )
    assert checked is not None
    assert checked.verify_mode is ssl.CERT_REQUIRED
    assert unchecked is not None
    assert unchecked.verify_mode is ssl.CERT_NONE
    assert ConsulSettings(scheme="http").tls() is None


def test_a_flag_that_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match=r'CONSUL_HTTP_SSL: bad value "perhaps"'):
        from_flags("", "", {"CONSUL_HTTP_SSL": "perhaps"})
