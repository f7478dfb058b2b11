"""What a Kubernetes API, or what stands in its place, may answer: one line, the right error, and nothing lost or believed."""

import asyncio
import base64
import logging
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from k3.core import limits
from k3.core.errors import (
    AlreadyExists,
    ConfigInvalid,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    K3Error,
    NotFound,
    NotPermitted,
    StartFailed,
    TooLarge,
    Unavailable,
)
from k3.core.objects import EVENT, NODE, Key, Kind, Object
from k3.core.store import Bookmark, Change, Store
from k3.stores.enduring import EnduringStore
from k3.stores.kubernetes import KubernetesStorage, following, open_store
from k3.stores.kubernetes.store import KubernetesStore
from k3.testing.store_steps import HANG_SECONDS, next_change
from tests.needs import find
from tests.stores.etcd_lab import make_certificates, sign
from tests.stores.kube_speaker import (
    HANG,
    KubeSpeaker,
    body,
    event,
    kube_speaker,
    listed,
    node,
    raw,
    refused,
    stream,
    whole,
)

WEB = Key(NODE, "web")
WATCH = "GET /api/v1/nodes?watch=1"
HTML = raw(b"<html><body>Welcome to nginx</body></html>", headers="Content-Type: text/html\r\n")


@pytest.fixture
async def api() -> AsyncIterator[KubeSpeaker]:
    async with kube_speaker() as speaker:
        yield speaker


@asynccontextmanager
async def opened(api: KubeSpeaker) -> AsyncIterator[Store]:
    store = await open_store(KubernetesStorage(server=api.url))
    try:
        yield store
    finally:
        async with asyncio.timeout(HANG_SECONDS):
            await store.aclose()


def stored(name: str = "web", revision: int = 7) -> Object:
    return Object(key=Key(NODE, name), uid=f"uid-{name}", revision=revision, document=b'{"spec":{"unschedulable":true}}')


READS: dict[str, tuple[bytes, type[K3Error], str]] = {
    "html": (HTML, Unavailable, "is none of Kubernetes: it is no JSON object but begins with '<html>"),
    "html-404": (raw(b"<html>404</html>", code=404), Unavailable, "is no Kubernetes API (HTTP 404"),
    "html-503": (raw(b"<html>503</html>", code=503), Unavailable, "cannot answer now (HTTP 503"),
    "empty": (raw(b""), Unavailable, "it is empty"),
    "half": (raw(b'{"kind":"Node","meta'), Unavailable, "no JSON object"),
    "list": (raw(b"[]"), Unavailable, "no JSON object"),
    "deep": (raw(b'{"a":' * 3_000 + b"1" + b"}" * 3_000), Unavailable, "no JSON object"),
    "deep-node": (body(whole("web", 8, spec=[[[]]] * 1)), NotFound, ""),
    "nan": (raw(b'{"kind":"Node","x":NaN}'), Unavailable, "no JSON object"),
    "another-kind": (body({"kind": "Pod", "metadata": {}}), Unavailable, "it holds a Pod instead of a Node"),
    "another-name": (body(whole("db", 8)), Unavailable, "it is about Node db"),
    "no-metadata": (body({"kind": "Node"}), Unavailable, "a Node in it has no metadata"),
    "no-uid": (body({"kind": "Node", "metadata": {"name": "web", "resourceVersion": "8"}}), Unavailable, "has no uid"),
    "no-number": (body(whole("web", "x12")), Unavailable, "resourceVersion of Node web is 'x12' and no number"),
    "too-long": (body(whole("web", "1" * 30)), Unavailable, "and no number"),
    "no-revision": (body({"kind": "Node", "metadata": {"name": "web", "uid": "u"}}), Unavailable, "and no number"),
    "labels": (
        body({"kind": "Node", "metadata": {"name": "web", "uid": "u", "resourceVersion": "8", "labels": [1]}}),
        Unavailable,
        "its labels are not an object but a list",
    ),
    "400": (refused(400, "BadRequest", "what?"), Unavailable, "cannot answer now (400: what?)"),
    "401": (refused(401, "Unauthorized", "Unauthorized"), Forbidden, "wants to know who asks: give K3_STORE_TOKEN"),
    "401-html": (raw(b"<html/>", code=401), Forbidden, "wants to know who asks"),
    "403": (refused(403, "Forbidden", 'User "x" cannot get'), Forbidden, 'does not let this client get nodes (User "x" cannot'),
    "404": (refused(404, "NotFound", "n", name="web", kind="nodes"), NotFound, "nodes web not found"),
    "404-path": (refused(404, "NotFound", "the server could not find the requested resource"), Unavailable, "has no nodes"),
    "404-other": (refused(404, "NotFound", "n", name="db", kind="nodes"), Unavailable, "has no nodes"),
    "410": (refused(410, "Expired", "too old"), Expired, "too old: list again"),
    "429": (refused(429, "TooManyRequests", "slow down"), Unavailable, "cannot answer now (429: slow down)"),
    "500": (refused(500, "InternalError", "etcd is gone"), Unavailable, "cannot answer now (500: etcd is gone)"),
    "503": (refused(503, "ServiceUnavailable", "starting"), Unavailable, "cannot answer now (503: starting)"),
    "504": (refused(504, "Timeout", "late"), Unavailable, "cannot answer now (504: late)"),
    "302": (raw(b"", code=302, headers="Location: /login\r\n"), Unavailable, "sends elsewhere (HTTP 302)"),
    "tls": (raw(b"Client sent an HTTP request to an HTTPS server.\n", code=400), Unavailable, "speaks TLS: write https://"),
    "hangs-up": (b"", Unavailable, "hung up before it had answered"),
    "not-http": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Unavailable, "does not speak HTTP"),
}
del READS["deep-node"]


