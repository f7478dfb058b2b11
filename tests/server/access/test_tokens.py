import asyncio
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from k3.agent.cache import Cache, Listed
from k3.core.errors import NotFound
from k3.core.objects import TOKEN, Key
from k3.server.access import tokens
from k3.server.access.authenticate import Authenticator, Connection
from k3.server.access.identity import ANONYMOUS, of_local
from k3.server.access.known import KnownTokens
from k3.server.status import Refused
from k3.stores.memory import MemoryStore

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
LAN = Connection(address="10.0.0.7")


def made(**more: Any) -> tokens.Made:
    return tokens.make("agent", "web1", now=NOW, **more)


def authenticator(*known: tokens.Made, at: datetime = NOW) -> Authenticator:
    by_id = {each.token.id: each.token for each in known}
    return Authenticator(by_id.get, now=lambda: at)


def bearer(text: str) -> list[tuple[str, str]]:
    return [("Accept", "*/*"), ("Authorization", f"Bearer {text}")]


def test_a_token_is_believed_and_shows_no_secret() -> None:
    one = made()
    user = authenticator(one).user(LAN, bearer(one.text))
    assert (user.name, user.role, user.node, user.token) == ("system:node:web1", "agent", "web1", one.token.id)
    secret = one.text.rpartition(".")[2]
    assert secret not in repr(one) + repr(one.token) + str(one.token.spec())
    assert one.text != made().text


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER  ", " Bearer "])
def test_the_scheme_may_be_written_in_any_way(scheme: str) -> None:
    one = made()
    assert authenticator(one).user(LAN, [("authorization", scheme + one.text)]).role == "agent"


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer x", "Bearer k3.0123456789." + "0" * 40, "Bearer " + "a" * 100_000,
     "Bearer k3.é.ü", "Bearer \udcff", "Bearer k3.٠١٢٣٤٥٦٧٨٩." + "0" * 40, "Negotiate"],
)  # fmt: skip
def test_what_is_no_token_is_refused_even_where_none_is_asked_for(header: str) -> None:
    one = made()
    for connection in (LAN, Connection(address="127.0.0.1", local=of_local("root", may_write=True))):
        with pytest.raises(Refused) as caught:
            authenticator(one).user(connection, [("Authorization", header)])
        assert (caught.value.code, str(caught.value), caught.value.reason) == (401, "Unauthorized", "Unauthorized")


def test_a_wrong_secret_or_another_id_is_refused() -> None:
    one, other = made(), made()
    _, id_, secret = one.text.split(".")
    for text in (f"k3.{id_}.{'0' * 40}", f"k3.{other.token.id}.{secret}", one.text + " x", one.text + "\n", one.text.upper()):
        with pytest.raises(Refused, match="Unauthorized"):
            authenticator(one, other).user(LAN, bearer(text.replace("\n", "0")))


def test_two_headers_and_impersonation_are_refused() -> None:
    one = made()
    with pytest.raises(Refused) as caught:
        authenticator(one).user(LAN, [*bearer(one.text), *bearer(one.text)])
    assert caught.value.code == 400
    for name in ("Impersonate-User", "impersonate-group", "Impersonate-Extra-x", "IMPERSONATE-UID"):
        with pytest.raises(Refused) as caught:
            authenticator(one).user(LAN, [*bearer(one.text), (name, "root")])
        assert caught.value.code == 403
        assert str(caught.value).startswith(('users "root" is forbidden: User "system:node:web1" cannot impersonate', "groups"))
        with pytest.raises(Refused, match="Unauthorized"):
            authenticator().user(LAN, [*bearer(one.text), (name, "root")])


def test_no_credential_is_anonymous_off_loopback_and_the_local_user_on_it() -> None:
    local = of_local("alice", may_write=False)
    assert authenticator().user(LAN, []) is ANONYMOUS
    assert authenticator().user(Connection(address="127.0.0.1", local=local), []) is local


def test_a_token_ends_when_its_time_is_over() -> None:
    one = made(ttl_seconds=60)
    user = authenticator(one).user(LAN, bearer(one.text))
    later = authenticator(one, at=NOW + timedelta(seconds=60))
    with pytest.raises(Refused, match="Unauthorized"):
        later.user(LAN, bearer(one.text))
    assert later.is_over(user)
    assert authenticator().is_over(user)
    assert not authenticator(one).is_over(user)


