"""Logging in to MySQL and MariaDB as people have them: their accounts, their TLS, their defaults, their refusals."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from asyncmy import auth
from asyncmy.errors import OperationalError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from k3.core import limits
from k3.core.errors import Conflict, Forbidden, K3Error, StartFailed, Unavailable
from k3.core.objects import NODE
from k3.stores import connect
from k3.stores.enduring import EnduringStore
from k3.stores.installing import how_to_install
from k3.stores.mysql import MysqlStorage
from k3.stores.mysql import server as _mysql_server
from k3.stores.mysql.connection import MysqlConnection
from k3.stores.mysql.refusals import Refused, explain
from k3.stores.mysql.store import MysqlStore
from k3.testing.store_steps import next_change, node
from tests.servers import Mariadb, mariadb_server
from tests.stores.mysql_places import HANG_SECONDS, storage_on

STORAGE: Final = MysqlStorage(host="db.example", password="geheim")


# --- on a real server


real = [pytest.mark.servers("mariadb"), pytest.mark.xdist_group("mariadb-logins")]


def marked(test: Callable[..., object]) -> Callable[..., object]:
    for mark in real:
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def server() -> Iterator[Mariadb]:
    with mariadb_server() as server:
        yield server


@pytest.fixture
def storage(server: Mariadb) -> MysqlStorage:
    return storage_on(server, "logins")


@marked
async def test_the_account_of_the_docs_logs_in_encrypted_and_not_and_after_a_restart(server: Mariadb) -> None:
    """After it, the server has forgotten who logged in before, and wants the whole password again."""
    server.sql("CREATE DATABASE IF NOT EXISTS docs; DROP USER IF EXISTS docs@'%'; CREATE USER docs@'%' IDENTIFIED BY 'geheim'")
    server.sql("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON docs.* TO docs@'%'")
    for mode in ("disabled", "preferred"):
        storage = MysqlStorage(
            host=server.address, port=server.port, user="docs", password="geheim", database="docs", ssl_mode=mode
        )
        store = EnduringStore(await connect(storage))
        server.close()
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(HANG_SECONDS):
            while True:
                try:
                    await store.create(node(mode), {})
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
        await store.aclose()
        await (await connect(storage)).aclose()


@marked
async def test_the_certificate_that_mysql_makes_for_itself(server: Mariadb, storage: MysqlStorage) -> None:
    if not server.is_mysql:
        pytest.skip("this is MariaDB, which makes none for clients to know")
    signed = replace(storage, ca_file=str(server.tables / "ca.pem"))
    with pytest.raises(Forbidden, match=r"is for another name, or for none.*set ssl_mode to verify_ca"):
        await connect(signed)
    await (await connect(replace(signed, ssl_mode="verify_ca"))).aclose()


HOSTILE: Final = (
    "SET SESSION autocommit = 0, completion_type = 2, sql_safe_updates = 1, sql_select_limit = 1, time_zone = ''+05:00'';"
    " SET SESSION sql_mode = ''ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'';"
    " SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET SESSION TRANSACTION READ ONLY; SET NAMES latin1"
)


@marked
async def test_no_default_of_the_server_changes_what_a_session_does(server: Mariadb, storage: MysqlStorage) -> None:
    """Nor what it sets for each login. Above all, a watcher sees what others write."""
    server.sql(f"SET GLOBAL init_connect = '{HOSTILE}'")
    limit = "max_execution_time" if server.is_mysql else "max_statement_time"
    server.sql(f"SET GLOBAL {limit} = 1; SET GLOBAL autocommit = 0; SET GLOBAL innodb_lock_wait_timeout = 1")
    try:
        watcher, writer = MysqlStore(storage), await connect(storage)
        await watcher.open()
        async with watcher.watch(NODE, (await watcher.list(NODE)).revision) as events, asyncio.timeout(HANG_SECONDS):
            made = await writer.create(node("n0"), {})
            assert (await next_change(events)).object == made
            for number in range(1, 3):
                made = await writer.create(node(f"it's \\ {number}"), {"text": 'ä漢 "quoted" \\'})
                assert (await next_change(events)).object == made
            assert len((await watcher.list(NODE)).objects) == 3
            changed = await writer.update(made.with_manifest({**made.manifest(), "n": 1}))
            with pytest.raises(Conflict):
                await watcher.update(made.with_manifest({**made.manifest(), "n": 2}))
            assert (await watcher.delete(changed.key)).revision == changed.revision + 1
        assert (await watcher._server.read(f"SELECT @@{limit}".encode()))[0][0][0] == 0
        await watcher.aclose()
        await writer.aclose()
    finally:
        server.sql(f"SET GLOBAL init_connect = ''; SET GLOBAL autocommit = 1; SET GLOBAL {limit} = 0")


@marked
@pytest.mark.parametrize(
    ("closed", "opened", "remedy"),
    [
        ("ACCOUNT LOCK", "ACCOUNT UNLOCK", "is locked; as administrator run: ALTER USER 'k3'@'%' ACCOUNT UNLOCK;"),
        ("PASSWORD EXPIRE", "IDENTIFIED BY 'secret'", "has expired; as administrator run: ALTER USER 'k3'@'%' IDENTIFIED BY"),
        ("IDENTIFIED BY 'other'", "IDENTIFIED BY 'secret'", "user k3 is refused: wrong password"),
    ],
)
async def test_an_account_that_is_closed_under_a_running_store(
    server: Mariadb, storage: MysqlStorage, closed: str, opened: str, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = EnduringStore(await connect(storage))
    made = await store.create(node("n1"), {})
    server.sql(f"ALTER USER k3@'%' {closed}")
    try:
        for number in server.sql("SELECT id FROM information_schema.processlist WHERE user = 'k3'").split():
            with suppress(AssertionError):  # it has ended meanwhile
                server.sql(f"KILL {number}")
        with caplog.at_level("INFO", logger="k3.stores.enduring"):
            for call in (store.get(made.key), store.create(node("n2"), {}), store.list(NODE)):
                with pytest.raises(Unavailable) as refused:
                    await call
                assert remedy in str(refused.value)
            with pytest.raises(Forbidden) as forbidden:  # who starts now is told so, and ends
                await connect(storage)
            assert remedy in str(forbidden.value)
    finally:
        server.sql(f"ALTER USER k3@'%' {opened}")
    with caplog.at_level("INFO", logger="k3.stores.enduring"):
        assert await store.get(made.key) == made
    assert [record.getMessage() for record in caplog.records if record.name == "k3.stores.enduring"] == [
        "store.lost",
        "store.found",
    ]
    await store.aclose()


# --- servers that cannot be had here: MySQL 8.0 and 8.4, played after the protocol and what 9.7.4 sends

OK: Final = b"\x00\x00\x00\x02\x00\x00\x00"
SALT: Final = b"01234567890123456789"


def greeting(version: str, *, tls: bool) -> bytes:
    """Protocol::HandshakeV10 as MySQL 8.0 and 8.4 send it: all capabilities, utf8mb4, autocommit, caching_sha2_password."""
    low = b"\xff\xff" if tls else b"\xff\xf7"
    head = b"\n" + version.encode() + b"\0" + b"\x2a\0\0\0" + SALT[:8] + b"\0" + low + b"\xff\x02\x00\xff\xdf\x15" + bytes(10)
    return head + SALT[8:] + b"\0caching_sha2_password\0"


class Mysql8:
    """Its side of a login without TLS. `remembers`: another has logged in since its start."""

    def __init__(self, version: str, password: bytes, *, remembers: bool) -> None:
        self._version = version
        self._password = password
        self._remembers = remembers
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.asked_for_its_key = False
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._talk(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self.ended.set()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0

        def say(body: bytes) -> None:
            nonlocal number
            writer.write(len(body).to_bytes(3, "little") + bytes([number]) + body)
            number += 1

        async def hear() -> bytes:
            nonlocal number
            head = await reader.readexactly(4)
            number = head[3] + 1
            return await reader.readexactly(int.from_bytes(head[:3], "little"))

        say(greeting(self._version, tls=False))
        await hear()
        if self._remembers:
            say(b"\x01\x03")
            say(OK)
        else:
            say(b"\x01\x04")
            self.asked_for_its_key = await hear() == b"\x02"
            public = self._key.public_key()
            pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            say(b"\x01" + pem)
            oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - as MySQL does it
            plain = self._key.decrypt(await hear(), oaep)
            said = bytes(byte ^ SALT[place % len(SALT)] for place, byte in enumerate(plain))
            say(OK if said == self._password + b"\0" else error(1045, "Access denied for user 'k3'@'10.0.0.7'"))
        await reader.read()


def error(code: int, text: str) -> bytes:
    return b"\xff" + code.to_bytes(2, "little") + b"#HY000" + text.encode()


@asynccontextmanager
async def logged_in(mysql: Mysql8) -> AsyncIterator[None]:
    async with await asyncio.start_server(mysql.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        settings = {"host": "127.0.0.1", "port": port, "user": "k3", "password": b"geheim", "autocommit": True}
        connection = MysqlConnection(may_be_plain=True, ssl=ssl.create_default_context(), charset="utf8mb4", **settings)
        try:
            await connection.connect()
            yield
        finally:
            connection.close()
            await mysql.ended.wait()


@pytest.mark.parametrize("version", ["8.0.43", "8.4.6", "9.4.0"])
@pytest.mark.parametrize("remembers", [True, False])
async def test_a_login_without_tls(version: str, remembers: bool) -> None:
    mysql = Mysql8(version, b"geheim", remembers=remembers)
    async with logged_in(mysql):
        assert mysql.asked_for_its_key is not remembers


async def test_a_wrong_password_without_tls() -> None:
    with pytest.raises(OperationalError, match="1045"):
        async with logged_in(Mysql8("8.4.6", b"another", remembers=False)):
            pass


@pytest.mark.parametrize("remembers", [True, False])
async def test_a_login_that_would_end_with_the_server_s_memory_is_refused(
    remembers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package that encrypts the password, k3 would be let in only until the server restarts."""
    monkeypatch.setattr(auth, "_have_cryptography", False)
    with pytest.raises((OperationalError, RuntimeError), match="'cryptography' package is required"):
        async with logged_in(Mysql8("8.0.43", b"geheim", remembers=remembers)):
            pass