@pytest.mark.parametrize("case", READS)
async def test_what_a_read_may_be_answered(api: KubeSpeaker, case: str) -> None:
    answer, kind, said = READS[case]
    api.say("GET /api/v1/nodes/web", answer)
    async with opened(api) as store:
        with pytest.raises(K3Error) as found:
            await store.get(WEB)
    assert type(found.value) is kind
    assert said in str(found.value)
    assert "\n" not in str(found.value)


LISTS: dict[str, tuple[bytes, str]] = {
    "not-a-list": (body({"kind": "Node"}), "it is a Node and no NodeList"),
    "status": (refused(404, "NotFound", "the server could not find it"), "has no nodes"),
    "html-404": (raw(b"<html>404</html>", code=404), "is no Kubernetes API"),
    "no-number": (listed([], "one"), "the NodeList is 'one' and no number"),
    "items": (body({"kind": "NodeList", "metadata": {"resourceVersion": "8"}, "items": {"a": 1}}), "its items are no list"),
    "an-item": (listed([7], 8), "a Node in it is no object"),
    "a-pod": (listed([{"kind": "Pod", "metadata": {}}], 8), "it holds a Pod"),
    "a-token": (body({"kind": "NodeList", "metadata": {"resourceVersion": "8", "continue": {}}, "items": []}), ""),
}


@pytest.mark.parametrize("case", LISTS)
async def test_no_odd_list_is_an_empty_one(api: KubeSpeaker, case: str) -> None:
    answer, said = LISTS[case]
    async with opened(api) as store:
        api.say("GET /api/v1/nodes?", answer)
        if case == "a-token":  # an empty object stands for no token
            assert (await store.list(NODE)).after is None
            return
        with pytest.raises(Unavailable, match=re.escape(said)):
            await store.list(NODE)


WRITES: dict[str, tuple[bytes, type[K3Error], str]] = {
    "html": (HTML, Unavailable, "the write may or may not have happened"),
    "another": (body(whole("db", 9)), Unavailable, "it is about Node db; the write may or may not have happened"),
    "400": (refused(400, "BadRequest", "strict decoding error"), Invalid, "strict decoding error"),
    "403": (refused(403, "Forbidden", "cannot"), NotPermitted, "does not let this client create nodes (cannot)"),
    "404-namespace": (refused(404, "NotFound", "n", name="x", kind="namespaces"), Invalid, "kubectl create namespace x"),
    "404": (refused(404, "NotFound", "the server could not find"), Unavailable, "has no nodes"),
    "409": (refused(409, "AlreadyExists", 'nodes "web" already exists'), AlreadyExists, 'nodes "web" already exists'),
    "409-conflict": (refused(409, "Conflict", "changed"), Conflict, "changed; read it again"),
    "413": (refused(413, "RequestEntityTooLarge", "limit is 3145728"), TooLarge, "limit is 3145728"),
    "422": (refused(422, "Invalid", "spec.x: wrong"), Invalid, "spec.x: wrong"),
    "429": (refused(429, "TooManyRequests", "slow down"), Unavailable, "slow down"),
    "500": (refused(500, "InternalError", "oops"), Unavailable, "oops); the write may or may not have happened"),
    "500-etcd": (refused(500, "InternalError", "etcdserver: request is too large"), TooLarge, "request is too large"),
    "503": (refused(503, "ServiceUnavailable", "no etcd"), Unavailable, "the write may or may not have happened"),
    "hangs-up": (b"", Unavailable, "hung up before it had answered; the write may or may not have happened"),
    "html-503": (raw(b"<html/>", code=503), Unavailable, "the write may or may not have happened"),
}


