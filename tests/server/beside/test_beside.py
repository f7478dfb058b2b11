"""`k3 server` answers each request as a real kube-apiserver 1.37 does, but for what `NOT_SERVED` names.

The answers of the real one are on file (`recorded/`), so that they are compared at once. Where a kube-apiserver is found, it
is asked again, and must answer what is on file.
"""

import json
from typing import Any

import pytest

from tests.server.beside.asking import Place
from tests.server.beside.comparing import compared
from tests.server.beside.not_served import NOT_SERVED
from tests.server.beside.own import own_answers
from tests.server.beside.recording import asked, recorded
from tests.server.beside.scenes import ALL
from tests.servers.kube_apiserver import TOKEN, kube_apiserver

SCENES = [each for scenes in ALL.values() for each in scenes]
STEPS = [(each.name, number) for each in SCENES for number in range(len(each.asks))]


@pytest.fixture(scope="module")
def ours() -> dict[str, list[dict[str, Any]]]:
    return {name: compared(answers) for name, answers in own_answers(SCENES).items()}


@pytest.fixture(scope="module")
def theirs() -> dict[str, list[dict[str, Any]]]:
    return recorded()


@pytest.mark.xdist_group("beside")
def test_all_scenes_are_on_file_and_no_others(theirs: dict[str, list[dict[str, Any]]]) -> None:
    assert {name: len(found) for name, found in theirs.items()} == {each.name: len(each.asks) for each in SCENES}


@pytest.mark.xdist_group("beside")
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name.replace(" ", "-"))
def test_the_answers_are_those_of_a_kube_apiserver(
    scene: Any, ours: dict[str, list[dict[str, Any]]], theirs: dict[str, list[dict[str, Any]]]
) -> None:
    differing: list[str] = []
    for number, (ask, own, real) in enumerate(zip(scene.asks, ours[scene.name], theirs[scene.name], strict=True)):
        if (scene.name, number) in NOT_SERVED:
            if own == real:
                differing.append(f"{number}. {ask}: is answered alike, and yet in NOT_SERVED")
        elif own != real:
            differing.append(f"{number}. {ask}\n   k3:   {_line(own)}\n   kube: {_line(real)}")
    assert not differing, "\n".join(differing)


def _line(answer: dict[str, Any]) -> str:
    return json.dumps(answer, sort_keys=True, ensure_ascii=False)


def test_what_is_not_served_is_asked() -> None:
    assert set(NOT_SERVED) <= set(STEPS)


@pytest.mark.slow
@pytest.mark.servers("etcd")
@pytest.mark.xdist_group("kube-apiserver")
def test_a_kube_apiserver_still_answers_what_is_on_file(theirs: dict[str, list[dict[str, Any]]]) -> None:
    with kube_apiserver() as server:
        place = Place(host=server.address, port=server.port, token=TOKEN, is_tls=True)
        assert {each.name: asked(place, each) for each in SCENES} == theirs
