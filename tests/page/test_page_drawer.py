"""The drawer of one machine, and the changes that a person makes there, in a browser on a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import pytest_asyncio

from k3.core.errors import NotFound
from k3.core.objects import EVENT, NODE, Key, Object
from k3.core.store import modify
from k3.server.access import tokens
from k3.server.access.identity import Role
from k3.view import words
from tests.page.pasts import event, machine, ready
from tests.page.stage import Stage, staged

pytestmark = [pytest.mark.slow, pytest.mark.servers("chromium"), pytest.mark.asyncio(loop_scope="module")]
WORDS: Final = {
    "states": {"Ready": {"means": "It is well.", "do": "Nothing."}},
    "reasons": {
        "PeerUnreachable": {"means": "It was silent.", "do": "Open port PORT.", "command": "curl http://ADDRESS:PORT/info"},
        "PeerLeft": {
            "means": "It left.",
            "do": "Look there.",
            "command": "curl -m 3 --interface eth0 http://ADDRESS:PORT/info",
        },
    },
    "conditions": {},
}
NOTE: Final = "kubernetes.io/description"
OPEN: Final = """(async () => {
    const [{ Drawer }, { Api }] = await Promise.all([import("/page/drawer.js"), import("/page/api.js")]);
    globalThis.panel?.close();
    globalThis.api = new Api(token);
    const root = document.getElementById("drawer");
    globalThis.panel = new Drawer({ root, api, words, may: isSure ? async () => true : undefined });
    globalThis.closings = 0;
    panel.onclose = () => closings++;
    globalThis.at = (query) => panel.dialog.querySelector(query);
    globalThis.isShown = (query) => Boolean(at(query)?.checkVisibility());
    document.getElementById("search").focus();
    const { items } = await api.list("/api/v1/namespaces/default/events", { fieldSelector: `involvedObject.name=${name}` });
    panel.show(await api.get(`/api/v1/nodes/${name}`), items);
})()"""
EDITS: Final = ".label-form", ".take", ".note-form", ".danger-zone", ".drawer-tools button:not([data-copy])"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    """One browser for all."""
    async with staged() as opened:
        yield opened
        assert opened.tab.complaints == []


async def put(stage: Stage, name: str, *conditions: Any, **more: Any) -> Object:
    """Makes a Node of now, in place of one that is there."""
    if await kept(stage, name) is not None:
        await stage.store.delete(Key(NODE, name))
    return await stage.store.create(Key(NODE, name), machine(name, *conditions, now=datetime.now(UTC), **more))


async def kept(stage: Stage, name: str) -> dict[str, Any] | None:
    """Returns the Node that is in the store."""
    try:
        return (await stage.store.get(Key(NODE, name))).manifest()
    except NotFound:
        return None


async def metadata(stage: Stage, name: str) -> dict[str, Any]:
    """Returns the metadata that is in the store."""
    return dict((await stage.store.get(Key(NODE, name))).manifest()["metadata"])


async def touch(stage: Stage, name: str, **labels: str) -> None:
    """Writes a Node as somebody else does."""

    def touched(manifest: dict[str, Any]) -> dict[str, Any]:
        manifest["metadata"]["labels"] |= labels
        manifest["metadata"]["annotations"]["k3.network/lastSeen"] = datetime.now(UTC).isoformat()
        return manifest

    await modify(stage.store, Key(NODE, name), touched)


async def shown(stage: Stage, name: str, *, role: Role | None = None, is_sure: bool = False) -> None:
    """Opens the drawer with a Node, with the rights of a role; none: of the person who runs the server."""
    token = ""
    if role:
        made = tokens.make(role, "", now=datetime.now(UTC))
        await tokens.keep(stage.store, made.token)
        token = made.text
    values = json.dumps([token, WORDS, name, is_sure])
    await stage.tab.value(f"(([token, words, name, isSure]) => {OPEN})({values})")


async def notice(stage: Stage) -> str:
    """Returns what the drawer says has gone wrong, once it does."""
    return str(await stage.tab.until("isShown('.drawer-notice') && at('.drawer-notice').textContent"))


async def test_it_says_what_the_machine_is_and_was_and_why(stage: Stage) -> None:
    """All that is known of a machine that does not answer."""
    now = datetime.now(UTC)
    down = ready("False", now - timedelta(hours=3), "PeerUnreachable", "no answer for 90 s")
    node = await put(stage, "web1", down, notes={NOTE: "under the stairs", "example.com/owner": "maria"}, seen_ago=10_890)
    for number, (reason, hours) in enumerate((("Registered", 12.0), ("NodeNotReady", 3.0)), 1):
        told = event("web1", number, reason, now - timedelta(hours=hours), uid=node.uid)
        await stage.store.create(Key(EVENT, told["metadata"]["name"], "default"), told)
    await shown(stage, "web1")
    text = await stage.tab.value("panel.dialog.innerText")
    for part in (
        *("web1", "Not ready", "It was silent.", "no answer for 90 s", "Open port 7946.", "curl http://10.0.0.7:7946/info"),
        *(
            "75 %",
            "It came onto the list",
            "10.0.0.7",
            "hub",
            "10.0.0.0/24, fd00:1::/64",
            "5f0a1c9b7e2d4a68",
            "writes to this store",
        ),
        *("PeerUnreachable for 3h", "NodeNotReady", "3h ago", "Debian GNU/Linux 12", "15.6 GiB", "under the stairs", "maria"),
    ):
        assert part in text, part
    copies = await stage.tab.value("[...panel.dialog.querySelectorAll('[data-copy]')].map((each) => each.dataset.copy)")
    assert {"ssh 10.0.0.7", "kubectl describe node web1", "10.0.0.7", "web1", "10.0.0.7:7946"} <= set(copies)
    bars = await stage.tab.value("[...at('.history-bars').children].map((each) => each.dataset.state).join(' ')")
    assert bars.count("notready") in {6, 7}
    assert bars.startswith("none none")
    label = await stage.tab.value("at('.history-bars').getAttribute('aria-label')")
    assert label.startswith("The last 24 hours: ready 75 % of the time that is known, not ready for 3h")


async def test_it_is_a_dialog_for_the_keyboard(stage: Stage) -> None:
    """The focus is kept in it, Escape closes it, and the focus is where it was."""
    await put(stage, "web1")
    await shown(stage, "web1")
    assert await stage.tab.value("document.activeElement.id") == "drawer-title"
    for _ in range(30):
        await stage.tab.press("Tab")
        assert await stage.tab.value(
            "document.activeElement === document.body || panel.dialog.contains(document.activeElement)"
        )
    middle = {"button": "left", "clickCount": 1, "y": 850}
    for x in (1400, 1000, 40):
        assert await stage.tab.value("panel.isOpen")
        for kind in ("mousePressed", "mouseReleased"):
            await stage.tab.call("Input.dispatchMouseEvent", type=kind, x=x, **middle)
    await stage.tab.until("!panel.isOpen && closings === 1")
    await shown(stage, "web1")
    await stage.tab.press("Escape")
    await stage.tab.until("!panel.isOpen && closings === 1 && document.getElementById('drawer').hidden")
    assert await stage.tab.value("document.activeElement.id") == "search"


async def test_each_source_has_its_evidence(stage: Stage) -> None:
    """What both have recorded of one machine, what they doubt, and a controller's Node, of which k3 knows nothing."""
    warning = {
        "type": "k3.discovery/Warning",
        "status": "True",
        "reason": "ConsulWarning",
        "message": "the disk is nearly full",
    }
    notes = {"k3.discovery/lastSeen": "2020-01-01T00:00:00Z", "k3.discovery/service": "web", "k3.discovery/datacenter": "dc2"}
    await put(stage, "web1", ready("True", datetime.now(UTC)), warning, notes=notes, seen_ago=-3600)
    await shown(stage, "web1")
    sources = await stage.tab.value("[...panel.dialog.querySelectorAll('.source')].map((each) => each.innerText)")
    assert len(sources) == 2
    assert sources[0].startswith("k3 network\nlooks after it")
    assert "in the future: a clock is wrong" in sources[0]
    assert sources[1].startswith("k3 discovery\nleft this behind")
    for part in ("the disk is nearly full", "dc2", "web"):
        assert part in sources[1]
    node = machine("kubelet1", ready("True", datetime.now(UTC), "KubeletReady"))
    node["metadata"] = {"name": "kubelet1", "resourceVersion": "1", "uid": "u"}
    await stage.tab.value(f"panel.show({json.dumps(node)}, [])")
    text = await stage.tab.value("at('.source').innerText")
    assert text.startswith("A controller or a person")
    assert "k3 writes nothing into this Node." in text


