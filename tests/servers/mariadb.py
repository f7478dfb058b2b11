"""MariaDB or MySQL: a fresh data directory, a database and user `k3`, durable against a kill of the process.

The server is `mariadbd`, unless K3_TEST_MYSQLD names another executable: the mysqld or mariadbd of another version.
"""

import contextlib
import functools
import os
import pwd
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.lab import Host, Lan
from tests.needs import find, require
from tests.servers.server import Server, Site

USER = "k3"
PASSWORD = "secret"
DATABASE = "k3"

_WELCOME = (
    f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n"
    f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n"
    f"GRANT ALL PRIVILEGES ON `{DATABASE}%`.* TO '{USER}'@'%';\n"
)


class Mariadb(Server):
    """A MariaDB that answers."""

    data: Path
    user = USER
    password = PASSWORD
    database = DATABASE

    @property
    def tables(self) -> Path:
        """Where each database has its folder of files."""
        return self.data / "mysql" if self.is_mysql else self.data

    @property
    def is_mysql(self) -> bool:
        """Whether it is MySQL and not MariaDB."""
        return is_mysql()

    @property
    def version(self) -> str:
        """As it says itself."""
        return self.sql("SELECT VERSION()").strip()

    def sql(self, text: str) -> str:
        """Run SQL as the server's root, over its Unix socket; rows as tab-separated lines."""
        done = subprocess.run(
            [
                find("mariadb") or "mariadb",
                "--no-defaults",
                "--user=root",
                f"--socket={self.data}/sock",
                "--batch",
                "--skip-column-names",
            ],
            input=text,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def new_database(self, name: str) -> str:
        """An empty database that the user `k3` may use: `k3_<name>`."""
        self.sql(f"DROP DATABASE IF EXISTS `{DATABASE}_{name}`; CREATE DATABASE `{DATABASE}_{name}`;")
        return f"{DATABASE}_{name}"


@contextlib.contextmanager
def mariadb_server(*extra: str, lan: Lan | None = None, host: Host | None = None) -> Iterator[Mariadb]:
    """A MariaDB with database, user and password as on `Mariadb`; `extra` are more flags of mariadbd."""
    require("mariadb")
    site = Site(lan, host)
    port = site.free_port()
    with tempfile.TemporaryDirectory(prefix="k3-mariadb-") as folder, contextlib.ExitStack() as stack:
        data = Path(folder)
        _install(data)
        (data / "welcome.sql").write_text(_WELCOME, encoding="utf-8")
        argv = [_program(), *_options(data), f"--bind-address={site.address}", f"--port={port}", *extra]
        server = Mariadb("mariadb", site, argv, port=port, ready=lambda: site.call(lambda: _greets(site.address, port)))
        server.data = data
        stack.callback(server.close)
        yield server


@functools.cache
def is_mysql() -> bool:
    """Whether the tests run against MySQL and not MariaDB."""
    said = subprocess.run([_program(), "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    return "MariaDB" not in said


def _program() -> str:
    return os.environ.get("K3_TEST_MYSQLD") or find("mariadbd") or "mariadbd"


def _install(data: Path) -> None:
    if is_mysql():
        command = [_program(), "--no-defaults", "--initialize-insecure", f"--user={_user()}", f"--datadir={data}/mysql"]
    else:
        installer = find("mariadb-install-db") or ""
        command = [installer, *_options(data)[:-1], "--auth-root-authentication-method=normal", "--skip-test-db"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _options(data: Path) -> list[str]:
    common = [
        "--no-defaults",
        f"--user={_user()}",
        # Its temporary tables are not to be cleared away by another server that starts.
        f"--tmpdir={data}",
        f"--socket={data}/sock",
        f"--pid-file={data}/pid",
        "--skip-log-bin",
        "--skip-name-resolve",
        "--performance-schema=off",
        "--innodb-buffer-pool-size=32M",
        # Written to the kernel at every commit: survives a kill of the process, and does not wait for the disk.
        "--innodb-flush-log-at-trx-commit=2",
    ]
    own = (
        [f"--datadir={data}/mysql", "--mysqlx=0", "--innodb-redo-log-capacity=32M"]
        if is_mysql()
        else [f"--datadir={data}", "--innodb-log-file-size=16M"]
    )
    return [*common, *own, f"--init-file={data}/welcome.sql"]


def _greets(address: str, port: int) -> bool:
    """Whether it sends its handshake: the port is open before it is ready."""
    try:
        with socket.create_connection((address, port), 2) as connection:
            return len(connection.recv(5)) > 0
    except OSError:
        return False
