"""The man pages: made from what --help says, and read without a complaint by mandoc and groff."""

import re
import subprocess
from pathlib import Path

import pytest

from k3.cli import COMMANDS
from k3.cli.man import write_all
from tests.cli.conftest import K3


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_has_every_flag_of_the_help(k3: K3, command: str) -> None:
    shown = k3("help", "--man", command).out
    assert shown.startswith(f".TH K3\\-{command.upper()} 1 ")
    told = k3(command, "--help").out.partition("examples:")[0]
    flags = re.findall(r"^ +(?:-\\w.*, )?(--[a-z-]+)", told, re.MULTILINE)
    assert all(rf"\fB{flag.replace('-', chr(92) + '-')}\fR" in shown for flag in flags)


def test_the_page_of_k3_names_every_command_and_exit_code(k3: K3) -> None:
    shown = k3("help", "--man").out
    assert all(rf"\fBk3\-{command}\fR(1)" in shown for command in COMMANDS)
    assert "4 store unreachable" in shown


def test_a_page_that_is_not_there_is_said(k3: K3) -> None:
    assert (k3("help", "--man", "nonsense").code, k3("help", "--man", "nodes", "x").code) == (2, 2)
    assert k3("help", "--man", "node").out == k3("help", "--man", "nodes").out


@pytest.mark.servers("man")
def test_nothing_is_wrong_with_them(tmp_path: Path) -> None:
    write_all(tmp_path)
    pages = sorted(map(str, tmp_path.glob("*.1")))
    assert len(pages) == len(COMMANDS) + 1
    linted = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *pages], capture_output=True, text=True, check=False)
    assert linted.stdout + linted.stderr == ""
    for page in pages:
        shown = subprocess.run(["man", "--warnings=w", "-l", page], capture_output=True, text=True, check=False)
        assert shown.stderr == ""
        assert "SEE ALSO" in shown.stdout or page.endswith("/k3.1")
