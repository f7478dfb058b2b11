"""Whose fault a silence is: the peer's, the link's, this machine's own, or nobody's, since somebody else answers there."""

import logging

import pytest

from k3.core.observation import Facts, Silent, Suspected
from k3.network.events import LinksChanged
from k3.network.messages import Impostor, LocalFault
from tests.network.test_clones import TWIN
from tests.network.test_clones import Bench as CloneBench
from tests.network.test_clones import answer as answered_at
from tests.network.test_peers import LINK, WEB, T, answer, heard, known

FAR_LINK = "10.5.0.0/24"
FAR = Facts(
    node="far", addresses=("10.5.0.2",), port=7946, pid=3, id="2" * 32, boot="far.1", links=(FAR_LINK,), peer_ttl_seconds=T
)


def test_one_silent_peer_on_each_of_two_links_is_no_doubt_about_either() -> None:
    """Two mute peers on one link may be the link's fault; one on each of two links are two dead machines."""
    bench, answers = known()
    bench.give(LinksChanged((LINK, FAR_LINK)))
    bench.give(heard(FAR))
    bench.run(2 * T, answers | {"far": answer(FAR)})
    bench.run(2 * T)
    assert {each.name for _, each in bench.said(Suspected)} == {"web", "far"}
    assert {(each.name, each.standing) for _, each in bench.said(Silent) if isinstance(each, Silent)} == {
        ("web", True),
        ("far", True),
    }


def test_while_the_kernel_refuses_for_want_of_something_nothing_is_concluded() -> None:
    """No descriptors, no memory: it passes, and for that long every Node stays as it is."""
    bench, answers = known()
    bench.run(2, answers)
    bench.run(10 * T, {"web": LocalFault("EMFILE", passes=True)})
    assert not bench.said(Suspected)
    assert not bench.said(Silent)
    assert bench.seen("web").is_ready
    bench.run(2 * T)
    assert bench.seen("web").ready.reason == "PeerUnreachable"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (Impostor("www", WEB.id), "renamed: the machine goes by the name of www now; to remove this Node: k3 delete node web"),
        (Impostor("other", "3" * 32), "answers as other now"),
        (Impostor("web", "3" * 32), "answers under another identity now"),
    ],
    ids=["renamed", "another-machine", "reinstalled"],
)
def test_what_answers_in_a_machines_place_is_said_and_no_firewall_is_blamed(now: Impostor, words: str) -> None:
    bench, answers = known()
    bench.run(2, answers)
    bench.run(2 * T, {"web": now})
    message = bench.seen("web").ready.message  # type: ignore[union-attr]
    assert words in message
    assert "firewall" not in message


def test_a_clone_is_told_of_in_the_log_with_the_command_that_helps(caplog: pytest.LogCaptureFixture) -> None:
    bench = CloneBench()
    bench.clones.advice = "rm -f /etc/machine-id"
    with caplog.at_level(logging.WARNING):
        bench.clones.tell_of(answered_at(TWIN, "10.0.0.2"))
    [record] = [each for each in caplog.records if each.message == "identity.cloned"]
    assert record.levelno == logging.WARNING
    assert record.fields["address"] == "10.0.0.2"  # type: ignore[attr-defined]
    assert record.fields["advice"] == "on one of them run: rm -f /etc/machine-id"  # type: ignore[attr-defined]