def test_a_missing_package_is_named_with_the_command_that_brings_it() -> None:
    refused = explain(Refused(2059, "'cryptography' package is required for sha256_password"), STORAGE)
    assert isinstance(refused, StartFailed)
    assert "k3 needs the package cryptography: let the server speak TLS, or run: " in str(refused)
    assert "requirements/mysql.txt" in str(refused)
    assert "the package pynacl: " in str(explain(Refused(2059, "'pynacl' package is required for ed25519"), STORAGE))


GRANT: Final = "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON `k3`.* TO 'k3'@'%';"


@pytest.mark.parametrize(
    ("code", "text", "kind", "said"),
    [
        (1045, "Access denied for user 'k3'@'10.0.0.7' (using password: YES)", Forbidden, "K3_STORE_PASSWORD"),
        (1862, "Your password has expired. To log in you must change it using a client that supports expired passwords.", Forbidden, "has expired; as administrator run: ALTER USER 'k3'@'%'"),  # noqa: E501
        (3118, "Access denied for user 'k3'@'10.0.0.7'. Account is locked.", Forbidden, "ALTER USER 'k3'@'%' ACCOUNT UNLOCK;"),
        (4151, "Access denied, this account is locked", Forbidden, "ALTER USER 'k3'@'%' ACCOUNT UNLOCK;"),
        (1142, "CREATE command denied to user 'k3'@'10.0.0.7' for table 'cur'", Forbidden, GRANT),
        (1044, "Access denied for user 'k3'@'%' to database 'k3'", Forbidden, GRANT),
        (1370, "execute command denied to user 'k3'@'%' for routine 'k3.SHA1'", Unavailable, "execute command denied"),
        (1305, "FUNCTION k3.SHA1 does not exist", Unavailable, "FUNCTION k3.SHA1 does not exist (error 1305)"),
        (1524, "Plugin 'mysql_native_password' is not loaded", StartFailed, "IDENTIFIED WITH caching_sha2_password"),
        (3159, "Connections using insecure transport are prohibited", Forbidden, "ssl_mode"),
        (1290, "The MySQL server is running with the --super-read-only option", Unavailable, "the server only reads"),
    ],
)  # fmt: skip
def test_what_the_server_refuses_comes_with_what_to_do(code: int, text: str, kind: type[K3Error], said: str) -> None:
    refused = explain(Refused(code, text), STORAGE)
    assert type(refused) is kind
    assert said in str(refused)
    assert "mysql db.example:3306: " in str(refused)
    assert "geheim" not in str(refused)
    if code == 1370:
        assert "GRANT" not in str(refused), "a right on routines is none on tables"