async def test_it_says_what_it_does_not_show(stage: Stage) -> None:
    """While the server is lost, or the list shows the past, the drawer says so; a Node that is gone and back is shown again."""
    await put(stage, "web1")
    await shown(stage, "web1")
    assert not await stage.tab.value("isShown('.drawer-stale') || isShown('.drawer-past') || isShown('.drawer-notice')")
    was = await stage.tab.value("document.body.dataset.standing")
    await stage.tab.value(
        "document.body.dataset.standing = 'lost'; document.getElementById('time').classList.add('time', 'past')"
    )
    assert await stage.tab.value("isShown('.drawer-stale') && isShown('.drawer-past')")
    await stage.tab.value(f"document.body.dataset.standing = '{was}'; document.getElementById('time').classList.remove('past')")
    await stage.tab.value("panel.update(null)")
    assert "is not on the list any more" in await notice(stage)
    await stage.tab.value("panel.update(structuredClone(panel.node))")
    assert not await stage.tab.value("isShown('.drawer-notice')")


async def test_hostile_texts_are_texts(stage: Stage) -> None:
    """Whatever stands in a Node or an Event: it is shown, nothing runs, and no command is made of it."""
    evil = "<img src=x onerror=alert(1)><b>\u202e\x1b[2J"
    node = machine(
        "evil", ready("False", datetime.now(UTC), evil, evil), notes={NOTE: evil, "k3.network/links": evil, "x": evil}
    )
    node["status"]["addresses"] = [{"type": "InternalIP", "address": "-oProxyCommand=x"}, {"type": evil, "address": evil}]
    node["metadata"]["labels"]["x"] = evil
    told = event("evil", 1, evil, datetime.now(UTC), evil)
    odd: list[dict[str, Any]] = [
        {"metadata": {"name": "-evil;rm"}},
        {"metadata": {"name": "o"}, "status": {"conditions": {}, "addresses": [7]}},
    ]
    await put(stage, "web1")
    await shown(stage, "web1")
    values = json.dumps([[node, *odd], [told, {}]])
    show = "(node) => (panel.show(node, told), panel.dialog.innerText)"
    script = f"(([all, told]) => all.map({show}))({values})"
    texts = await stage.tab.value(script)
    assert r"<img src=x onerror=alert(1)><b>\u202e\x1b[2J" in texts[0]
    assert await stage.tab.value("at('img, b, script') === null")
    for each in (node, *odd):
        copies = await stage.tab.value(
            f"import('/page/sections.js').then((m) => m.commands({json.dumps(each)}).map((c) => c.text))"
        )
        assert all(text in {"ssh evil", "kubectl describe node evil", "ssh o", "kubectl describe node o"} for text in copies), (
            copies
        )


