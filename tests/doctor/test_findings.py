"""What is said, in which order, and whose clock is called wrong."""

import json
import subprocess
import sys
import time

import pytest

from k3.cli.doctor import _lines
from k3.doctor.clock import clock
from k3.doctor.finding import Finding, Severity, Subject, document, in_order, is_healthy, note, ok, problem, unfinished, warning


def said(findings: list[Finding]) -> list[tuple[Severity, str]]:
    return [(each.severity, each.what) for each in findings]


def test_the_cause_stands_first_and_what_is_well_last() -> None:
    found = [
        ok(Subject.PORT, "well"),
        problem(Subject.STORE, "down"),
        note(Subject.CLOCK, "quiet"),
        warning(Subject.INTERFACES, "odd"),
        problem(Subject.FIREWALL, "drops"),
    ]
    assert [each.what for each in in_order(found)] == ["drops", "down", "odd", "quiet", "well"]
    assert not is_healthy(found)
    assert is_healthy([found[0], found[2]])


def test_text_and_json_say_the_same() -> None:
    hostile = problem(Subject.MACHINES, "a\x1b[31m is odd", why="it is", do="look", commands=["curl x"])
    text = "".join(_lines([hostile, ok(Subject.PORT, "answers")], is_all=False))
    assert "\x1b" not in text
    assert text.startswith("problem  machines: a\\x1b[31m is odd\n         Why: it is\n         Do:  look\n           curl x\n")
    assert "1 problem." in text
    told = json.loads(json.dumps(document([hostile])))
    assert told["healthy"] is False
    assert told["findings"][0] | {"what": ""} == {
        "severity": "problem",
        "subject": "machines",
        "what": "",
        "why": "it is",
        "do": "look",
        "commands": ["curl x"],
    }


@pytest.mark.parametrize(
    ("ahead", "local", "found"),
    [
        ({}, 0.0, []),
        ({"b": 0.4, "c": -2.0}, 0.0, [(Severity.OK, "the clock agrees with 2 others")]),
        ({"b": 3600.0}, 0.0, [(Severity.PROBLEM, "The clock of b is 60m ahead of this machine's.")]),
        ({"b": -10.0, "c": 0.0}, 0.0, [(Severity.WARNING, "The clock of b is 10s behind this machine's.")]),
        ({"b": 3600.0, "c": 3601.0}, 0.0, [(Severity.PROBLEM, "This machine's clock is 60m behind that of b, c.")]),
        (
            {"b": 0.0},
            -7200.0,
            [
                (
                    Severity.PROBLEM,
                    "The agent of k3 on this machine is 120m behind this process: it was started with another clock.",
                ),
                (Severity.OK, "the clock agrees with 1 other"),
            ],
        ),
    ],
)
def test_whose_clock_is_wrong(ahead: dict[str, float], local: float, found: list[tuple[Severity, str]]) -> None:
    assert said(clock(ahead, local)) == found


def test_what_was_not_finished_is_not_taken_for_well() -> None:
    given_up = unfinished(Subject.STORE)
    assert not is_healthy([ok(Subject.CLOCK, "x"), given_up])
    assert given_up.document()["unfinished"] is True
    assert "unfinished" not in note(Subject.STORE, "x").document()
    assert "not everything was looked at: store" in "".join(_lines([given_up], is_all=False))


def test_the_time_that_loading_took_is_counted() -> None:
    code = "import time; time.sleep(0.3); from k3.cli import doctor; print(doctor._running_seconds())"
    began = time.monotonic()
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 0.3 <= float(shown) <= time.monotonic() - began + 0.1