def test_a_certificate_is_a_user_until_it_is_over() -> None:
    subject = ((("organizationName", "system:masters"),), (("organizationName", "x"),), (("commonName", "eva"),))
    shown = {"subject": subject, "notAfter": "Nov 27 12:00:01 2026 GMT"}
    connection = Connection(address="10.0.0.7", certificate=shown)
    user = authenticator().user(connection, [])
    assert (user.name, user.groups, user.role) == ("eva", ("system:masters", "x", "system:authenticated"), "admin")
    with pytest.raises(Refused, match="Unauthorized"):
        authenticator(at=NOW + timedelta(seconds=1)).user(connection, [])
    with pytest.raises(Refused, match="Unauthorized"):
        authenticator().user(Connection(address="x", certificate={"subject": (), "notAfter": shown["notAfter"]}), [])


async def test_a_token_is_kept_listed_and_revoked() -> None:
    store = MemoryStore()
    one, other = made(ttl_seconds=3600), tokens.make("view", "", now=NOW)
    for each in (one, other):
        await tokens.keep(store, each.token)
    found = {each.id: each for each in await tokens.kept(store)}
    assert found.keys() == {one.token.id, other.token.id}
    assert (found[one.token.id].role, found[one.token.id].node, found[one.token.id].expires) == (
        "agent",
        "web1",
        "2026-11-27T13:00:00Z",
    )
    stored = (await store.get(Key(TOKEN, one.token.id))).document
    assert one.text.rpartition(".")[2].encode() not in stored
    await tokens.revoke(store, one.token.id)
    with pytest.raises(NotFound):
        await tokens.revoke(store, one.token.id)
    assert [each.id for each in await tokens.kept(store)] == [other.token.id]


@pytest.mark.parametrize(
    "spec",
    [None, [], {}, {"role": "root", "sha256": "00"}, {"role": "admin"}, {"role": "admin", "sha256": 5},
     {"role": ["admin"], "sha256": "0"},
     {"role": "admin", "sha256": "00", "expires": 5}, {"role": "agent", "sha256": "00", "node": "A B"},
     {"role": "agent", "sha256": "00", "node": ["web1"]}],
)  # fmt: skip
async def test_what_is_no_token_in_the_store_is_none(spec: Any) -> None:
    store = MemoryStore()
    await store.create(Key(TOKEN, "0123456789"), {"spec": spec})
    assert await tokens.kept(store) == []


async def test_an_end_that_cannot_be_read_is_over() -> None:
    store = MemoryStore()
    spec = {"role": "admin", "sha256": "é", "expires": "tomorrow"}
    await store.create(Key(TOKEN, "0123456789"), {"spec": spec})
    (found,) = await tokens.kept(store)
    assert found.is_over(NOW)
    assert tokens.checked("k3.0123456789." + "0" * 40, found, NOW) is None


async def test_a_server_hears_at_once_that_a_token_is_revoked_or_over() -> None:
    store = MemoryStore()
    clock = [NOW]
    ended: asyncio.Queue[str] = asyncio.Queue()
    cache = Cache(store, TOKEN, random=Random(1))
    known = KnownTokens(cache, now=lambda: clock[0], ended=ended.put_nowait)
    with pytest.raises(Refused) as caught:
        known.find("0123456789")
    assert caught.value.code == 503
    one, other = made(), made(ttl_seconds=5)
    for each in (one, other):
        await tokens.keep(store, each.token)
    asks = Authenticator(known.find, now=lambda: clock[0])

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(cache.run()), group.create_task(known.run())]
        with cache.subscribe() as notices:
            assert isinstance(await anext(notices), Listed)
        user = asks.user(LAN, bearer(one.text))
        assert asks.user(LAN, bearer(other.text)).role == "agent"
        await tokens.revoke(store, one.token.id)
        assert await ended.get() == one.token.id
        assert asks.is_over(user)
        with pytest.raises(Refused, match="Unauthorized"):
            asks.user(LAN, bearer(one.text))
        clock[0] += timedelta(seconds=5)
        assert await ended.get() == other.token.id
        for task in running:
            task.cancel()
    assert ended.empty()