async def test_changes_of_the_node_keep_the_persons_place(stage: Stage) -> None:
    """Focus, input, what is unfolded and how far it is scrolled stay, and nothing piles up."""
    await put(stage, "web1")
    await shown(stage, "web1")
    await stage.tab.until("isShown('.label-form')")
    await stage.tab.value("panel.raw.open = true; panel.editor.key.focus()")
    await stage.tab.write("zo")
    await stage.tab.value("panel.dialog.scrollTop = 400")
    script = """(async () => {
        const count = () => panel.dialog.querySelectorAll("*").length;
        const before = [panel.dialog.scrollTop, count()];
        for (let n = 0; n < 100; n++) {
            const node = structuredClone(panel.node);
            node.metadata.annotations["k3.network/lastSeen"] = new Date().toISOString();
            node.metadata.resourceVersion = String(n);
            panel.update(node);
        }
        return [before, [panel.dialog.scrollTop, count()]];
    })()"""
    before, after = await stage.tab.value(script)
    assert before == after
    assert await stage.tab.value("[document.activeElement.name, panel.editor.key.value, panel.raw.open]") == [
        "key",
        "zo",
        True,
    ]
    assert await stage.tab.value("panel.pre.textContent.includes('resourceVersion: \"99\"')")


async def test_labels_are_set_and_taken_off(stage: Stage) -> None:
    """With the keyboard; those that agents write can be neither taken off nor set."""
    await put(stage, "web1", labels={"role": "web"})
    await shown(stage, "web1")
    await stage.tab.until("isShown('.label-form')")
    await stage.tab.value("panel.editor.key.focus()")
    await stage.tab.write("zone=rack1")
    await stage.tab.press("Enter")
    await stage.tab.until("panel.editor.list.textContent.includes('zone=rack1') && panel.editor.key.value === ''")
    takes = await stage.tab.value("[...panel.dialog.querySelectorAll('.take')].map((each) => each.ariaLabel)")
    assert takes == ["Remove the label role=web", "Remove the label zone=rack1"]
    await stage.tab.value("at('.take').click()")
    await stage.tab.until("!panel.editor.list.textContent.includes('role')")
    labels = (await metadata(stage, "web1"))["labels"]
    assert labels["zone"] == "rack1"
    assert "role" not in labels
    for typed, odd in (("not a key", "key"), ("zone=rack 1", "value")):
        await stage.tab.value(f"panel.editor.key.value = {typed!r}; panel.editor.form.requestSubmit()")
        await stage.tab.until(f"panel.notice.textContent === {json.dumps(words.LABELS[odd])}")
    await stage.tab.value("panel.editor.key.value = 'k3.network/managed=false'; panel.editor.form.requestSubmit()")
    await stage.tab.until("panel.notice.textContent === 'k3.network/managed is a label that k3 writes itself.'")
    assert (await metadata(stage, "web1"))["labels"].get("k3.network/managed") != "false"


