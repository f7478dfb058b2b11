"""Pages hang together, and say of the code only what is so: links, flags, defaults, events, errors, limits."""

import argparse
import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from k3 import cli
from k3.cli.flags import Parser
from k3.cli.network import parser as network_parser
from k3.core import errors, limits
from k3.core.sources import NETWORK
from k3.network.ranks import Timing
from k3.settings import load as settings
from k3.settings import options
from tests.docs import sources, states
from tests.docs.pages import ROOT, Page, bare, commands, page, pages
from tests.source import READERS

ALL_PAGES = pytest.mark.parametrize("one", pages(), ids=lambda one: one.name)
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
OTHERS_FLAGS = {
    "--as",
    "--kubeconfig",
    "--network",
    "--init",
    "--name",
    "--cap-drop",
    "--now",
    "--require-hashes",
    "--no-build-isolation",
    "--no-deps",
    "--upgrade",
    "--permanent",
    "--add-service",
    "--add-port",
    "--reload",
    "--restart",
    "--force",
    "--reinstall",
}
"""Docker's, systemctl's, pip's, uv's and firewall-cmd's."""
PROOFS = {"alpha", "parsed", "make", "pip", "install", "deploy"}


# --- links and blocks


@ALL_PAGES
def test_links_lead_somewhere(one: Page) -> None:
    broken = [link for link in one.links if not link.startswith("https://") and not _resolves(one, link)]
    assert not broken


def _resolves(one: Page, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (ROOT / one.name).parent / path if path else ROOT / one.name
    if not target.resolve().exists():
        return False
    return not anchor or anchor in page(str(target.resolve().relative_to(ROOT))).anchors


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, found = set[str](), ["README.md"]
    while found:
        name = found.pop()
        reached.add(name)
        there = [((ROOT / name).parent / link.partition("#")[0]).resolve() for link in page(name).links if "://" not in link]
        names = {str(path.relative_to(ROOT)) for path in there if path.suffix == ".md"}
        found += names - reached
    assert reached == {one.name for one in pages()}


@ALL_PAGES
def test_every_block_of_commands_says_how_it_is_proved(one: Page) -> None:
    for block in one.blocks:
        assert block.language in {"", "console", "python", "yaml", "sql"}, f"{one.name}:{block.line}"
        if block.language == "console":
            assert block.proof in PROOFS, f"{one.name}:{block.line}"
            assert block.commands, f"{one.name}:{block.line}"


# --- commands that are not run


class Parsed(BaseException):
    """The command line was understood; carries what was read."""


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], argparse.Namespace]:
    """Read a command line as k3 does, and stop there."""
    read = argparse.ArgumentParser.parse_args

    def stop(self: Parser, args: list[str] | None = None, namespace: Any = None) -> None:
        raise Parsed(read(self, args, namespace))

    monkeypatch.setattr(Parser, "parse_args", stop)

    def run(arguments: list[str]) -> argparse.Namespace:
        with pytest.raises(Parsed) as found:
            cli._run(cli.unaliased(arguments))
        chosen: argparse.Namespace = found.value.args[0]
        return chosen

    return run


@pytest.mark.parametrize("command", [c for c in commands("parsed") if c.text.startswith("k3 ")], ids=str)
def test_a_command_is_understood(command: Any, parse: Callable[[list[str]], argparse.Namespace]) -> None:
    chosen = parse(shlex.split(command.text)[1:])
    if chosen.store:
        place = settings.Place({}, is_root=False)
        found = settings.load(settings.Flags(store=chosen.store), place, reading=True)
        assert found.storage.url.partition("://")[0] == chosen.store.partition("://")[0]


def _make_lines() -> list[Any]:
    return [c for proof in ("parsed", "make") for c in commands(proof) if c.text.startswith("make ")]


