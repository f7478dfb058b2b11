"""Names that were refused once are known at the next start, and their number is bounded."""

from pathlib import Path

from k3.network.refused_names import NAMES, RefusedNames


def learnt(state_dir: Path) -> RefusedNames:
    refused = RefusedNames()
    refused.learn(state_dir)
    return refused


def test_a_refused_name_is_known_at_the_next_start(tmp_path: Path) -> None:
    assert not learnt(tmp_path).has("web")
    learnt(tmp_path).note("web")
    assert learnt(tmp_path).has("web")
    assert not learnt(tmp_path).has("db")


def test_the_latest_are_kept(tmp_path: Path) -> None:
    for number in range(2 * NAMES):
        learnt(tmp_path).note(f"web{number}")
        learnt(tmp_path).note("web")
    assert learnt(tmp_path).has("web")
    assert not learnt(tmp_path).has("web0")
    assert len((tmp_path / "refused-names").read_text(encoding="ascii").split()) == NAMES


def test_what_cannot_be_kept_or_read_refuses_again(tmp_path: Path) -> None:
    nowhere = learnt(tmp_path / "missing")
    nowhere.note("web")
    assert not nowhere.has("web")
    (tmp_path / "refused-names").write_bytes(b"w\xffb\n")
    assert not learnt(tmp_path).has("web")
    RefusedNames().note("web")
    assert not RefusedNames().has("web")