async def test_a_server_that_looks_up_names_before_it_greets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STORE_TIMEOUT_SECONDS", 0.3)

    ended = asyncio.Event()

    async def keep_quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(keep_quiet, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match=r"does not greet for 0.3 s.*skip_name_resolve, or mend its reverse DNS"):
            await connect(replace(STORAGE, host="127.0.0.1", port=port))
        await ended.wait()


def test_the_ca_of_mysql_is_not_held_to_what_it_lacks() -> None:
    """Python 3.13 would refuse it: it has no key identifiers."""
    for mode, names, proof in (
        ("preferred", False, ssl.CERT_NONE),
        ("required", False, ssl.CERT_NONE),
        ("verify_ca", False, ssl.CERT_REQUIRED),
        ("verify_identity", True, ssl.CERT_REQUIRED),
    ):
        context = _mysql_server._tls(replace(STORAGE, ssl_mode=mode))
        assert context is not None
        assert (context.check_hostname, context.verify_mode) == (names, proof)
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert _mysql_server._tls(replace(STORAGE, ssl_mode="disabled")) is None
    assert (STORAGE.encryption, replace(STORAGE, ca_file="x").encryption) == ("preferred", "verify_identity")


# --- installing what is missing


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["tree/requirements/mysql.txt"], "{0}/py -m pip install --require-hashes -r {0}/tree/requirements/mysql.txt"),
        (["venv/pyvenv.cfg"], "{0}/py -m pip install asyncmy cryptography"),
        (["venv/pipx_metadata.json"], "pipx inject venv asyncmy cryptography"),
        (["venv/uv-receipt.toml"], "uv pip install --python {0}/py asyncmy cryptography"),
    ],
)  # fmt: skip
def test_the_command_is_that_of_how_k3_was_installed(tmp_path: Path, files: Sequence[str], expected: str) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    said = how_to_install(
        "mysql", "asyncmy", "cryptography", checkout=tmp_path / "tree", prefix=tmp_path / "venv", python=f"{tmp_path}/py"
    )
    assert said == expected.format(tmp_path)
