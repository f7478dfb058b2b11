"""What a machine does that finds its identity in use: at start, and later. Which of two clones it is, test_clones says."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from k3.agent.info import info_document, parse_info
from k3.core import limits
from k3.core.errors import StartFailed
from k3.network.clones import Clones
from k3.network.messages import Announcement, Answered, Endpoint, NoAnswer, Outcome, Target
from k3.network.own_identity import OwnIdentity
from k3.network.probe import Via
from tests.network.test_clones import ID, ME, NAT, OTHER, TWIN, announced, answer


@pytest.fixture
def own(tmp_path: Path) -> OwnIdentity:
    return learnt(tmp_path)


def learnt(state_dir: Path, *, has_parted: bool = False) -> OwnIdentity:
    identity = OwnIdentity(has_parted=has_parted)
    identity.learn(state_dir, ())
    return identity


def id_of(identity: OwnIdentity) -> str:
    return identity.sign(ME).id


def spoil(state_dir: Path) -> None:
    """Nothing can be written there."""
    shutil.rmtree(state_dir)
    state_dir.write_text("a file where a directory should be", encoding="ascii")


def test_who_makes_way_has_another_id_for_good_and_says_whose_clone_it_is(own: OwnIdentity, tmp_path: Path) -> None:
    former = id_of(own)
    assert own.make_way("web", "db") == former
    said = own.sign(ME)
    assert said.id not in {former, ID}
    assert said.clone_of == former
    assert id_of(learnt(tmp_path)) == said.id, "the next start has it"


def test_what_carries_the_former_id_is_the_clones_where_both_go_by_one_name(own: OwnIdentity) -> None:
    assert own.make_way("web", "web") == ""


def test_who_cannot_keep_another_id_does_not_start(own: OwnIdentity, tmp_path: Path) -> None:
    spoil(tmp_path)
    with pytest.raises(StartFailed, match=f"cannot keep this machine's identity in {tmp_path}: .*; make it writable"):
        own.make_way("web", "web")


@pytest.mark.parametrize(("clone", "goes_on_as"), [("web", "web-{id:.6}"), ("db", "web")])
def test_who_parts_starts_again_under_a_name_that_is_free(
    own: OwnIdentity, clone: str, goes_on_as: str, caplog: pytest.LogCaptureFixture
) -> None:
    former = id_of(own)
    with caplog.at_level(logging.WARNING):
        lost = own.part_ways("web", clone)
    assert lost is not None
    assert (lost.second, lost.held_at, lost.former) == (goes_on_as.format(id=id_of(own)), "by a clone", former)
    [record] = caplog.records
    assert record.getMessage() == "identity.changed"
    assert record.fields == {"node": "web", "former": former, "id": id_of(own)}  # type: ignore[attr-defined]


def test_an_identity_is_changed_once_in_a_run(own: OwnIdentity, tmp_path: Path) -> None:
    assert own.part_ways("web", "web") is not None
    changed = id_of(own)
    assert own.part_ways("web", "web") is None
    again = learnt(tmp_path, has_parted=True)
    assert again.part_ways("web", "web") is None, "it is the same run, under another name"
    (tmp_path / "other").mkdir()
    other = learnt(tmp_path / "other")
    other.make_way("web", "web")
    assert other.part_ways("web", "web") is None
    assert id_of(own) == id_of(again) == changed


def test_who_cannot_keep_another_id_goes_on_and_says_so_once(
    own: OwnIdentity, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    former = id_of(own)
    spoil(tmp_path)
    for _ in range(2):
        assert own.part_ways("web", "web") is None
    assert id_of(own) == former
    [record] = caplog.records
    assert record.getMessage() == "identity.not_kept"
    assert record.fields["advice"] == f"make {tmp_path} writable and restart k3"  # type: ignore[attr-defined]


# --- what only a clone can say


@pytest.fixture
def sealed(own: OwnIdentity) -> Answered:
    """What this machine, or a copy of it, answers."""
    said = replace(own.sign(ME), boot="2" * 16)
    read = parse_info(json.dumps(info_document(said, 12.3456, "a-store") | {"seal": own.seal(said, 12.3456)}).encode())
    end = Endpoint("10.0.0.2", 7946)
    return Answered(facts=read.facts, endpoint=end, group=0, uptime_seconds=read.uptime_seconds, seal=read.seal)


def test_a_copy_of_this_machine_can_seal_its_answers(own: OwnIdentity, sealed: Answered) -> None:
    assert sealed.facts.id == id_of(own)
    assert own.is_sealed(sealed)


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda each: replace(each, seal=""), id="no seal"),
        pytest.param(lambda each: replace(each, seal="0" * 32), id="an invented one"),
        pytest.param(lambda each: replace(each, uptime_seconds=13.3456), id="an old one"),
        pytest.param(
            lambda each: replace(each, facts=replace(each.facts, addresses=("10.0.0.66",))), id="that of another address"
        ),
        pytest.param(lambda each: replace(each, facts=replace(each.facts, boot="3" * 16)), id="that of another run"),
        pytest.param(lambda each: replace(each, facts=replace(each.facts, clone_of=OTHER)), id="that of another id"),
    ],
)
def test_a_stranger_cannot(own: OwnIdentity, sealed: Answered, forge: Callable[[Answered], Answered]) -> None:
    assert not own.is_sealed(forge(sealed))


def test_another_machine_with_the_same_id_cannot(sealed: Answered, tmp_path: Path) -> None:
    other = OwnIdentity(has_parted=False)
    other.learn(tmp_path, ())
    other._secret = b"f" * 32
    assert not other.is_sealed(sealed)


# --- who runs already


class Asked:
    """What clones there are at start."""

    def __init__(self, *answers: Answered) -> None:
        self.answers = {each.endpoint.address: each for each in answers}
        self.asked: list[str] = []
        self.told: list[str] = []
        self.clones = Clones(
            tell=self.told.append,
            part=lambda _: None,
            start=lambda work: work.close(),
            is_sealed=lambda each: bool(each.seal),
            ask=self._ask,
        )
        self.clones.say(ME)

    async def _ask(self, target: Target, *, timeout_seconds: float, via: Via = str) -> Outcome:
        places = [end.address for group in target.groups for end in group]
        self.asked += places
        return next((self.answers[each] for each in places if each in self.answers), NoAnswer("no answer in time"))


async def test_a_clone_that_runs_already_is_found_and_told_of() -> None:
    there = answer(TWIN, "10.0.0.2")
    at_start = Asked(there)
    assert await at_start.clones.already_running([announced(ME), announced(TWIN)]) == there
    assert at_start.asked == ["10.0.0.2"] * 2
    assert at_start.told == ["10.0.0.2"]


@pytest.mark.parametrize(
    ("heard", "answers"),
    [
        pytest.param(announced(TWIN), [], id="it does not answer"),
        pytest.param(announced(ME, "192.0.2.1"), [answer(ME, "192.0.2.1")], id="a way that leads back"),
        pytest.param(announced(TWIN, NAT), [answer(TWIN, NAT)], id="at an address of this machine"),
        pytest.param(announced(replace(TWIN, id=OTHER)), [answer(TWIN, "10.0.0.2")], id="a namesake"),
    ],
)
async def test_who_is_no_clone_changes_nothing(heard: Announcement, answers: list[Answered]) -> None:
    at_start = Asked(*answers)
    assert await at_start.clones.already_running([heard]) is None
    assert at_start.told == []


async def test_a_flood_of_forged_clones_is_not_asked_to_its_end() -> None:
    at_start = Asked()
    await at_start.clones.already_running([announced(TWIN, f"10.0.1.{number}") for number in range(1, 200)])
    assert len(at_start.asked) == limits.PEER_ADDRESSES
