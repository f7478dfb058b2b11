"""A MySQL or MariaDB server as a store uses it: a bounded number of sessions, each set up alike, each wait bounded.

Knows the tables and makes them, but neither objects nor revisions. The driver is handed in: `store` alone imports it. A
session in which anything went wrong is thrown away: only after an answer that was read to its end is it used again.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from k3.agent.tasks import time_limit
from k3.agent.tls import BadFile, Check, client_context, present
from k3.core import limits
from k3.core.errors import Damaged, StartFailed, Unavailable
from k3.core.records import dataclass
from k3.core.safe_text import printable
from k3.stores.log import sql
from k3.stores.mysql import text
from k3.stores.mysql.refusals import GONE, NO_DATABASE, PLUGIN, Refused, explain, no_answer, no_database, place
from k3.stores.mysql.settings import MysqlStorage
from k3.stores.mysql.tables import TYPES, Tables
from k3.stores.mysql.unreachable import why_unreachable

T = TypeVar("T")
Rows = Sequence[Any]
ATTEMPTS: Final = 4
KEPT_IDLE: Final = 2
"""Sessions kept open whatever `max_idle_conns` says: the writer's and the follower's."""
_CHECKS: Final[dict[str, Check]] = {"verify_identity": "identity", "verify_ca": "chain"}
"""By `ssl_mode`. The other modes protect from listeners, not from impostors, as with the `mysql` client (ADR 22)."""


@dataclass(frozen=True, slots=True)
class Driver:
    """What is used of asyncmy: a connection, to be connected, and the root of its errors."""

    connection: Callable[..., Any]
    error: type[Exception]


class Session:
    """One connection. For one task at a time."""

    def __init__(self, raw: Any, driver: Driver) -> None:  # noqa: ANN401 - asyncmy's connection
        self._raw = raw
        self._driver = driver
        # Kept, since the driver lets go of it when a read is cancelled, and closing alone waits for a hung peer.
        self._transport: asyncio.Transport = raw._transport  # noqa: SLF001 - see above
        self.dropped = False
        self.max_packet = 0
        """Bytes the server takes in one packet."""
        self.database = ""
        """As the server spells it."""

    async def run(self, statements: Iterable[bytes]) -> list[Rows]:
        """Sends the statements in one packet; returns the rows of each. Raises Refused."""
        found: list[Rows] = []
        cursor = self._raw.cursor()
        try:
            await cursor.execute(b";".join(statements))
            found.append(await cursor.fetchall() or ())
            while await cursor.nextset():
                found.append(await cursor.fetchall() or ())
        except self._driver.error as error:
            raise _refusal(error, answered=len(found)) from error
        except Exception as error:  # an answer that the driver stumbled over: this session is of no more use
            raise Refused(0, str(error), answered=len(found)) from error
        return found

    def drop(self) -> None:
        """Closes the connection at once, whatever is still under way."""
        self.dropped = True
        self._raw.close()
        self._transport.abort()

    async def aclose(self) -> None:
        """Closes the session in order (COM_QUIT)."""
        try:
            async with time_limit(limits.SHUTDOWN_SECONDS):
                await self._raw.ensure_closed()
        except (TimeoutError, OSError, self._driver.error):
            self.drop()


class Server:
    """Sessions on demand, at most `max_open_conns` of them."""

    def __init__(
        self, storage: MysqlStorage, driver: Driver, *, clock: Callable[[], float], new_uid: Callable[[], str]
    ) -> None:
        """`clock` and `new_uid` serve where the store has to be made. Raises StartFailed for unusable TLS files."""
        self.store_id = ""
        self.place = place(storage)
        self._storage = storage
        self._driver = driver
        self._clock = clock
        self._new_uid = new_uid
        self._tls = _tls(storage)
        self._idle: list[Session] = []
        self._places = asyncio.Semaphore(storage.max_open_conns)
        # Readers leave places for the writer and the follower: many lists at once hold up no write.
        self._readers = asyncio.Semaphore(max(1, storage.max_open_conns - KEPT_IDLE))
        self._closed = False
        self._is_silent = False
        """Whether the server accepted the newest connection, and sent no greeting in time."""

    async def read(self, *statements: bytes) -> list[Rows]:
        """Runs statements that change nothing, again where a session turns out to be dead. Raises what `errors` does."""
        async with self.errors(), self._readers:
            return await self.again(lambda session: session.run(statements))

    async def follow(self, *statements: bytes) -> list[Rows]:
        """As `read`, for the follower of the log: it never waits behind readers."""
        async with self.errors():
            return await self.again(lambda session: session.run(statements))

    async def again(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Does `work` on a session, from the beginning if it must give way or the session is dead. Raises Refused."""
        for attempt in range(ATTEMPTS):
            try:
                async with self._session() as session:
                    return await work(session)
            except Refused as refused:
                is_gone = refused.code in GONE and not attempt
                if refused.lost or is_gone:
                    self._drop_idle()
                if not (refused.again or is_gone) or attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError

    def head(self, rows: Rows) -> sql.Head:
        """Returns the row of `sql.HEAD`. Raises Damaged, StartFailed (a newer k3's), Unavailable (another store)."""
        try:
            head = self.place.head(rows)
        except (Damaged, StartFailed):
            self._drop_idle()  # a new session looks at all of the tables, so that no verb works while others do not
            raise
        if head.store_id != self.store_id:
            self.store_id = head.store_id
            msg = f"{self.place.name} holds another store than before; the next call is for that one"
            raise Unavailable(msg)
        return head

    @asynccontextmanager
    async def errors(self) -> AsyncIterator[None]:
        """Limits what is within to `limits.STORE_TIMEOUT_SECONDS`, and raises what goes wrong as k3's errors."""
        try:
            async with time_limit(limits.STORE_TIMEOUT_SECONDS):
                yield
        except Refused as refused:
            raise explain(refused, self._storage) from refused
        except TimeoutError:
            raise no_answer(self._storage, limits.STORE_TIMEOUT_SECONDS, is_silent=self._is_silent) from None

    async def aclose(self) -> None:
        """Closes what is idle now, and what is in use when it is given back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().aclose()
        await asyncio.sleep(0)  # the loop closes sockets of dropped sessions in its next round

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        async with self._places:
            self._check_open()
            session = self._idle.pop() if self._idle else await self._dial()
            try:
                yield session
            except BaseException:  # a cancelled read leaves rows in the socket, which the next user would take for its own
                session.drop()
                raise
            self._give_back(session)

    def _give_back(self, session: Session) -> None:
        if self._closed or len(self._idle) >= max(self._storage.max_idle_conns, KEPT_IDLE):
            session.drop()
        elif not session.dropped:
            self._idle.append(session)

    def _drop_idle(self) -> None:
        """Drops the idle sessions: where one was dead, the others may well be."""
        while self._idle:
            self._idle.pop().drop()

    def _check_open(self) -> None:
        if self._closed:
            msg = "the store was closed"
            raise Unavailable(msg)

    async def _dial(self) -> Session:
        """Returns a new session on the store, which is made where it is not there. Raises Refused, StartFailed, Forbidden."""
        try:
            session = await self._connect(self._storage.database)
        except Refused as refused:
            if "[SSL" in refused.text:
                self._tls = None  # its files may have been renewed: read again for the next connection
            if refused.code != NO_DATABASE:
                raise
            await self._make_database()
            session = await self._connect(self._storage.database)
        try:
            *_, (limits_row,), columns = await session.run(text.SET_UP)
            session.max_packet, session.database = int(limits_row[0]), limits_row[1]
            await self._identify(session, Tables(columns))
        except BaseException:
            session.drop()
            raise
        return session

    async def _connect(self, database: str | None) -> Session:
        storage, mode = self._storage, self._storage.encryption
        self._tls = self._tls or _tls(storage)
        task = asyncio.current_task()
        cancelled = task.cancelling() if task else 0
        raw = self._driver.connection(
            may_be_plain=mode == "preferred",
            host=storage.host,
            port=storage.port,
            user=storage.user,
            password=storage.password.encode(),
            database=database,
            ssl=self._tls,
            autocommit=True,
            charset="utf8mb4",
            connect_timeout=limits.STORE_TIMEOUT_SECONDS,
        )
        try:
            await raw.connect()
        except self._driver.error as error:
            raise _refusal(error) from error
        except RuntimeError as error:  # a way of logging in for which the driver lacks a package
            raise Refused(PLUGIN, str(error)) from error
        except UnicodeError as error:
            msg = f"storage.mysql.host: {printable(storage.host, limit=100)} is not a host's name"
            raise StartFailed(msg) from error
        except Exception as error:  # a greeting that the driver stumbled over
            raise Refused(0, str(error)) from error
        finally:
            self._is_silent = raw.waits_for_greeting
        session = Session(raw, self._driver)
        if task and task.cancelling() > cancelled:
            # The driver connects under `asyncio.wait_for`, which in Python 3.11 may keep a cancellation to itself.
            session.drop()
            raise asyncio.CancelledError
        return session

    async def _make_database(self) -> None:
        session = await self._connect(None)
        try:
            await session.run([b"CREATE DATABASE IF NOT EXISTS " + text.quoted(self._storage.database)])
        except Refused as refused:
            raise no_database(self._storage) from refused
        finally:
            await session.aclose()

    async def _identify(self, session: Session, tables: Tables) -> None:
        """Learns which store this is; makes or migrates it first where that is due."""
        if tables.missing or not (rows := await self._meta(session, tables)) or rows[0][0] < sql.SCHEMA:
            await self._make(session)
            rows = (await session.run([sql.HEAD.encode()]))[0]
        self.store_id = self.place.head(rows).store_id

    async def _meta(self, session: Session, tables: Tables) -> Rows:
        """Returns the row of `sql.HEAD`; none: the store is not made yet. Raises Damaged, and StartFailed."""
        self._check(tables)
        rows = (await session.run([sql.HEAD.encode()]))[0]
        if rows:
            self.place.head(rows)
        return rows

    async def _make(self, session: Session) -> None:
        """Makes or migrates the tables, one process at a time. Raises Damaged where they were made before, and part is gone."""
        if (await session.run([text.lock_schema(session.database)]))[0][0][0] != 1:
            msg = f"{self.place.name}: another process has been making the tables for too long"
            raise Unavailable(msg)
        tables = Tables((await session.run([text.COLUMNS]))[0])
        self._check(tables)
        rows = [] if tables.missing else await self._meta(session, tables)
        if not rows:
            await self._check_unused(session, tables)
            # A store made anew in place of a lost one must not hand out the lost one's revisions again (ADR 13).
            first = int(self._clock() * 1000)
            make_meta = sql.MAKE_META.replace("INSERT", "INSERT IGNORE", 1)
            row = text.render(make_meta, sql.SCHEMA, self._new_uid(), first, first)
            await session.run([*text.MAKE_TABLES, row])
        else:
            for version in range(rows[0][0], sql.SCHEMA):
                done = text.render("UPDATE meta SET version = ? WHERE id = 1", version + 1)
                await session.run([*text.MIGRATIONS[version], done])
        await session.run([text.unlock_schema(session.database)])

    def _check(self, tables: Tables) -> None:
        """Raises StartFailed where a table is another program's, Damaged where one is not as k3 made it."""
        if foreign := tables.of_another_program:
            msg = f"{self.place.name} has a table {foreign} of another program; give k3 a database of its own"
            raise StartFailed(msg)
        if what := tables.oddity:
            raise self.place.damaged(what)

    async def _check_unused(self, session: Session, tables: Tables) -> None:
        """Raises Damaged unless what is there of the tables is what a process left that was killed while it made them."""
        there = [table for table in TYPES if table not in tables.missing]
        for table in there:
            if (await session.run([text.IS_USED + table.encode() + b")"]))[0][0][0]:
                gone = f"its table {tables.missing[0]} is gone" if tables.missing else "its table meta has lost its row"
                raise self.place.damaged(gone)


def _refusal(error: Exception, *, answered: int = 0) -> Refused:
    code, *words = error.args or (0,)
    said = why_unreachable(error.__cause__) if isinstance(error.__cause__, OSError) else ""
    return Refused(code if isinstance(code, int) else 0, said or " ".join(map(str, words)) or str(error), answered=answered)


def _tls(storage: MysqlStorage) -> ssl.SSLContext | None:
    """Returns what to encrypt with and how to check the server's certificate; None for plain connections."""
    if storage.encryption == "disabled":
        return None
    try:
        context = client_context(storage.ca_file, check=_CHECKS.get(storage.encryption, "nothing"))
        present(context, storage.cert_file, storage.key_file)
    except BadFile as bad:
        msg = f"storage.mysql: {bad.role}_file {bad}; expected readable files in PEM format, the key without a passphrase"
        raise StartFailed(msg) from bad
    return context