async def test_a_change_is_lost_to_nobody(stage: Stage) -> None:
    """A Node that is only refreshed meanwhile is changed all the same; what somebody else has changed is not overwritten."""
    await put(stage, "web1")
    await shown(stage, "web1")
    await stage.tab.until("isShown('.label-form')")
    await touch(stage, "web1")
    await stage.tab.value("panel.editor.key.value = 'zone'; panel.editor.value.value = 'a'; panel.editor.form.requestSubmit()")
    await stage.tab.until("panel.editor.list.textContent.includes('zone=a')")
    await touch(stage, "web1", zone="b")
    await stage.tab.value("panel.editor.key.value = 'zone'; panel.editor.value.value = 'c'; panel.editor.form.requestSubmit()")
    assert await notice(stage) == 'Somebody else has just changed zone to "b".'
    assert (await metadata(stage, "web1"))["labels"]["zone"] == "b"


async def test_a_note_is_kept_with_the_node(stage: Stage) -> None:
    """It is written, shown, changed and taken away; Escape leaves the note, not the drawer."""
    await put(stage, "web1")
    await shown(stage, "web1")
    await stage.tab.until("isShown('#part-note')")
    for text in ("Ask Maria\nbefore a restart: <b>", ""):
        await stage.tab.value("panel.editor.noteEdit.click()")
        await stage.tab.press("Escape")
        assert await stage.tab.value("panel.isOpen && !isShown('.note-form')")
        await stage.tab.value(f"panel.editor.noteEdit.click(); panel.editor.noteField.value = {json.dumps(text)}")
        await stage.tab.value("panel.editor.noteForm.requestSubmit()")
        await stage.tab.until("!isShown('.note-form')")
        assert (await metadata(stage, "web1"))["annotations"].get(NOTE, "") == text
        assert await stage.tab.value("panel.editor.noteText.textContent") == text


async def test_cordon_and_uncordon(stage: Stage) -> None:
    """As kubectl does it."""
    await put(stage, "web1")
    await shown(stage, "web1")
    for is_cordoned, word in ((True, "Uncordon"), (None, "Cordon")):
        await stage.tab.until("isShown('.drawer-tools button:not([data-copy])')")
        await stage.tab.value("panel.editor.cordon.click()")
        await stage.tab.until(f"panel.editor.cordon.textContent === '{word}'")
        found = await kept(stage, "web1")
        assert found is not None
        assert found["spec"].get("unschedulable") is is_cordoned
        assert ("cordoned" in await stage.tab.value("panel.chip.textContent")) is bool(is_cordoned)


async def test_a_node_is_deleted_only_by_its_name_and_as_it_was_seen(stage: Stage) -> None:
    """The question names it; another Node that has taken the name is left alone."""
    await put(stage, "web1")
    await shown(stage, "web1")
    await stage.tab.until("isShown('.danger-zone')")
    await stage.tab.value("panel.editor.ask.click()")
    asked = await stage.tab.value("[document.activeElement.textContent, at('.confirm').innerText]")
    assert asked[0] == "Keep it"
    assert "Delete the Node web1, with its labels and its note? If that machine still runs k3 network" in asked[1]
    await stage.tab.press("Escape")
    assert await stage.tab.value("panel.isOpen && !isShown('.confirm')")
    await put(stage, "web1")
    await stage.tab.value("panel.editor.ask.click(); panel.editor.sure.click()")
    assert "UID in the precondition" in await notice(stage)
    assert await kept(stage, "web1") is not None
    await shown(stage, "web1")
    await stage.tab.until("isShown('.danger-zone')")
    await stage.tab.value("panel.editor.ask.click(); panel.editor.sure.click()")
    await stage.tab.until("panel.editor.confirm.hidden")
    assert await kept(stage, "web1") is None
    assert await stage.tab.value("isShown('.cordon') && isShown('.label-form') && isShown('.danger-zone')")
    await stage.tab.value("panel.update(null)")
    assert "is not on the list any more" in await notice(stage)
    assert not await stage.tab.value("isShown('.cordon') || isShown('.label-form') || isShown('.danger-zone')")
    assert await stage.tab.value("getComputedStyle(at('.drawer-name .chip')).filter") == "grayscale(1)"


