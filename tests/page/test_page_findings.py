"""What the page finds wrong with the list itself, and the YAML that it prints, asked of its modules in a browser."""

import random
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any, Final

import pytest
import pytest_asyncio
import yaml

from k3.core.objects import NODE, Key
from tests.page.pasts import NOW, event, machine, ready
from tests.page.stage import Stage, staged

pytestmark = [pytest.mark.slow, pytest.mark.servers("chromium"), pytest.mark.asyncio(loop_scope="module")]
ODD: Final = [
    *("", " ", "yes", "No", "ON", "off", "y", "N", "true", "False", "null", "~", "Null", "NaN", ".nan", ".inf", "-.INF", "="),
    *("0x10", "0o17", "010", "1_000", "1e3", "1.5", "-1", "+1", ".5", "12:30:45", "1:20", "2026-11-27", "2026-11-27T12:00:00Z"),
    *(
        "a: b",
        "a:b",
        "a :b",
        "a #b",
        "a#b",
        "# a",
        "- a",
        "-",
        "--",
        "---",
        "...",
        "? a",
        ": a",
        "a:",
        "<<",
        "*a",
        "&a",
        "!a",
        "%a",
    ),
    *(
        "@a",
        "`a",
        "'a",
        '"a',
        "a'b",
        'a"b',
        "{a}",
        "[a]",
        "a, b",
        "a]",
        "| a",
        "> a",
        " a",
        "a ",
        "\ta",
        "a\tb",
        "a\\b",
        "\\x41",
    ),
    *(
        "a\nb",
        "a\n",
        "\n",
        "\n\n",
        "a\n\n",
        "\na",
        "a\n  b\n",
        "  a\nb",
        "a\n\n\nb\n\n\n",
        "a\r\nb",
        "a\rb",
        "a\n# b\n",
        "a \nb",
        "a\n\tb",
    ),
    *(
        "é",
        "日本",
        "🙂",
        "a\u0085b",
        "a\u2028b",
        "a\u00a0b",
        "a\u200bb",
        "a\ufeffb",
        "\ufeffa",
        "\x00",
        "\x1b[31m",
        "\x7f",
        "\ud800",
        "\uffff",
    ),
    *("k3.network/lastSeen", "10.0.0.7:7946", "fd00::7", "::", "10.0.0.0/24", "Debian GNU/Linux 12 (bookworm)", "a" * 500),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    """One browser for all."""
    async with staged() as opened:
        yield opened


async def found(stage: Stage, *nodes: Mapping[str, Any], events: Any = ()) -> list[tuple[str, str, str]]:
    """Returns the findings as (kind, node, text)."""
    now = int(NOW.timestamp() * 1000)
    rows = await stage.of("findings", "m.findings(nodes, events, now)", nodes=nodes, events=list(events), now=now)
    return [(each["kind"], each["node"], each["text"]) for each in rows]


def web(name: str, ago: float = 5.0, by: str = "hub", ttl: str = "90s", **notes: str) -> dict[str, Any]:
    """A machine that was seen so many seconds ago, by the clock of `by`."""
    own = {
        "seen-by": by,
        "seen-run": f"run-of-{by}",
        "peer-ttl": ttl,
        **{key.replace("_", "-"): text for key, text in notes.items()},
    }
    return machine(name, seen_ago=ago, notes={f"k3.network/{key}": text for key, text in own.items()})


async def test_healthy_machines_give_none(stage: Stage) -> None:
    """Neither names that look like second names, nor a Node that nobody refreshes, nor a controller's."""
    controllers = {"metadata": {"name": "kubelet", "annotations": {}}, "status": {"conditions": [ready("True", NOW)]}}
    nodes = [
        web("hub"),
        web("cafe-decade"),
        web("gone", ago=9_000),
        controllers,
        {},
        {"metadata": None, "status": {"conditions": [None]}},
    ]
    assert await found(stage, *nodes) == []


async def test_two_machines_of_one_name(stage: Stage) -> None:
    """The one with the second name is found by it, another one by its Event."""
    first = await found(stage, web("web1"), web("web1-5f0a1c"))
    assert [each[:2] for each in first] == [("conflict", "web1-5f0a1c")]
    assert "Another machine is listed as web1," in first[0][2]
    told = [
        event("db", 1, "NameConflict", NOW - timedelta(hours=1), "another live machine is called x; this one goes by db"),
        event("old", 1, "IdentityChanged", NOW - timedelta(days=3)),
        event("gone", 1, "NameConflict", NOW),
    ]
    assert await found(stage, web("db"), web("old"), events=told) == [("conflict", "db", told[0]["message"])]


async def test_clones_and_what_cannot_be_read(stage: Stage) -> None:
    """Each says what the Node says of it."""
    cloned = {"type": "k3.network/Cloned", "status": "True", "reason": "SameIdentity", "message": "a clone is at 10.0.0.9"}
    copy = machine("copy", ready("True", NOW), cloned)
    settled = machine("settled", notes={"k3.network/clone-of": "5f0a1c9b"})
    odd = {"metadata": {"name": "odd"}, "status": {"conditions": [ready("Unknown", NOW, "Unreadable", "no JSON")]}}
    wanted = [("clone", "copy", "a clone is at 10.0.0.9"), ("unreadable", "odd", "no JSON")]
    assert await found(stage, odd, settled, copy) == wanted


async def test_wrong_clocks(stage: Stage) -> None:
    """A stamp of the future is proof; an old one is where the agent that wrote it is known to live."""
    ahead = await found(stage, web("hub"), web("a", ago=-3600, by="beta"), web("b", ago=-3590, by="beta"))
    assert ahead == [("clock", "beta", "Its clock is 59m ahead. On that machine: timedatectl set-ntp true")]
    behind = await found(stage, web("hub"), web("beta"), web("a", ago=3600, by="beta"))
    assert behind == [("clock", "beta", "Its clock is 60m behind. On that machine: timedatectl set-ntp true")]
    assert await found(stage, web("hub"), web("a", ago=3600, by="beta")) == []
    own = await found(stage, web("a", ago=-3600, by="a"), web("b", ago=-3600, by="b"))
    assert own == [("clock", "", "No machine agrees with the clock of this page: it seems to be 60m behind.")]


async def test_10000_machines_are_looked_through_between_two_frames_or_a_few(stage: Stage) -> None:
    """It is done again and again, beside all else."""
    script = """(() => {
        const nodes = Array.from({ length: 10000 }, (_, n) => ({ ...node, metadata: { ...node.metadata, name: `web${n}` } }));
        for (let warm = 0; warm < 3; warm++) m.findings(nodes, [], now);
        const began = performance.now();
        m.findings(nodes, [], now);
        return performance.now() - began;
    })()"""
    assert await stage.of("findings", script, node=web("hub"), now=int(NOW.timestamp() * 1000)) < 1_000


async def test_findings_are_shown_and_lead_to_the_machine(stage: Stage) -> None:
    """Names are text, a kind with many is folded, and what has the focus keeps it."""
    rows = [{"kind": "clone", "node": f"n{n}", "text": "<b>x</b>\u202e"} for n in range(60)]
    rows.append({"kind": "clock", "node": "beta", "text": "off"})
    script = """(() => {
        const root = document.getElementById("findings");
        globalThis.opened = [];
        globalThis.view = new m.FindingsView({ root, onopen: (name) => opened.push(name) });
        view.show(rows);
        const buttons = [...root.querySelectorAll("button")];
        buttons.at(-1).focus();
        view.show([...rows, { kind: "unreadable", node: "odd", text: "no" }]);
        document.activeElement.click();
        const open = [...root.querySelectorAll("details")].map((each) => each.open);
        const [bold, items] = [root.querySelector("b") === null, root.querySelectorAll("li").length];
        const seen = { opened, open, bold, items, text: root.textContent };
        view.show([]);
        return { ...seen, hidden: root.hidden };
    })()"""
    seen = await stage.of("findings", script, rows=rows)
    assert seen["opened"] == ["beta"]
    assert seen["open"] == [False, True, True]
    assert seen["items"] == 51 + 1 + 1
    assert (seen["bold"], seen["hidden"]) == (True, True)
    assert r"<b>x</b>\u202e" in seen["text"]
    assert "and 10 others" in seen["text"]


async def test_a_look_that_fails_is_not_the_last(stage: Stage) -> None:
    """Whatever went wrong with some Nodes: with the next change all are looked over again."""
    fails = "() => { looks += 1; throw new Error('one that fails'); }"
    await stage.of("findings", f"(globalThis.looks = 0, m.FindingsView.prototype.show = {fails}, 0)")
    for number in (1, 2):
        await stage.store.create(Key(NODE, f"look{number}"), machine(f"look{number}"))
        await stage.tab.until(f"looks >= {number}")
    assert all("one that fails" in each for each in stage.tab.complaints)


async def test_yaml_is_read_back_as_it_was(stage: Stage) -> None:
    """Whatever text a machine has put into its Node."""
    values: list[Any] = [{"a": odd, odd: ["b", odd]} for odd in ODD]
    values += [*ODD, 1e21, -2.5, 1e-7, 0, True, None, [], {}]
    for value, printed in zip(values, await stage.of("yaml", "values.map(m.yaml)", values=values), strict=True):
        assert yaml.safe_load(printed) == value, printed
        assert all(line.isprintable() for line in printed.replace("\t", " ").splitlines()), printed


async def test_yaml_of_any_shape(stage: Stage) -> None:
    """Lists in lists, mappings in lists, empty ones anywhere."""
    pick = random.Random(62)

    def made(depth: int) -> Any:
        kind = pick.randrange(4 if depth else 2)
        if kind < 2:
            return pick.choice([pick.choice(ODD), pick.randrange(-999, 999), None, True, {}, []])
        if kind == 2:
            return [made(depth - 1) for _ in range(pick.randrange(4))]
        return {pick.choice(ODD): made(depth - 1) for _ in range(pick.randrange(4))}

    values = [made(5) for _ in range(300)]
    for value, printed in zip(values, await stage.of("yaml", "values.map(m.yaml)", values=values), strict=True):
        assert yaml.safe_load(printed) == value, printed


async def test_yaml_of_a_node_is_plain(stage: Stage) -> None:
    """What is no trap stands without quotes, as kubectl prints it."""
    node = {
        "metadata": {"name": "web1", "labels": {"k3.network/managed": "true"}},
        "status": {"conditions": [{"type": "Ready"}]},
    }
    wanted = 'metadata:\n  name: web1\n  labels:\n    k3.network/managed: "true"\nstatus:\n  conditions:\n  - type: Ready\n'
    assert await stage.of("yaml", "m.yaml(node)", node=node) == wanted
