"""`k3 nodes`: what it prints, of which store, and where it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from k3.cli.printers import Style, printer
from k3.core.objects import LEASE, NODE, Key, Object
from k3.view import node_table
from k3.view.cells import Moment
from k3.view.node_table import Reading
from tests.cli.conftest import K3, Start, StoreFile, node


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("   ") if cell.strip()]


def test_table_has_kubectls_columns_and_source_and_last_seen(k3: K3, store: StoreFile) -> None:
    head, *rows = k3("nodes", "--store", store.url).out.splitlines()
    assert cells(head) == ["NAME", "STATUS", "ROLES", "AGE", "VERSION", "SOURCE", "LAST SEEN", "INTERNAL-IP"]
    assert [cells(row)[0] for row in rows] == ["box", "web1", "web2"]
    box, web1, _ = map(cells, rows)
    assert box[1:3] + box[4:] == ["NotReady", "control-plane", "v1.32.4", "controller", "-", "<none>"]
    assert web1[1:3] + web1[4:5] == ["Ready", "worker", "network"]
    assert web1[5].endswith("s ago")
    assert web1[6] == "10.0.0.7"


def test_the_version_of_a_machine_without_a_kubelet_is_blank_as_kubectls(k3: K3, store: StoreFile) -> None:
    head, box, *others = k3("nodes", "--store", store.url).out.splitlines()
    start, end = head.index("VERSION"), head.index("SOURCE")
    assert box[start:end].strip() == "v1.32.4"
    assert {row[start:end].strip() for row in others} == {""}


def test_of_two_ready_conditions_the_last_counts_as_in_kubectl(k3: K3, store: StoreFile) -> None:
    twice = node("twice")
    twice["status"]["conditions"].append({"type": "Ready", "status": "False", "reason": "PeerLeft"})
    store.put("twice", twice)
    assert cells(k3("nodes", "twice", "--store", store.url, "--no-headers").out)[1] == "NotReady"


def test_wide_adds_kubectls_columns_and_the_reason(k3: K3, store: StoreFile) -> None:
    head, box, web1, _ = k3("nodes", "--store", store.url, "-o", "wide").out.splitlines()
    wide = ["INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME", "REASON", "MESSAGE"]
    assert cells(head)[7:] == wide
    assert cells(box)[7:] == ["<none>", "<none>", "Debian 12", "6.1.0", "x://1", "KubeletNotReady", "<none>"]
    assert cells(web1)[6:] == ["10.0.0.7", "<none>", "<unknown>", "<unknown>", "<unknown>", "PeerAlive", "<none>"]


def test_columns_are_aligned(k3: K3, store: StoreFile) -> None:
    store.put("a-much-longer-name.example.org")
    head, *rows = k3("nodes", "--store", store.url).out.splitlines()
    assert {row[head.index("STATUS") - 1] for row in rows} == {" "}
    assert {row[head.index("STATUS") :].split()[0] for row in rows} == {"Ready", "NotReady"}


@pytest.mark.parametrize(
    ("manifest", "status"),
    [
        (lambda: node("n", seen_ago=200), "Unknown (no observer)"),
        (lambda: node("n", conditions=[{"type": "k3.network/Reachable", "status": "False"}]), "Ready (not answering)"),
        (lambda: node("n", spec={"unschedulable": True}), "Ready,SchedulingDisabled"),
        (lambda: {"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "ObserverLost"}]}}, "NotReady"),
        (dict, "Unknown"),
    ],
)
def test_status_says_what_is_known(k3: K3, store: StoreFile, manifest: Callable[[], dict[str, object]], status: str) -> None:
    store.put("n", manifest())
    [row] = k3("nodes", "n", "--store", store.url, "--no-headers").out.splitlines()
    assert cells(row)[:2] == ["n", status]


def test_a_node_never_reached_has_no_last_seen(k3: K3, store: StoreFile) -> None:
    store.put("n", node("n", seen_ago=None))
    assert cells(k3("nodes", "n", "--store", store.url, "--no-headers").out)[5] == "-"


def test_one_node_as_json_is_a_v1_node(k3: K3, store: StoreFile) -> None:
    found = json.loads(k3("nodes", "web1", "--store", store.url, "-o", "json").out)
    assert (found["apiVersion"], found["kind"], found["metadata"]["name"]) == ("v1", "Node", "web1")
    assert found["metadata"]["resourceVersion"].isdigit()
    assert found["metadata"]["uid"]


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_many_nodes_are_a_v1_list_of_nodes(k3: K3, store: StoreFile, output: str, read: Callable[[str], Any]) -> None:
    found = read(k3("nodes", "--store", store.url, "-o", output).out)
    assert (found["apiVersion"], found["kind"]) == ("v1", "List")
    assert [(item["apiVersion"], item["kind"]) for item in found["items"]] == [("v1", "Node")] * 3


def test_yaml_says_the_same_as_json_and_keeps_every_text_a_text(k3: K3, store: StoreFile) -> None:
    odd = {
        f"x/{n}": text
        for n, text in enumerate(["on", "y", "1e3", "0o14", "0x1F", "1:30", "~", "", ".5", "-", "2026-01-01", "a: b"])
    }
    store.put("odd", {"metadata": {"annotations": {**odd, "x/hidden": "a\x9b\u202eb\n\x1b", "x/word": "机器"}}})
    shown = k3("nodes", "odd", "--store", store.url, "-o", "yaml").out
    assert yaml.safe_load(shown) == json.loads(k3("nodes", "odd", "--store", store.url, "-o", "json").out)
    for quoted in ("'1e3'", "'0o14'", "'y'", "'on'"):
        assert quoted in shown
    assert "机器" in shown


def test_names_are_for_other_commands(k3: K3, store: StoreFile) -> None:
    assert k3("nodes", "--store", store.url, "-o", "name").out == "node/box\nnode/web1\nnode/web2\n"


def test_selector_chooses(k3: K3, store: StoreFile) -> None:
    assert k3("nodes", "--store", store.url, "-l", "tier in (front,back),tier!=back", "-o", "name").out == "node/web1\n"


def test_selector_that_fits_nothing_says_so(k3: K3, store: StoreFile) -> None:
    result = k3("nodes", "--store", store.url, "-l", "tier=none")
    assert (result.code, result.out) == (0, "")
    assert result.err == f"No nodes match tier=none in {store.url}.\n"


def test_missing_name_ends_with_3(k3: K3, store: StoreFile) -> None:
    result = k3("nodes", "nobody", "--store", store.url)
    assert (result.code, result.out) == (3, "")
    assert result.err == f'k3: node "nobody" not found in {store.url}\n'


def test_empty_store_says_which_and_what_to_do(k3: K3, tmp_path: Path) -> None:
    file = StoreFile(tmp_path / "empty.db")
    assert file.names() == []
    result = k3("nodes", "--store", file.url)
    assert (result.code, result.out) == (0, "")
    assert result.err == f"No nodes in {file.url}. Start one with: k3 network --store {file.url}\n"


def test_empty_answer_is_still_a_document(k3: K3) -> None:
    result = k3("nodes", "--store", "memory://", "-o", "json")
    assert json.loads(result.out)["items"] == []
    assert "memory://" in result.err


@pytest.mark.parametrize("command", [("nodes",), ("nodes", "web1"), ("delete", "node", "web1")])
def test_reading_makes_no_file(k3: K3, tmp_path: Path, command: tuple[str, ...]) -> None:
    result = k3(*command, "--store", f"sqlite://{tmp_path}/none.db")
    assert result.code == 3
    assert result.err.startswith(f"k3: no store at sqlite://{tmp_path}/none.db. ")
    assert list(tmp_path.iterdir()) == []


def read(item: Object) -> Reading:
    return node_table.read(item.manifest(), Moment(datetime.now(UTC)))


EVIL = "a\x1b[31m\r\nb\x9bm\u202e"


def test_text_from_outside_cannot_reach_the_terminal(k3: K3, store: StoreFile) -> None:
    store.put("evil", node("evil", labels={f"node-role.kubernetes.io/{EVIL}": ""}, info={"osImage": EVIL}))
    for output in ("table", "wide", "json", "yaml", "name"):
        shown = k3("nodes", "--store", store.url, "-o", output).out
        assert all(line.isprintable() for line in shown.split("\n")), output
        assert ("[31m" in shown) == (output != "name")


@pytest.mark.parametrize("output", ["table", "wide", "json", "yaml", "name"])
def test_a_name_that_some_other_program_stored_cannot_either(capsys: pytest.CaptureFixture[str], output: str) -> None:
    # What another program put into etcd: a name no store of ours takes, and half a surrogate pair, which JSON can say.
    item = Object(
        key=Key(NODE, f"{EVIL}\ud800"), uid="uid", revision=1, document=b'{"metadata":{"annotations":{"half":"\\ud800"}}}'
    )
    columns = node_table.columns(wide=output == "wide")
    for single in (True, False):
        printer(output, columns, Style(), single=single).everything([item], read)
    printer(output, columns, Style(following=True), single=False).change("DELETED", item, read)
    shown = capsys.readouterr().out
    assert "[31m" in shown
    assert all(line.isprintable() for line in shown.split("\n"))


def test_a_terminal_without_unicode_gets_escapes(start: Start, store: StoreFile) -> None:
    store.put("word", {"metadata": {"annotations": {"x": "机器"}}})
    shown = start("nodes", "word", "-o", "json", "--store", store.url, PYTHONIOENCODING="ascii")
    assert shown.wait() == 0
    assert json.loads(shown.text)["metadata"]["annotations"] == {"x": "机器"}


@pytest.mark.parametrize(
    "words",
    [
        ("nodes", "web2", "web1"),
        ("nodes", "node/web2", "no/web1", "web2"),
        ("node", "nodes/web2", "node/web1"),
        ("get", "nodes", "web2", "web1"),
        ("get", "no/web2", "node/web1"),
    ],
)
def test_several_names_however_they_are_written(k3: K3, store: StoreFile, words: tuple[str, ...]) -> None:
    assert k3(*words, "--store", store.url, "-o", "name").out == "node/web1\nnode/web2\n"
    assert json.loads(k3(*words, "--store", store.url, "-o", "json").out)["kind"] == "List"


def test_of_several_names_the_missing_are_said_behind_the_others(k3: K3, store: StoreFile) -> None:
    result = k3("nodes", "nobody", "web1", "none", "--store", store.url, "-o", "name")
    assert (result.code, result.out) == (3, "node/web1\n")
    assert result.err == f'k3: node "nobody" not found in {store.url}; node "none" not found in {store.url}\n'


def test_a_word_of_another_programs_is_explained(k3: K3, store: StoreFile) -> None:
    result = k3("get", "node", "list", "--store", store.url)
    assert result.code == 3
    assert result.err == f'k3: node "list" not found in {store.url}; did you mean: k3 nodes\n'


def test_labels_have_columns(k3: K3, store: StoreFile) -> None:
    store.put("web1", node("web1", labels={"tier": "front", "kubernetes.io/arch": "arm64"}))
    flags = ("-L", "kubernetes.io/arch", "-L", "tier,none", "--show-labels", "--store", store.url)
    head, row = k3("nodes", "web1", *flags).out.splitlines()
    assert cells(head)[8:] == ["ARCH", "TIER", "NONE", "LABELS"]
    labels = "k3.network/managed=true,kubernetes.io/arch=arm64,tier=front"
    assert cells(row)[7:] == ["arm64", "front", "<none>", labels]


def test_a_node_that_a_kubelet_took_over_is_the_controllers_whatever_label_it_kept(k3: K3, store: StoreFile) -> None:
    taken = node("taken", seen_ago=1_000, info={"kubeletVersion": "v1.32.4"})
    taken["status"]["conditions"] = [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]
    store.put("taken", taken)
    row = cells(k3("nodes", "taken", "--store", store.url, "--no-headers").out)
    assert row[1] == "Ready"
    assert row[4:7] == ["v1.32.4", "controller", "-"]
    assert "It was not k3's" in k3("delete", "node", "taken", "--store", store.url).err


@pytest.mark.parametrize(
    ("manifest", "reason", "message"),
    [
        (lambda: node("n", seen_ago=200), "NoObserver", "no agent has refreshed this Node since 20"),
        (
            lambda: node("n", conditions=[{"type": "k3.network/Reachable", "status": "False", "reason": "ProbeFailed"}]),
            "ProbeFailed",
            "<none>",
        ),
        (
            lambda: {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "X", "message": "the why"}]}},
            "X",
            "the why",
        ),
        (dict, "NoCondition", "the Node has no Ready condition"),
    ],
)
def test_wide_says_why(k3: K3, store: StoreFile, manifest: Callable[[], dict[str, Any]], reason: str, message: str) -> None:
    store.put("n", manifest())
    row = cells(k3("nodes", "n", "--store", store.url, "-o", "wide", "--no-headers").out)
    assert row[11] == reason
    assert row[12].startswith(message)


# --- on a terminal


def on_a_terminal(*arguments: str, **env: str) -> str:
    """What a person sees."""
    ours, theirs = os.openpty()
    argv = [sys.executable, "-m", "k3.cli", *arguments]
    environ = {**os.environ, "TERM": "xterm", **env}
    with subprocess.Popen(argv, env=environ, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65_536):
                shown += piece
        except OSError:  # Linux says EIO when the last writer is gone
            pass
        finally:
            os.close(ours)
        assert process.wait(30) == 0
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colours_and_a_summary(store: StoreFile) -> None:
    store.put("web2", node("web2", seen_ago=1_000))
    _, box, web1, web2, *rest = on_a_terminal("nodes", "--store", store.url).splitlines()
    assert "\x1b[31mNotReady\x1b[0m " in box
    assert "\x1b[32mReady\x1b[0m " in web1
    assert "\x1b[33mUnknown (no observer)\x1b[0m " in web2
    assert rest == ["1 Ready, 2 not"]
    plain = on_a_terminal("nodes", "--store", store.url, NO_COLOR="1").splitlines()
    assert plain[4] == "1 Ready, 2 not"
    assert [line.index("network") for line in (web1.replace("\x1b[32m", "").replace("\x1b[0m", ""), plain[2])] == [
        plain[0].index("SOURCE")
    ] * 2
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in on_a_terminal("nodes", "--store", store.url, **env)


def test_nothing_but_rows_for_who_asked_for_one_or_for_rows(store: StoreFile) -> None:
    for flags in (("web1",), ("--no-headers",), ("-o", "name")):
        assert "1 Ready" not in on_a_terminal("nodes", *flags, "--store", store.url)
    assert on_a_terminal("nodes", "-l", "tier", "--store", store.url).splitlines()[-1] == "2 Ready"


# --- an empty store


@pytest.mark.parametrize("name", ["CONSUL_HTTP_ADDR", "CONSUL_ADDR"])
def test_in_a_consul_fleet_k3_discovery_is_named(k3: K3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    file = StoreFile(tmp_path / "empty.db")
    assert file.names() == []
    monkeypatch.setenv(name, "127.0.0.1:8500")
    said = k3("nodes", "--store", file.url).err
    assert f"Start one with: k3 discovery --store {file.url} (through Consul)" in said


def test_where_k3_discovery_leads_it_is_named(k3: K3, tmp_path: Path) -> None:
    file = StoreFile(tmp_path / "empty.db")
    file.write(Key(LEASE, "k3-discovery-web", "kube-system"), {"spec": {}})
    said = k3("nodes", "--store", file.url).err
    assert "k3 discovery looks after it" in said
    assert f"k3 discovery --store {file.url}" in said
    assert "k3 network" not in said


def test_aliases(k3: K3, store: StoreFile) -> None:
    wanted = k3("nodes", "--store", store.url, "-o", "name").out
    assert k3("node", "--store", store.url, "-o", "name").out == wanted
    assert k3("get", "nodes", "--store", store.url, "-o", "name").out == wanted


def test_store_comes_from_the_environment(k3: K3, store: StoreFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K3_STORE", store.url)
    assert k3("nodes", "-o", "name").out.startswith("node/box\n")


# --- -w, as real processes: the store is written by this one ---------------------------------------------------------


def test_watch_prints_every_change_of_another_process_at_once(start: Start, store: StoreFile) -> None:
    watching = start("nodes", "-w", "--store", store.url)
    watching.wait_for("web2")
    assert watching.lines[0].startswith("NAME ")
    before = len(watching.lines)
    store.put("web3")
    watching.wait_for(lambda line: line.startswith("web3 "), skip=before)
    store.put("web1", {"spec": {"unschedulable": True}})
    watching.wait_for("Ready,SchedulingDisabled", skip=before)
    store.delete("web2")
    watching.wait_for(lambda line: line.startswith("web2 ") and " Deleted " in line, skip=before)
    assert len(watching.lines) == before + 3


def test_a_row_comes_only_when_what_it_shows_has_changed(start: Start, store: StoreFile) -> None:
    watching = start("nodes", "-w", "--store", store.url)
    watching.wait_for("web2")
    before = len(watching.lines)
    for _ in range(3):
        store.put("web1", node("web1", seen_ago=0, labels={"tier": "front", "node-role.kubernetes.io/worker": ""}))
    moved = node("web1", seen_ago=0, labels={"node-role.kubernetes.io/worker": ""})
    moved["status"]["addresses"] = [{"type": "InternalIP", "address": "10.0.0.8"}]
    store.put("web1", moved)
    watching.wait_for("10.0.0.8", skip=before)
    down = node("web2", labels={"tier": "back"})
    down["status"]["conditions"][0]["status"] = "False"
    store.put("web2", down)
    watching.wait_for("NotReady", skip=before)
    assert [line.split()[0] for line in watching.lines[before:]] == ["web1", "web2"]


def test_watch_of_one_node_prints_only_that(start: Start, store: StoreFile) -> None:
    watching = start("nodes", "web1", "-w", "--no-headers", "-o", "name", "--store", store.url)
    watching.wait_for("node/web1")
    store.put("web2", {"spec": {"unschedulable": True}})
    store.put("web1", {"spec": {"unschedulable": True}})
    watching.wait_for("node/web1", skip=1)
    assert watching.lines == ("node/web1", "node/web1")


def test_a_node_that_no_longer_fits_the_selector_is_gone(start: Start, store: StoreFile) -> None:
    watching = start("nodes", "-w", "-l", "tier=front", "--store", store.url)
    watching.wait_for("web1")
    store.put("web1", node("web1", labels={"tier": "back"}))
    watching.wait_for("Deleted")


def test_watch_as_json_is_a_stream_of_nodes(start: Start, store: StoreFile) -> None:
    watching = start("nodes", "-w", "-o", "json", "--store", store.url)
    watching.wait_for('"name": "web2"')
    store.delete("box")
    watching.wait_for("deletionTimestamp")
    watching.wait_for("}", skip=len(watching.lines) - 1)
    text, decoder, found = watching.text, json.JSONDecoder(), []
    while text.strip():
        document, end = decoder.raw_decode(text.lstrip())
        found.append((document["kind"], document["metadata"]["name"], "deletionTimestamp" in document["metadata"]))
        text = text.lstrip()[end:]
    assert found == [("Node", "box", False), ("Node", "web1", False), ("Node", "web2", False), ("Node", "box", True)]


def test_watch_says_when_nobody_observes_any_more(start: Start, store: StoreFile) -> None:
    manifest = node("lone", seen_ago=0)
    manifest["metadata"]["annotations"]["k3.network/peer-ttl"] = "1s"
    store.put("lone", manifest)
    watching = start("nodes", "lone", "-w", "--store", store.url)
    watching.wait_for("Unknown (no observer)")


def test_ctrl_c_ends_a_watch_with_130_and_without_a_word(start: Start, store: StoreFile) -> None:
    watching = start("nodes", "-w", "--store", store.url)
    watching.wait_for("web2")
    before = watching.lines
    assert watching.kill(signal.SIGINT) == 130
    assert watching.lines == before


# As a shell has it: with a buffer, which the interpreter flushes once more when it ends.
BUFFERED = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}


@pytest.mark.parametrize("output", ["table", "yaml"])
def test_nobody_reading_ends_it_quietly(store: StoreFile, output: str) -> None:
    argv = [sys.executable, "-m", "k3.cli", "nodes", "-o", output, "--store", store.url]
    with subprocess.Popen(argv, env=BUFFERED, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 141


def test_full_disk_is_one_line(store: StoreFile) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        argv = [sys.executable, "-m", "k3.cli", "nodes", "--store", store.url]
        done = subprocess.run(argv, env=BUFFERED, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr == "k3: cannot write the answer: No space left on device\n"