async def test_nothing_is_offered_without_the_right(stage: Stage) -> None:
    """A person who may only read sees no form; where one is shown all the same, the server's refusal is."""
    await put(stage, "web1", labels={"role": "web"})
    await shown(stage, "web1", role="view")
    await stage.tab.value("Promise.all([api.may('patch', 'nodes'), api.may('delete', 'nodes')])")
    offered = await stage.tab.value(f"{json.dumps(EDITS)}.filter((each) => isShown(each))")
    assert offered == []
    assert await stage.tab.value("isShown('.label-list li') && isShown('.drawer-tools [data-copy]')")
    await shown(stage, "web1", role="view", is_sure=True)
    await stage.tab.until("isShown('.label-form')")
    await stage.tab.value("panel.editor.key.value = 'zone'; panel.editor.form.requestSubmit()")
    assert 'cannot patch resource "nodes"' in await notice(stage)


async def test_rights_that_the_server_cannot_tell_stay_as_they_were(stage: Stage) -> None:
    """A busy server that is back has not said no: a form half filled in stays, and is asked until it answers."""
    await put(stage, "web1")
    await shown(stage, "web1")
    await stage.tab.until("isShown('.label-form') && isShown('.danger-zone')")
    answers = {"busy": "throw new Refusal(503, 'busy')", "only to delete": "return verb === 'delete'"}
    answers["denied"] = "throw new Refusal(403, 'no')"
    standings = "for (const each of ['lost', 'live']) { document.body.dataset.standing = each; panel.stand(); }"

    async def asked_anew(answer: str, *, is_lost: bool = True) -> None:
        may = f"async (verb) => {{ asked += 1; {answers[answer]}; }}"
        script = f"globalThis.asked = 0; panel.editor.may = {may}; {standings if is_lost else ''}"
        await stage.tab.value(f"import('/page/api.js').then(({{ Refusal }}) => {{ globalThis.Refusal = Refusal; {script} }})")

    await stage.tab.value("panel.editor.key.focus()")
    await stage.tab.write("zo")
    await asked_anew("busy")
    await stage.tab.until("asked >= 4")
    assert await stage.tab.value("isShown('.label-form') && isShown('.danger-zone') && panel.editor.key.value === 'zo'")
    await asked_anew("only to delete", is_lost=False)
    await stage.tab.until("!isShown('.label-form') && isShown('.danger-zone')")
    assert await stage.tab.value("asked") == 2
    await asked_anew("denied")
    await stage.tab.until("!isShown('.danger-zone')")
    await asked_anew("busy")
    await stage.tab.value("panel.close()")
    asked = await stage.tab.value("asked")
    await asyncio.sleep(1)
    assert await stage.tab.value("asked") == asked, "the details are closed"


async def test_on_a_phone_it_is_the_whole_window(stage: Stage) -> None:
    """Nothing reaches beyond its sides, and its name stays in sight."""
    await put(
        stage,
        "web1",
        ready("False", datetime.now(UTC), "PeerLeft", "it said goodbye"),
        labels={"a.very.long.key.that.does.not.end/and-goes-on": "x" * 63},
        notes={"example.com/long": "y" * 2000},
    )
    await stage.tab.look(width=320, height=640)
    await shown(stage, "web1")
    await stage.tab.value("panel.raw.open = true")
    await stage.tab.until("panel.dialog.getAnimations().length === 0")  # it slides in from the side
    sizes = await stage.tab.value(
        "[panel.dialog.getBoundingClientRect().width, panel.dialog.scrollWidth, panel.dialog.clientWidth]"
    )
    assert sizes[0] == 320
    assert sizes[1] == sizes[2]
    seen = "[...panel.dialog.querySelectorAll('*')].filter((each) => each.checkVisibility() && !each.closest('code, pre'))"
    assert await stage.tab.value("isShown('.meaning .command code') && isShown('.drawer-tools button')")
    assert await stage.tab.value(f"{seen}.filter((each) => each.getBoundingClientRect().right > 320).map(String)") == []
    await stage.tab.value("panel.dialog.scrollTop = 1000")
    assert await stage.tab.value("panel.title.getBoundingClientRect().top < 60 && panel.title.getBoundingClientRect().top >= 0")
    await stage.tab.look()
