"""docs/deploy.md: what its commands name is there, and what they install is k3."""

import argparse
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from k3 import cli
from k3.cli.flags import Parser
from tests.deploy import compose, dockerfile
from tests.deploy import image as images
from tests.deploy.image import pip_settings
from tests.docs.pages import ROOT, Command, commands

DEPLOY = commands("deploy")
WITH_VALUE = {"--name", "--network", "-v", "-e"}
"""Options of `docker run` that the page uses."""


class Understood(BaseException):
    """The command line was read to its end."""


@pytest.fixture
def understands(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], None]:
    """Raises unless k3 takes a command line."""
    read = argparse.ArgumentParser.parse_args

    def stop(self: Parser, args: list[str] | None = None) -> None:
        read(self, args)
        raise Understood

    monkeypatch.setattr(Parser, "parse_args", stop)

    def run(arguments: list[str]) -> None:
        with pytest.raises(Understood):
            cli._run(arguments)

    return run


def of(*beginning: str) -> list[list[str]]:
    """The words of every command that begins so."""
    words = [shlex.split(command.text) for command in DEPLOY]
    return [each for each in words if each[: len(beginning)] == list(beginning)]


def built() -> dict[str, Path]:
    """Dockerfiles by the image that the page makes of them."""
    made = {}
    for _, _, dash_f, file, dash_t, image, context in of("docker", "build"):
        assert (dash_f, dash_t, context) == ("-f", "-t", ".")
        made[image] = ROOT / file
    return made


def run_of(words: list[str]) -> tuple[list[tuple[str, str]], str, list[str]]:
    """`docker run` taken apart: its options, the image, and what follows that."""
    options, rest = list[tuple[str, str]](), words[2:]
    while rest[0].startswith("-"):
        taken = 2 if rest[0] in WITH_VALUE else 1
        options.append((rest[0], rest[1] if taken == 2 else ""))
        rest = rest[taken:]
    return options, rest[0], rest[1:]


def test_every_command_is_proved_here() -> None:
    beginnings = (
        "docker build ",
        "docker run ",
        "docker exec ",
        "docker-compose ",
        "systemctl ",
        "cp ",
        "mkdir ",
        "/opt/k3/bin/k3 ",
        "pipx install ",
        "uv tool install ",
        "rm -r ",
    )
    assert [command for command in DEPLOY if not command.text.startswith(beginnings)] == []
    assert {command.page for command in DEPLOY} == {"docs/deploy.md", "docs/configuration.md"}


def test_the_images_are_built_from_files_that_are_there() -> None:
    assert set(built()) == {"k3-network:latest", "k3-discovery:latest"}
    assert compose.service("discovery").document["image"] in built()
    for file in built().values():
        assert file.is_file()


@pytest.mark.parametrize("words", of("docker", "run"), ids=" ".join)
def test_a_container_is_started_with_flags_its_entry_point_takes(
    words: list[str], understands: Callable[[list[str]], None]
) -> None:
    options, image, arguments = run_of(words)
    entrypoint = dockerfile.read(built()[image])[-1].one("ENTRYPOINT").exec_form
    understands([*entrypoint[1:], *arguments])
    for option, value in options:
        assert option in {*WITH_VALUE, "-d"}
        if option == "-v" and value.startswith("$(pwd)/"):
            assert (ROOT / value.removeprefix("$(pwd)/").partition(":")[0]).is_file()


def test_what_is_executed_is_in_a_container_that_was_started(understands: Callable[[list[str]], None]) -> None:
    names = {value for words in of("docker", "run") for option, value in run_of(words)[0] if option == "--name"}
    names |= {compose.service(name).document["container_name"] for name in compose.document()["services"]}
    for _, _, name, k3, *arguments in of("docker", "exec"):
        assert name in names
        assert k3 == "k3"
        understands(arguments)


def test_files_and_units_are_there() -> None:
    for words in of("docker-compose"):
        assert (ROOT / words[2]).samefile(compose.FILE)
    for words in of("cp"):
        assert (ROOT / words[1]).is_file()
    for words in of("systemctl", "enable"):
        assert (ROOT / "deploy" / "systemd" / f"{words[-1]}.service").is_file()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for words in [*of("pipx", "install"), *of("uv", "tool", "install")]:
        assert words[-1] == "." or words[-1].removeprefix(".[").removesuffix("]") in extras


@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_installation_puts_k3_where_the_units_look(tmp_path: Path) -> None:
    machine = images.empty(tmp_path / "machine")
    images.send_context(machine, "/src")
    machine.workdir = "/src"
    for command in commands("install"):
        machine.run(["sh", "-ec", command.text], pip_settings())
    machine.workdir = "/"
    assert machine.run(["/opt/k3/bin/k3", "version"]).startswith("k3 ")
    where = "import k3; print(k3.__file__)"
    assert machine.run(["/opt/k3/bin/python", "-c", where]).startswith("/opt/k3/"), "the project may be moved away afterwards"


def test_the_installation_is_checked_and_complete() -> None:
    lines: list[Command] = commands("install")
    assert [command.text for command in lines if " install " in command.text and "--require-hashes" not in command.text] == [
        "/opt/k3/bin/python -m pip install --no-build-isolation --no-deps ."
    ]
