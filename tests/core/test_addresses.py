"""What an address is, and which host is this machine by what it is called."""

import pytest

from k3.core.addresses import is_loopback, parse_address


@pytest.mark.parametrize("text", ["10.0.0.1", "::1", "fe80::1%eth0"])
def test_a_literal(text: str) -> None:
    assert str(parse_address(text)) == text.partition("%")[0]


@pytest.mark.parametrize("text", ["", "web1", "10.0.0.1%eth0", "127.0.0.1%", "127.1", "1" * 65])
def test_no_literal_and_only_ipv6_has_scopes(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LocalHost", "localhost."])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "10.0.0.1", "fe80::1", "web1", "localhost.example", "localhost..", "127.0.0.1%x"]
)
def test_perhaps_another_machine(host: str) -> None:
    assert not is_loopback(host)