@pytest.mark.parametrize("command", _make_lines(), ids=str)
def test_make_knows_it(command: Any, parse: Callable[[list[str]], argparse.Namespace]) -> None:
    words = shlex.split(command.text)
    done = subprocess.run([*words, "-n"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for word in words:
        if word.startswith("ARGS="):
            parse(["network", *shlex.split(word.removeprefix("ARGS="))])


def test_every_make_target_named_is_one() -> None:
    named = {target for one in pages() for code in one.codes for target in re.findall(r"^make ([a-z]+)", code)}
    targets = set(re.findall(r"^## ([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named == targets, "CONTRIBUTING.md lists them all"


@pytest.mark.parametrize("command", commands("pip"), ids=str)
def test_a_requirements_file_is_there(command: Any) -> None:
    words = command.text.split()
    assert words[:5] == [".venv/bin/python", "-m", "pip", "install", "--require-hashes"]
    assert "--hash=sha256:" in (ROOT / words[words.index("-r") + 1]).read_text(encoding="utf-8")


def test_no_command_is_left_unproved() -> None:
    known = {"parsed": ("k3 ", "make "), "make": ("make ",), "pip": (".venv/bin/python -m pip ",)}
    for proof, beginnings in known.items():
        for command in commands(proof):
            assert command.text.startswith(beginnings), command


def test_the_configuration_file_shown_is_one(tmp_path: Path) -> None:
    (block,) = [block for block in page("docs/stores.md").blocks if block.language == "yaml"]
    text = "\n".join(block.lines)
    for kind in ("memory", "sqlite", "mysql", "etcd", "kubernetes"):
        file = tmp_path / f"{kind}.yaml"
        document = yaml.safe_load(text)
        document["storage"]["type"] = kind
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        found = settings.load(settings.Flags(config=str(file)), settings.Place({}, is_root=False), reading=False)
        assert type(found.storage).__name__.lower() == f"{kind}storage"
        assert not found.notes


def test_the_page_about_the_file_has_every_key_with_its_default(tmp_path: Path) -> None:
    one, file = page("docs/configuration.md"), tmp_path / "k3.yaml"
    tables = {tuple(bare(row[0])[0] for row in rows): rows for rows in one.tables("key")}
    for name, known in options.SECTIONS.items():
        rows = tables[next(keys for keys in tables if set(keys) == {option.name for option in known})]
        shown = {bare(row[0])[0]: row for row in rows}
        for option in known:
            _, default, like = shown[option.name]
            assert not option.default or bare(default) == [option.default]
            file.write_text(f"{name}:\n  {bare(like)[0]}\n", encoding="utf-8")
            found = settings.load(settings.Flags(config=str(file)), settings.Place({}, is_root=False), reading=False)
            assert list(found.sections[name]) == [option.name]
    assert ("level", "format", "path") in tables
    (block,) = [block for block in one.blocks if block.language == "yaml"]
    file.write_text("\n".join(block.lines), encoding="utf-8")
    found = settings.load(settings.Flags(config=str(file)), settings.Place({}, is_root=False), reading=False)
    assert set(found.sections) == {"network", "discovery"}
    assert not found.notes


@READERS
def test_every_refusal_shown_is_said(tmp_path: Path) -> None:
    (table,) = page("docs/configuration.md").tables("the file says")
    written = [
        "storag: {}",
        "network:\n  peer-ttl: 5",
        "storage:\n" + "\n" * 7 + "storage:",
        "peer-ttl: 5s",
        "storage:\n\ttype: sqlite",
    ]
    for (_, shown), text in zip(table, written, strict=True):
        file = tmp_path / "k3.yaml"
        file.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "k3.cli", "network", "--config", str(file)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert done.stderr == f"k3: {bare(shown)[0]}\n".replace("k3.yaml", str(file))


def test_the_modules_named_are_those_there_are() -> None:
    (table,) = page("docs/architecture.md").tables("module")
    named = {code for cell, _ in table for code in bare(cell)}
    files = (ROOT / "src" / "k3").iterdir()
    there = {f"k3.{file.stem}" for file in files if not file.name.startswith("__") and (file.is_dir() or file.suffix == ".py")}
    assert named == there


# --- flags


def _every_command() -> list[list[str]]:
    """Commands, and the verbs of those that have some."""
    verbs = {name: getattr(importlib.import_module(f"k3.cli.{name}"), "_VERBS", {}) for name in cli.COMMANDS}
    return [[name, *verb] for name in cli.COMMANDS for verb in ([[each] for each in verbs[name]] or [[]])]


def _parser_of(command: list[str], parse_names: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    made: list[argparse.ArgumentParser] = []

    def keep(self: Parser, *_: object, **__: object) -> None:
        made.append(self)
        raise Parsed

    parse_names.setattr(Parser, "parse_args", keep)
    with pytest.raises(Parsed):
        cli._run(command)
    return made[0]


def _flags(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings if name.startswith("--")} - {"--help"}


def test_flags_in_the_docs_and_flags_of_the_commands_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {flag for command in _every_command() for flag in _flags(_parser_of(command, monkeypatch))}
    mentioned = {flag for one in pages() if "/adr/" not in one.name for flag in FLAG.findall(one.text)}
    assert known - mentioned == set(), "not documented"
    assert mentioned - known - OTHERS_FLAGS - {"--help", "--man"} == set(), "there is no such flag"


def test_network_flags_have_a_row_with_their_default() -> None:
    (table,) = [rows for rows in page("docs/network.md").tables("flag") if len(rows[0]) == 4]
    shown = {bare(flag)[0]: (default, environment) for flag, default, environment, _ in table}
    parser = network_parser()
    assert set(shown) == _flags(parser)
    for option in options.SECTIONS["network"]:
        if option.default:
            assert bare(shown[f"--{option.name}"][0]) == [option.default], option.name
    assert {bare(environment)[0] for _, environment in shown.values() if environment} == {
        "NODE_NAME",
        "K3_STORE",
        "CONFIG_PATH",
    }


def test_reading_flags_have_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    (table,) = [rows for rows in page("docs/network.md").tables("flag") if len(rows[0]) == 2]
    shown = {code for flag, _ in table for code in bare(flag) if code.startswith("--")}
    assert shown | {"--store", "--config", "--log-level", "--log-format"} == _flags(_parser_of(["nodes"], monkeypatch))


@READERS
def test_environment_names_are_read() -> None:
    named = {code for one in pages() for code in one.codes if re.fullmatch(r"[A-Z0-9]+(_[A-Z0-9]+)+", code)}
    of_the_tests = {"K3_REQUIRE_SERVERS", "K3_TEST_CONSUL", "K3_TEST_ETCD", "K3_TEST_MARIADBD", "TIME_WAIT"}
    assert named - of_the_tests <= set(sources.texts())
    assert {"K3_STORE", "K3_STORE_PASSWORD", "CONFIG_PATH", "NODE_NAME", "XDG_STATE_HOME"} <= named


# --- events, errors, reasons, times


@READERS
def test_every_event_has_a_row_and_every_row_an_event() -> None:
    rows = [row for one in pages() for table in one.tables("event") for row in table if bare(row[0])]
    documented = [bare(row[0])[0] for row in rows]
    assert len(documented) == len(set(documented)), "twice"
    assert set(documented) - sources.events() == set(), "no such event in the source"
    assert sources.events() - set(documented) == set(), "not documented"


@READERS
@pytest.mark.parametrize(
    "line", [bare(row[0])[0] for table in page("docs/network.md").tables("line") for row in table], ids=lambda line: line[:40]
)
def test_k3_has_such_a_line(line: str) -> None:
    assert sources.says(line)


def test_every_error_has_its_row() -> None:
    (table,) = page("docs/architecture.md").tables("error")
    shown = {bare(name)[0]: int(code) for name, code, _ in table}
    real = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.K3Error) and kind is not errors.K3Error
    }
    assert shown == real


def test_every_reason_of_ready_has_its_row() -> None:
    (table,) = page("docs/architecture.md").tables("Ready")
    assert {reason for row in table for reason in bare(row[2])} == NETWORK.reasons


def test_the_page_of_states_is_that_of_the_code() -> None:
    text = page("docs/states.md").text
    assert states.written(text) == text, "run: .venv/bin/python -m tests.docs.states"
    for title, entries in states.TABLES.items():
        (rows,) = page("docs/states.md").tables(title)
        assert [bare(row[0])[0] for row in rows] == list(entries)


@pytest.mark.parametrize("command", ["events", "why"])
def test_the_flags_of_a_command_have_a_row(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (table,) = page("docs/commands.md").tables(f"flag of k3 {command}")
    shown = {code for flag, _ in table for code in bare(flag) if code.startswith("--")}
    assert shown | {"--store", "--config", "--log-level", "--log-format"} == _flags(_parser_of([command], monkeypatch))


def test_the_times_are_those_of_the_code() -> None:
    rows = [row for rows in page("docs/architecture.md").tables("") for row in rows if len(row) == 4]
    for column, ttl in ((2, 5.0), (3, 90.0)):
        timing = Timing.of(ttl)
        real = [timing.period, timing.write, timing.timeout, timing.retry, timing.step]
        for row, seconds in zip(rows, real, strict=True):
            shown = row[column].removesuffix(" s")
            assert f"{seconds:.{len(shown.partition('.')[2])}f}" == shown, row


def test_numbers_are_those_of_the_limits() -> None:
    architecture, stores, network = (" ".join(page(f"docs/{n}.md").text.split()) for n in ("architecture", "stores", "network"))
    history = f"{limits.HISTORY_SECONDS // 60} minutes and {limits.HISTORY_REVISIONS:,} revisions"
    assert history in architecture
    assert history in stores
    assert f"at most {limits.UNPROVEN_NODES} of these" in architecture
    assert f"at most {limits.EVENTS_PER_NODE} per Node" in architecture
    assert f"its addresses (at most {limits.LINKS}; of another machine the first {limits.PEER_ADDRESSES} that can" in network
    assert f"at most {limits.NAME_BYTES} bytes" in network


# --- what the first screen promises


def test_the_first_screen_fits_one() -> None:
    before, found, _ = page("README.md").text.partition("## Why")
    assert found
    assert len(before.splitlines()) <= 64


def test_readme_is_the_packages_description() -> None:
    assert 'readme = "README.md"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_help_is_as_short_as_the_docs_promise() -> None:
    done = subprocess.run([sys.executable, "-m", "k3.cli", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for command in cli.COMMANDS:
        assert command in done.stdout