@pytest.mark.parametrize("case", WRITES)
async def test_what_a_write_may_be_answered_and_it_is_sent_once(api: KubeSpeaker, case: str) -> None:
    answer, kind, said = WRITES[case]
    async with opened(api) as store:
        api.say("POST /api/v1/nodes", answer)
        with pytest.raises(K3Error) as found:
            await store.create(WEB, {})
    assert type(found.value) is kind
    assert said in str(found.value)
    assert len(api.requests("POST")) == 1


async def test_a_server_that_says_nothing_is_unavailable_in_time(api: KubeSpeaker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(api) as store:
        monkeypatch.setattr(limits, "STORE_TIMEOUT_SECONDS", 0.2)
        api.say("GET /api/v1/nodes/web", (HANG,))
        api.say("POST /api/v1/nodes", (b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{", HANG))
        with pytest.raises(Unavailable, match=r"does not answer in time$"):
            await store.get(WEB)
        with pytest.raises(Unavailable, match="does not answer in time; the write may or may not have happened"):
            await store.create(WEB, {})


async def test_an_endless_answer_is_bounded(api: KubeSpeaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KUBERNETES_LINE_BYTES", 100_000)
    api.say("GET /api/v1/nodes/web", (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", *[b"{" * 1_048_576] * 66))
    api.say(WATCH, (stream(), *[b"10000\r\n" + b"x" * 65_536 + b"\r\n"] * 40, HANG))
    async with opened(api) as store:
        with pytest.raises(Unavailable, match="more than k3 reads"):
            await store.get(WEB)
        monkeypatch.setattr(limits, "STORE_TIMEOUT_SECONDS", 0.3)
        with pytest.raises(Unavailable, match=r"gives an answer of more than 100,000 bytes"):
            async with store.watch(NODE, 7) as events:
                await next_change(events)


async def test_who_asks_to_be_left_alone_is(api: KubeSpeaker) -> None:
    """A short pause is waited for, of a write too where the server has not begun; a longer one ends every call at once."""
    api.say("POST /api/v1/nodes", refused(429, "TooManyRequests", "busy", headers="Retry-After: 1\r\n"), body(whole("web", 9)))
    api.say("GET /api/v1/nodes/web", refused(503, "ServiceUnavailable", "busy", headers="Retry-After: 40\r\n"))
    async with opened(api) as store:
        began = time.monotonic()
        assert (await store.create(WEB, {})).revision == 9
        assert time.monotonic() - began >= 1
        with pytest.raises(Unavailable, match="503: busy"):
            await store.get(WEB)
        asked = len(api.asked)
        with pytest.raises(Unavailable, match=r"asks to be left alone for (40|39) s"):
            await store.get(Key(NODE, "other"))
        assert len(api.asked) == asked


# --- what an update sends


async def sent(store: Store, api: KubeSpeaker, item: Object) -> list[str]:
    before = len(api.requests("PUT"))
    await store.update(item)
    return [each.target for each in api.requests("PUT")[before:]]


async def test_a_node_s_status_goes_by_its_own_path_and_takes_the_metadata_along(api: KubeSpeaker) -> None:
    old = whole("web", 7, spec={"a": 1}, status={"phase": "x"})
    labels = {"labels": {"k3": "y"}}
    api.say("GET /api/v1/nodes/web", body(old))
    api.say("PUT /api/v1/nodes/web", body(whole("web", 8, spec={"a": 2})))
    api.say("PUT /api/v1/nodes/web/status", body({**old, "metadata": {**old["metadata"], **labels, "resourceVersion": "9"}}))
    async with opened(api) as store:
        item = await store.get(WEB)
        manifest = item.manifest()
        changed = {**manifest, "metadata": {**manifest["metadata"], **labels}}
        for wanted, paths in (
            ({**changed, "status": {"phase": "z"}}, ["/api/v1/nodes/web/status"]),
            (changed, ["/api/v1/nodes/web"]),
            ({**manifest, "spec": {"a": 2}}, ["/api/v1/nodes/web"]),
            ({**changed, "spec": {"a": 2}, "status": {}}, ["/api/v1/nodes/web", "/api/v1/nodes/web/status"]),
        ):
            api.asked.clear()
            await store.get(WEB)
            await store.update(item.with_manifest(wanted))
            assert [each.target for each in api.requests("PUT")] == paths
        assert b'"resourceVersion":"8"' in api.requests("PUT")[1].body, "the second is conditional on the first"


async def test_a_server_whose_status_takes_no_metadata_is_told_them_again(api: KubeSpeaker) -> None:
    old = whole("web", 7, status={"phase": "x"})
    api.say("GET /api/v1/nodes/web", body(old))
    api.say("PUT /api/v1/nodes/web/status", body(whole("web", 8, status={"phase": "z"})))
    api.say("PUT /api/v1/nodes/web", body(whole("web", 9, status={"phase": "z"})))
    async with opened(api) as store:
        manifest = (item := await store.get(WEB)).manifest()
        manifest["metadata"]["annotations"] = {"a": "b"}
        done = await store.update(item.with_manifest({**manifest, "status": {"phase": "z"}}))
    assert done.revision == 9
    assert [each.target for each in api.requests("PUT")] == ["/api/v1/nodes/web/status", "/api/v1/nodes/web"]


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        (refused(409, "Conflict", "changed"), Conflict),
        (refused(503, "ServiceUnavailable", "gone"), Unavailable),
        (refused(403, "Forbidden", "no"), NotPermitted),
    ],
)
async def test_an_update_of_which_only_the_first_half_was_taken_is_told(
    api: KubeSpeaker, second: bytes, kind: type[K3Error]
) -> None:
    """And the next one finds what the server has, and sends what is missing."""
    api.say("GET /api/v1/nodes/web", body(whole("web", 7)), body(whole("web", 8, spec={"a": 1})))
    api.say("PUT /api/v1/nodes/web", body(whole("web", 8, spec={"a": 1})))
    api.say("PUT /api/v1/nodes/web/status", second, body(whole("web", 9, spec={"a": 1}, status={"b": 2})))
    async with opened(api) as store:
        item = await store.get(WEB)
        wanted = {**item.manifest(), "spec": {"a": 1}, "status": {"b": 2}}
        with pytest.raises(kind):
            await store.update(item.with_manifest(wanted))
        again = await store.get(WEB)
        assert await sent(store, api, again.with_manifest({**again.manifest(), "status": {"b": 2}})) == [
            "/api/v1/nodes/web/status"
        ]


async def test_a_delete_tells_its_revision_or_the_newest_there_is(api: KubeSpeaker) -> None:
    done = body({"kind": "Status", "status": "Success", "details": {"name": "web", "uid": "uid-web"}})
    api.say("GET /api/v1/nodes/web", body(whole("web", 7)))
    api.say("DELETE /api/v1/nodes/web", done)
    api.say(f"{WATCH}&resourceVersion=7&fieldSelector", stream(event("DELETED", whole("web", 12))))
    async with opened(api) as store:
        assert (await store.delete(WEB, uid="uid-web", revision=7)).revision == 12
        assert b'"preconditions": {"uid": "uid-web", "resourceVersion": "7"}' in api.requests("DELETE")[0].body
        api.say(f"{WATCH}&resourceVersion=7&fieldSelector", refused(410, "Expired", "too old"))
        api.say("GET /api/v1/nodes?limit=1", listed([], 15))
        assert (await store.delete(WEB)).revision == 15


async def test_what_has_finalizers_stays(api: KubeSpeaker) -> None:
    marked = whole("web", 8)
    marked["metadata"] |= {"deletionTimestamp": "2026-11-27T00:00:00Z", "finalizers": ["x/y"]}
    api.say("GET /api/v1/nodes/web", body(whole("web", 7)))
    api.say("DELETE /api/v1/nodes/web", body(marked))
    async with opened(api) as store:
        assert (await store.delete(WEB)).manifest()["metadata"]["finalizers"] == ["x/y"]


# --- lists in pages


async def test_a_list_goes_on_by_its_token_and_without_one_by_its_revision(api: KubeSpeaker) -> None:
    first, second, third = (listed([node(name, 3)], 7, token=token) for name, token in (("a", "T1"), ("b", "T2"), ("c", "")))
    api.say("GET /api/v1/nodes?limit=1", first)
    api.say("GET /api/v1/nodes?limit=1&continue=T1", second)
    exact = "resourceVersion=7&resourceVersionMatch=Exact"
    api.say(f"GET /api/v1/nodes?limit=500&{exact}", first)
    api.say("GET /api/v1/nodes?limit=500&continue=T1", second)
    api.say("GET /api/v1/nodes?limit=500&continue=T2", third)
    async with opened(api) as store, opened(api) as another:
        page = await store.list(NODE, limit=1)
        assert page.after == Key(NODE, "a")
        assert [item.key.name for item in (await store.list(NODE, limit=1, after=page.after, at=7)).objects] == ["b"]
        rest = await another.list(NODE, after=page.after, at=7)
        assert [item.key.name for item in rest.objects] == ["b", "c"]
        assert rest.after is None


async def test_pages_of_two_revisions_are_no_list(api: KubeSpeaker) -> None:
    async with opened(api) as store:
        api.say("GET /api/v1/nodes?limit=500", listed([node("a", 3)], 7, token="T"))
        api.say("GET /api/v1/nodes?limit=500&continue=T", listed([node("b", 8)], 8))
        with pytest.raises(Expired):
            await store.list(NODE)


async def test_a_revision_that_the_server_has_not_reached_is_expired(api: KubeSpeaker) -> None:
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    async with opened(api) as store:
        api.say("GET /api/v1/nodes?", refused(504, "Timeout", "Too large resource version: 9, current: 7", causes=causes))
        with pytest.raises(Expired, match="Too large resource version"):
            await store.list(NODE, at=9)


# --- watches


async def seen(api: KubeSpeaker, count: int, *, since: int = 7) -> list[Any]:
    async with opened(api) as store, store.watch(NODE, since) as events:
        return [(await next_change(events)).object.revision for _ in range(count)]


async def test_a_cut_watch_goes_on_behind_the_last_change(api: KubeSpeaker) -> None:
    """Half a line is no event, and what was handed on is not asked for again."""
    half = event("ADDED", whole("c", 10))[:40]
    api.say(f"{WATCH}&resourceVersion=7", (stream(event("ADDED", whole("a", 8)), event("ADDED", whole("b", 9)), half),))
    api.say("GET /api/v1/nodes?limit=1", listed([], 11))
    api.say(f"{WATCH}&resourceVersion=9", (stream(event("ADDED", whole("c", 10)), event("DELETED", whole("a", 11))), HANG))
    assert await seen(api, 4) == [8, 9, 10, 11]


async def test_a_bookmark_moves_the_watch_on(api: KubeSpeaker) -> None:
    marked = event("BOOKMARK", {"kind": "Node", "metadata": {"resourceVersion": "20"}})
    api.say("GET /api/v1/nodes?limit=1", listed([], 20))
    api.say(f"{WATCH}&resourceVersion=7", (stream(marked),))
    api.say(f"{WATCH}&resourceVersion=20", (stream(event("ADDED", whole("a", 21))), HANG))
    async with opened(api) as store, store.watch(NODE, 7) as events:
        assert await anext(events) == Bookmark(20)
        found = await anext(events)
        assert isinstance(found, Change)
        assert found.object.revision == 21


async def test_an_event_that_comes_twice_is_one(api: KubeSpeaker) -> None:
    twice = event("ADDED", whole("a", 8))
    api.say(WATCH, (stream(twice, twice, event("MODIFIED", whole("a", 9)), b"\n"), HANG))
    assert await seen(api, 2) == [8, 9]


ENDS: dict[str, tuple[bytes, type[K3Error], str]] = {
    "out-of-order": (event("ADDED", whole("b", 5)), Expired, "revision 5 came behind 8, out of order: list again"),
    "410": (
        event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}),
        Expired,
        "too old resource version: list again",
    ),
    "a-pod": (event("ADDED", {"kind": "Pod", "metadata": {}}), Unavailable, "it holds a Pod instead of a Node"),
    "no-number": (event("ADDED", whole("b", "x")), Unavailable, "is 'x' and no number"),
    "no-object": (b'{"type":"ADDED"}\n', Unavailable, "an event in it has no object"),
    "no-json": (b"<html>\n", Unavailable, "no JSON object"),
    "no-type": (event("CHANGED", whole("b", 9)), Unavailable, "an event of type CHANGED"),
    "403": (event("ERROR", {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no"}), Forbidden, "watch nodes"),
}


@pytest.mark.parametrize("case", ENDS)
async def test_what_ends_a_watch_is_said_after_what_came_before(api: KubeSpeaker, case: str) -> None:
    line, kind, said = ENDS[case]
    api.say(WATCH, (stream(event("ADDED", whole("a", 8)), line), HANG))
    async with opened(api) as store, store.watch(NODE, 7) as events:
        assert (await next_change(events)).object.revision == 8
        for _ in range(2):
            with pytest.raises(K3Error) as found:
                await next_change(events)
            assert type(found.value) is kind
            assert said in str(found.value)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused(410, "Expired", "too old"), Expired),
        (refused(403, "Forbidden", "no"), Forbidden),
        (HTML, Unavailable),
        (raw(b"<html/>", code=502), Unavailable),
    ],
)
async def test_a_watch_that_does_not_begin_says_so(api: KubeSpeaker, answer: bytes, kind: type[K3Error]) -> None:
    api.say(WATCH, answer)
    async with opened(api) as store:
        with pytest.raises(kind):
            async with store.watch(NODE, 7) as events:
                await next_change(events)


async def test_a_watch_from_the_future_is_expired(api: KubeSpeaker) -> None:
    async with opened(api) as store:
        with pytest.raises(Expired, match="revision 8 is not of this store, which is at 7"):
            async with store.watch(NODE, 8):
                pass


async def test_a_lost_server_ends_its_watches_in_time(api: KubeSpeaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that was switched off, and hung up on nobody."""
    monkeypatch.setattr(following, "GUARD_SECONDS", 0.1)
    api.say(WATCH, (stream(), HANG))
    async with opened(api) as store, store.watch(NODE, 7) as events:
        assert await anext(events) == Bookmark(7)
        monkeypatch.setattr(limits, "STORE_TIMEOUT_SECONDS", 0.3)
        api.say("GET /api/v1/nodes?limit=1", (HANG,))
        with pytest.raises(Unavailable, match="does not answer in time"):
            await next_change(events)


async def test_another_cluster_behind_the_address_ends_a_watch(api: KubeSpeaker) -> None:
    api.say(WATCH, (stream(),), (stream(), HANG))
    async with opened(api) as store:
        api.say("GET /api/v1/namespaces/kube-system", body({"metadata": {"uid": "another"}}))
        async with store.watch(NODE, 7) as events:
            with pytest.raises(Expired, match="another cluster answers than before"):
                await next_change(events)
        assert store.id == "another"


# --- who asks


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find("openssl") is None:
        pytest.skip("needs openssl, to make certificates")
    folder = tmp_path_factory.mktemp("tls")
    make_certificates(folder)
    return folder


def tls(folder: Path, name: str, *, asks_clients: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    if asks_clients:
        context.load_verify_locations(folder / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_a_revoked_token_is_told_once_and_a_new_one_is_found(
    tmp_path: Path, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By an agent's store: it goes on without, and again with, and the token is in no line."""
    secret = tmp_path / "token"
    secret.write_text("first-secret\n")
    caplog.set_level(logging.INFO)
    async with kube_speaker(tls(certificates, "server")) as api:
        storage = KubernetesStorage(server=api.url, token_file=str(secret), ca_file=str(certificates / "ca.crt"))
        store = EnduringStore(await open_store(storage))
        api.say("GET /api/v1/nodes/web", refused(401, "Unauthorized", "Unauthorized"))
        for _ in range(3):
            with pytest.raises(Unavailable, match=f"does not know the token in {secret}"):
                await store.get(WEB)
        secret.write_text("")
        with pytest.raises(Unavailable):  # half written: the old one is kept
            await store.get(WEB)
        secret.write_text("another-secret\n")
        api.say("GET /api/v1/nodes/web", body(whole("web", 9)))
        assert (await store.get(WEB)).revision == 9
        shown = [line for each in api.asked for line in each.head.splitlines() if line.startswith("Authorization")]
        assert list(dict.fromkeys(shown)) == ["Authorization: Bearer first-secret", "Authorization: Bearer another-secret"]
        await store.aclose()
    assert [record.msg for record in caplog.records] == ["store.lost", "store.found"]
    assert "secret" not in caplog.text


async def test_a_server_s_new_certificate_of_the_same_ca_is_trusted(certificates: Path) -> None:
    settings = {"ca_file": str(certificates / "ca.crt")}
    async with kube_speaker(tls(certificates, "server")) as api:
        port = api.port
        store = await open_store(KubernetesStorage(server=api.url, **settings))
    with pytest.raises(Unavailable, match="connection refused"):
        await store.get(WEB)
    (certificates / "fresh").mkdir()
    for name in ("ca.crt", "ca.key"):
        (certificates / "fresh" / name).write_bytes((certificates / name).read_bytes())
    sign(certificates / "fresh", "server", "subjectAltName=IP:127.0.0.1")
    async with kube_speaker(tls(certificates / "fresh", "server"), port=port) as api:
        api.say("GET /api/v1/nodes/web", body(whole("web", 9)))
        assert (await store.get(WEB)).revision == 9
        await store.aclose()


async def test_a_renewed_client_certificate_is_shown(tmp_path: Path, certificates: Path) -> None:
    async with kube_speaker(tls(certificates, "server", asks_clients=True)) as api:
        for name in ("crt", "key"):
            (tmp_path / f"client.{name}").write_bytes((certificates / f"server.{name}").read_bytes())
        files = {"cert_file": str(tmp_path / "client.crt"), "key_file": str(tmp_path / "client.key")}
        store = KubernetesStore(KubernetesStorage(server=api.url, ca_file=str(certificates / "ca.crt"), **files))
        await store.open()
        before = store._client._login.server.tls
        for name in ("crt", "key"):
            (tmp_path / f"client.{name}").write_bytes((certificates / f"client.{name}").read_bytes())
        api.say("GET /api/v1/nodes/web", body(whole("web", 9)))
        assert (await store.get(WEB)).revision == 9
        assert store._client._login.server.tls is not before
        await store.aclose()


NO_TRUST: dict[str, tuple[str, dict[str, str], str]] = {
    "stranger": (
        "server",
        {"ca_file": "stranger.crt"},
        r"is not signed by a known CA: give its CA, as in https://.*\?ca_file=",
    ),
    "system": ("server", {}, "is not signed by a known CA"),
    "misnamed": ("misnamed", {"ca_file": "ca.crt"}, "is for another (name|address): use "),
}


@pytest.mark.parametrize("case", NO_TRUST)
async def test_what_keeps_tls_from_beginning_is_one_line(certificates: Path, case: str) -> None:
    name, files, said = NO_TRUST[case]
    settings = {key: str(certificates / file) for key, file in files.items()}
    async with kube_speaker(tls(certificates, name)) as api:
        with pytest.raises(Forbidden, match=said):
            await open_store(KubernetesStorage(server=api.url, **settings))
        with pytest.raises(Unavailable, match=r"hung up|does not speak HTTP|speaks TLS"):
            await open_store(KubernetesStorage(server=api.url.replace("https", "http")))


async def test_a_server_without_tls_is_told_apart() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match="does not speak TLS, or hung up: is it http:// there"):
            await open_store(KubernetesStorage(server=f"https://127.0.0.1:{port}"))


async def test_a_kubeconfig_holds_all_that_is_needed(tmp_path: Path, certificates: Path) -> None:
    """In it or beside it; and a token in the environment counts before its own."""

    def data(name: str) -> str:
        return base64.b64encode((certificates / name).read_bytes()).decode()

    async with kube_speaker(tls(certificates, "server", asks_clients=True)) as api:
        file = tmp_path / "config"
        document = {
            "current-context": "none",
            "contexts": [{"name": "hub", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"{api.url}/", "certificate-authority-data": data("ca.crt")}}],
            "users": [
                {
                    "name": "u",
                    "user": {
                        "client-certificate-data": data("client.crt"),
                        "client-key-data": data("client.key"),
                        "token": "t",
                    },
                }
            ],
        }
        file.write_text(yaml.safe_dump(document))
        store = await open_store(KubernetesStorage(kubeconfig=str(file), context="hub"))
        assert store.url == f"kubeconfig://{file}?context=hub"
        assert "Authorization: Bearer t" in api.asked[-1].head
        await store.aclose()
        with pytest.raises(ConfigInvalid, match="none of its contexts is named none"):
            await open_store(KubernetesStorage(kubeconfig=str(file)))


Case = Callable[[Path], KubernetesStorage]
CANNOT_START: dict[str, tuple[Case, str]] = {
    "no-token-file": (lambda at: KubernetesStorage(server="https://h", token_file=str(at / "none")), "No such file"),
    "empty-token": (lambda at: KubernetesStorage(server="https://h", token_file=_file(at, " \n")), "and is empty"),
    "odd-token": (lambda at: KubernetesStorage(server="https://h", token_file=_file(at, "a b")), "is none: expected one line"),
    "header": (lambda _: KubernetesStorage(server="https://h", token="a\r\nHost: x"), "the token is none"),
    "no-ca": (lambda at: KubernetesStorage(server="https://h", ca_file=str(at / "none")), "ca_file: "),
    "no-pod": (lambda _: KubernetesStorage(), "this is no pod: name one"),
}


def _file(folder: Path, text: str) -> str:
    (folder / "file").write_text(text)
    return str(folder / "file")


@pytest.mark.parametrize("case", CANNOT_START)
async def test_a_login_that_cannot_be_read_ends_the_start(tmp_path: Path, case: str) -> None:
    storage, said = CANNOT_START[case]
    with pytest.raises(StartFailed, match=re.escape(said)):
        await open_store(storage(tmp_path))


async def test_impossible_names_are_not_asked_for(api: KubeSpeaker) -> None:
    async with opened(api) as store:
        before = len(api.asked)
        for name in (".", "..", "a/b", "", "x" * 300):
            with pytest.raises(NotFound):
                await store.get(Key(NODE, name))
            with pytest.raises(Invalid):
                await store.create(Key(NODE, name), {})
        with pytest.raises(NotFound):
            await store.get(Key(EVENT, "x", ".."))
        with pytest.raises(TooLarge):
            await store.create(WEB, {"x": "x" * limits.OBJECT_BYTES})
        with pytest.raises(Invalid):
            await store.create(WEB, {"x": object()})
        assert len(api.asked) == before


async def test_a_kind_that_kubernetes_has_not_is_empty_and_not_asked_for(api: KubeSpeaker) -> None:
    """What k3's server keeps for itself belongs to the store behind it."""
    kind = Kind(group="k3", version="v1", name="Token", plural="tokens", namespaced=False)
    async with opened(api) as store:
        page = await store.list(kind)
        assert (page.objects, page.revision) == ((), 7)
        with pytest.raises(NotFound):
            await store.get(Key(kind, "t"))
        with pytest.raises(Invalid, match="do it at the hub's own store"):
            await store.create(Key(kind, "t"), {})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("k3.stores.reader.BOOKMARK_SECONDS", 0.01)
            async with store.watch(kind, 7) as events:
                assert await anext(events) == Bookmark(7)
    assert not [each for each in api.asked if "tokens" in each.target]


async def test_a_kept_connection_that_ends_costs_a_read_nothing_and_a_write_is_not_repeated(api: KubeSpeaker) -> None:
    api.say("GET /api/v1/nodes/web", b"", body(whole("web", 9)))
    api.say("POST /api/v1/nodes", b"", body(whole("web", 9)))
    async with opened(api) as store:
        assert (await store.get(WEB)).revision == 9
        with pytest.raises(Unavailable, match="the write may or may not have happened"):
            await store.create(WEB, {})
    assert len(api.requests("POST")) == 1


Verb = Callable[[Store], Awaitable[object]]


async def test_a_closed_store_says_so(api: KubeSpeaker) -> None:
    async with opened(api) as store:
        pass
    verbs: tuple[Verb, ...] = (
        lambda store: store.get(WEB),
        lambda store: store.list(NODE),
        lambda store: store.update(stored()),
        lambda store: store.delete(WEB),
        lambda store: store.watch(NODE, 7).__aenter__(),
    )
    for verb in verbs:
        with pytest.raises(Unavailable, match="the store was closed"):
            await verb(store)
