"""What a server says at its start: where its page is, and how one gets in."""

from k3.daemon.process import how_to_ask
from k3.settings.structs import Reader


def test_over_loopback_the_link_is_enough() -> None:
    said = how_to_ask(Reader(served_at="http://127.0.0.1:8080"))
    assert said.splitlines()[0] == "See them in a browser: http://127.0.0.1:8080/"
    assert "token" not in said


def test_over_tls_it_says_what_makes_a_token_for_that_store() -> None:
    said = how_to_ask(Reader(served_at="https://10.0.0.5:8443", flags=" --store etcd://db:2379"))
    assert said.splitlines()[0] == "See them in a browser: https://10.0.0.5:8443/"
    assert "token create --role view --store etcd://db:2379\n" in said
