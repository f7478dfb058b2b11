"""Settings: flag > environment > file > default, read strictly, with errors that help and never show a password."""

from pathlib import Path
from typing import Any

import pytest

from k3.core.errors import ConfigInvalid
from k3.settings import parsing
from k3.settings.listen import Listen
from k3.settings.load import Flags, Place, load
from k3.settings.structs import LogSettings, NetworkConfig, Settings
from k3.stores.etcd import EtcdStorage
from k3.stores.memory import MemoryStorage
from k3.stores.mysql import MysqlStorage
from k3.stores.sqlite import SqliteStorage

FULL = """
storage:
  type: {type}
  sqlite: {{path: /srv/k3.db}}
  mysql: {{host: db, port: 3307, user: me, password: hunter2, database: d, max_open_conns: 20, max_idle_conns: 6, ca_file: /ca}}
  etcd:
    endpoints: [http://a:2379, "https://b:2379"]
    dial_timeout: 1m30s
    username: root
    password: hunter2
    prefix: /k
    compact: false
log: {{level: debug, format: json, path: /tmp/k3.log}}
"""


class Desk:
    """A place with a directory of its own, where settings are loaded from."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environ = {"HOME": str(directory / "home")}
        self.is_root = False
        self.system_state = directory / "var"

    def file(self, text: str | bytes) -> str:
        path = self.directory / "k3.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def load(self, *, reading: bool = True, **flags: str) -> Settings:
        place = Place(self.environ, self.is_root, self.system_state)
        return load(Flags(**flags), place, reading=reading)

    def refusal(self, text: str | bytes) -> str:
        """The error about a file, without the file's directory."""
        with pytest.raises(ConfigInvalid) as caught:
            self.load(config=self.file(text))
        message = str(caught.value)
        assert "hunter2" not in message
        assert "\n" not in message
        return message.replace(f"{self.directory}/", "")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# --- durations and booleans ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1m30s", 90),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("1h0m0.5s", 3600.5),
        (".5s", 0.5),
        ("0", 0),
        ("0s", 0),
        ("10us", 1e-5),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    assert parsing.duration(text, "--x") == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "90", "90 s", "s", "+1s", "1m30", "1d", "1e3s", "infs", "nan", "1s\n", "٣s", "9" * 400 + "s", "1..5s"]
)
def test_bad_duration_says_how_one_looks(text: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"--x: bad duration \".*\", expected like 90s, 1m30s or 1.5h"):
        parsing.duration(text, "--x")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("5", "; did you mean 5s?"),
        ("0.5", "; did you mean 0.5s?"),
        ("5 s", "; did you mean 5s?"),
        ("5sec", "; did you mean 5s?"),
        ("2 Minutes", "; did you mean 2m?"),
        ("1d", "; did you mean 24h?"),
        ("2weeks", "; did you mean 336h?"),
        ("5S", "; did you mean 5s?"),
        ("soon", "expected like 90s, 1m30s or 1.5h"),
        ("1s2", "expected like 90s, 1m30s or 1.5h"),
        ("-1s", 'bad duration "-1s", must not be negative'),
        ("-5", 'bad duration "-5", must not be negative'),
        ("-.5h", "must not be negative"),
        ("999999h", 'bad duration "999999h", must be at most 87600h (ten years)'),
    ],
)
def test_a_bad_duration_tells_the_one_that_was_meant(text: str, told: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parsing.duration(text, "--x")
    assert str(refused.value).endswith(told)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("True", True), ("1", True), ("false", False), ("F", False), ("0", False), ("Yes", True), ("off", False)],
)
def test_boolean(text: str, value: bool) -> None:
    assert parsing.boolean(text, "--x") is value


# --- the file --------------------------------------------------------------------------------------------------------


def test_the_file_sets_every_backend(desk: Desk) -> None:
    def storage(type_: str) -> object:
        return desk.load(config=desk.file(FULL.format(type=type_))).storage

    assert storage("memory") == MemoryStorage()
    assert storage("sqlite") == SqliteStorage(Path("/srv/k3.db"))
    assert storage("mysql") == MysqlStorage(
        host="db", port=3307, user="me", password="hunter2", database="d", max_open_conns=20, max_idle_conns=6, ca_file="/ca"
    )
    assert storage("etcd") == EtcdStorage(
        endpoints=("http://a:2379", "https://b:2379"),
        dial_timeout_seconds=90.0,
        username="root",
        password="hunter2",
        prefix="/k",
        compact=False,
    )


def test_the_file_may_leave_everything_out(desk: Desk) -> None:
    assert desk.load(config=desk.file("storage: {type: mysql, mysql: {host: }}")).storage == MysqlStorage()
    assert desk.load(config=desk.file("storage: {type: etcd}")).storage == EtcdStorage()
    assert desk.load(config=desk.file("")).is_default_store
    assert desk.load(config=desk.file("storage:")).is_default_store


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("storage: {type: mysql, mysql: {hots: x}}", 'k3.yaml:1: storage.mysql.hots: unknown key; did you mean "host"?'),
        ("storage: {tpye: mysql}", 'k3.yaml:1: storage.tpye: unknown key; did you mean "type"?'),
        ("storage: {type: etcd, mysql: {zzz: 1}}", "k3.yaml:1: storage.mysql.zzz: unknown key; known are host, port, user"),
        ("storage: {type: mysq}", "k3.yaml:1: storage.type: expected one of etcd, kubernetes, memory, mysql, sqlite"),
        (
            "storage:\n  type: mysql\n  mysql:\n    host: db\n    prot: 1",
            'k3.yaml:5: storage.mysql.prot: unknown key; did you mean "port"',
        ),
        (
            "storage: {mysql: {host: x}}",
            "k3.yaml: storage.type: missing, expected one of etcd, kubernetes, memory, mysql, sqlite",
        ),
        ("storage: [1]", "k3.yaml: storage: expected a mapping (key: value)"),
        ("storage: {type: mysql, mysql: 3}", "k3.yaml: storage.mysql: expected a mapping (key: value)"),
        (
            "storage: {type: mysql, mysql: {port: '3306'}}",
            "k3.yaml:1: storage.mysql.port: expected a whole number from 1 to 65535",
        ),
        (
            "storage: {type: mysql, mysql: {port: true}}",
            "k3.yaml:1: storage.mysql.port: expected a whole number from 1 to 65535",
        ),
        ("storage: {type: mysql, mysql: {password: 123}}", "k3.yaml:1: storage.mysql.password: expected text (in quotes where"),
        ("storage: {type: etcd, etcd: {endpoints: a}}", "k3.yaml:1: storage.etcd.endpoints: expected a list of texts"),
        ("storage: {type: etcd, etcd: {dial_timeout: 5}}", "k3.yaml:1: storage.etcd.dial_timeout: expected a duration like 5s"),
        ("storage: {type: etcd, etcd: {compact: maybe}}", "k3.yaml:1: storage.etcd.compact: expected true or false"),
        (
            "storage: {type: etcd, etcd: {endpoints: ['http://u:hunter2@h:1']}}",
            "k3.yaml: bad etcd endpoint, expected http://host:2379",
        ),
        ("storage: {type: etcd, etcd: {prefix: k/}}", "k3.yaml: the etcd prefix begins with /"),
        ("log: {level: loud}", "k3.yaml:1: log.level: expected one of debug, info, warning, error"),
        ("a: [1\nb: 2", "k3.yaml:2: not valid YAML: "),
        ("a: b\nstorage: {password: *hunter2}", "k3.yaml:2: not valid YAML: found undefined alias '...'"),
        ("storage: !hunter2 x", "k3.yaml:1: not valid YAML: could not determine a constructor for the tag '...'"),
        (b"a: 1\nb: \xff\xfe", "k3.yaml:2: not UTF-8, so not valid YAML; save the file as UTF-8"),
        ("- a", "k3.yaml: expected a mapping (key: value)"),
    ],
)
def test_a_bad_file_is_one_line_with_file_key_and_expectation(desk: Desk, text: str | bytes, message: str) -> None:
    assert desk.refusal(text).startswith(message)


def test_a_file_that_cannot_be_read_is_one_line(desk: Desk) -> None:
    for path, why in {"none.yaml": "No such file or directory", ".": "it is a directory", "a\0b": "not a path"}.items():
        with pytest.raises(ConfigInvalid, match=f"cannot read the configuration file .*: {why}$"):
            desk.load(config=f"{desk.directory}/{path}")


def test_other_sections_are_ignored_with_one_note(desk: Desk) -> None:
    found = desk.load(
        config=desk.file(
            "role: node\njwt: {secret: hunter2}\ndebug: true\nlog: {path: /x, max_size: 3}\nstorage: {type: memory}"
        )
    )
    [note] = found.notes
    assert note.event == "config.ignored"
    assert note.fields["sections"] == ("role", "jwt", "log.max_size")
    assert (found.log.level, found.log.path) == ("debug", "/x")


def test_log_settings_follow_the_same_order(desk: Desk) -> None:
    path = desk.file("log: {level: warn, format: json}")
    assert (desk.load(config=path).log.level, desk.load(config=path).log.format) == ("warning", "json")
    assert desk.load(config=path, log_level="error", log_format="text").log.level == "error"
    assert desk.load().log.level == "info"


def test_words_are_taken_in_either_case(desk: Desk) -> None:
    assert desk.load(log_level="INFO").log.level == "info"
    assert desk.load(log_level="Warn", log_format="JSON").log == LogSettings("warning", "json")
    assert desk.load(config=desk.file("storage: {type: Memory}\nlog: {level: Error}")).log.level == "error"
    with pytest.raises(
        ConfigInvalid, match=r'^--log-level: expected one of debug, info, warning, error; did you mean "info"\?$'
    ):
        desk.load(log_level="inof")


# --- --store, K3_STORE, K3_STORE_PASSWORD ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "storage"),
    [
        ("memory://", MemoryStorage()),
        ("sqlite:///var/x y%20?.db", SqliteStorage(Path("/var/x y%20?.db"))),
        ("sqlite:////var/x.db", SqliteStorage(Path("/var/x.db"))),  # as in other programs' URLs
        ("mysql://db", MysqlStorage(host="db")),
        ("mysql://me@db:33/d", MysqlStorage(host="db", port=33, user="me", database="d")),
        (
            "mysql://me:p%40ss@[::1]/d?ca_file=/ca&max_open_conns=3",
            MysqlStorage(host="::1", user="me", password="p@ss", database="d", max_open_conns=3, ca_file="/ca"),
        ),
        ("etcd://h1,h2:23", EtcdStorage(endpoints=("http://h1:2379", "http://h2:23"))),
        ("etcd://[::1]:1,[::2]/pre", EtcdStorage(endpoints=("http://[::1]:1", "http://[::2]:2379"), prefix="/pre")),
        (
            "etcd://u:p@h?ca_file=/ca&compact=false&dial_timeout=2s",
            EtcdStorage(
                endpoints=("https://h:2379",),
                dial_timeout_seconds=2.0,
                username="u",
                password="p",
                compact=False,
                ca_file="/ca",
            ),
        ),
    ],
)
def test_store_urls(desk: Desk, url: str, storage: Any) -> None:
    assert desk.load(store=url).storage == storage
    assert not desk.load(store=url).is_default_store


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "--store: not a store's URL, expected etcd://host:2379,host:2379, https://host:8443, memory://, mysql://"),
        ("/var/lib/k3.db", "--store: not a store's URL; did you mean sqlite:///var/lib/k3.db?"),
        ("postgres://k3:geheim@db/k3", '--store: k3 has no store "postgres"; it has etcd, kubernetes, memory, mysql, sqlite'),
        ("mariadb://db/k3", 'it has etcd, kubernetes, memory, mysql, sqlite; did you mean "mysql"?'),
        ("k3:geheim@db/k3.db", "--store: not a store's URL, expected etcd://"),
        ("mysq://hunter2", 'k3 has no store "mysq"; it has etcd, kubernetes, memory, mysql, sqlite; did you mean "mysql"?'),
        ("sqlite://k3.db", "--store: a sqlite:// URL needs three slashes"),
        ("sqlite:///", "--store: a sqlite:// URL needs three slashes"),
        ("etcd://u%00x@127.0.0.1:1", "--store: has a zero byte"),
        ("mysql://u@127.0.0.1:1/a%00b", "--store: has a zero byte"),
        ("mysql://u:hunter2", "--store: bad host or port in the mysql:// URL"),
        ("mysql://u:hunt/hunter2@h/d", "--store: bad host or port in the mysql:// URL"),
        ("mysql://h/a/b", "--store: bad host or port in the mysql:// URL"),
        ("mysql://h/d?password=hunter2", "--store, mysql:// URL.password: unknown key"),
        ("mysql://h/d?max_open_cons=2", '--store, mysql:// URL.max_open_cons: unknown key; did you mean "max_open_conns"?'),
        ("etcd://", "--store: bad host or port in the etcd:// URL"),
        ("etcd://a,,b", "--store: bad host or port in the etcd:// URL"),
        ("etcd://u:hunt@hunter2:x", "--store: bad etcd endpoint"),
    ],
)
def test_bad_store_urls(desk: Desk, url: str, message: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        desk.load(store=url)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_flag_over_environment_over_file_over_default(desk: Desk) -> None:
    path = desk.file("storage: {type: memory}")
    assert desk.load().storage == SqliteStorage(desk.directory / "home/.local/state/k3/k3.db")
    assert desk.load(config=path).storage == MemoryStorage()
    desk.environ["CONFIG_PATH"] = path
    assert desk.load().storage == MemoryStorage()
    desk.environ["K3_STORE"] = "sqlite:///env.db"
    assert desk.load().storage == SqliteStorage(Path("/env.db"))
    assert desk.load(store="sqlite:///flag.db").storage == SqliteStorage(Path("/flag.db"))


def test_an_error_in_the_environment_names_the_variable(desk: Desk) -> None:
    desk.environ["K3_STORE"] = "k3.db"
    with pytest.raises(ConfigInvalid, match="K3_STORE: not a store's URL"):
        desk.load()


def test_a_url_takes_the_rest_from_the_file(desk: Desk) -> None:
    path = desk.file(FULL.format(type="etcd"))
    found = desk.load(config=path, store="mysql://other@h2/e").storage
    assert found == MysqlStorage(
        host="h2", port=3307, user="other", password="hunter2", database="e", max_open_conns=20, max_idle_conns=6, ca_file="/ca"
    )


def test_the_password_from_the_environment(desk: Desk) -> None:
    desk.environ["K3_STORE_PASSWORD"] = "from-env"
    path = desk.file(FULL.format(type="mysql"))
    for found in (desk.load(config=path), desk.load(store="mysql://u@h"), desk.load(store="etcd://u@h")):
        storage = found.storage
        assert isinstance(storage, MysqlStorage | EtcdStorage)
        assert storage.password == "from-env"
    named = desk.load(store="mysql://u:own@h").storage
    assert isinstance(named, MysqlStorage)
    assert named.password == "own"


def test_a_password_in_a_url_works_warns_and_is_never_shown(desk: Desk) -> None:
    for url in ("mysql://u:hunter2@h/d", "etcd://u:hunter2@h"):
        found = desk.load(store=url)
        [note] = found.notes
        assert (note.event, note.warning) == ("config.password_in_url", True)
        assert "hunter2" not in repr(found) + found.storage.url
        assert getattr(found.storage, "password", "") == "hunter2"


@pytest.mark.parametrize(
    "url", ["memory://", "sqlite:///a/b.db", "mysql://me@[::1]:33/d", "mysql://me@db:3306/d", "etcd://a:1,b:2"]
)
def test_a_store_knows_its_url(desk: Desk, url: str) -> None:
    assert desk.load(store=url).storage.url == url


# --- defaults --------------------------------------------------------------------------------------------------------


def test_default_store_and_state_directory(desk: Desk) -> None:
    shared = SqliteStorage(desk.system_state / "k3.db")
    own = SqliteStorage(desk.directory / "home/.local/state/k3/k3.db")
    assert [desk.load(reading=reading).storage for reading in (True, False)] == [own, own]
    shared.path.parent.mkdir()
    shared.path.touch()
    assert [desk.load(reading=reading).storage for reading in (True, False)] == [shared, own]
    desk.is_root = True
    assert [desk.load(reading=reading).storage for reading in (True, False)] == [shared, shared]


def test_xdg_state_home_counts_when_absolute(desk: Desk) -> None:
    desk.environ["XDG_STATE_HOME"] = "/xdg"
    assert Place(desk.environ, is_root=False).state_directory == Path("/xdg/k3")
    desk.environ["XDG_STATE_HOME"] = "xdg"
    assert Place(desk.environ, is_root=False).state_directory == desk.directory / "home/.local/state/k3"
    assert Place(desk.environ, is_root=True).state_directory == Path("/var/lib/k3")


# --- NetworkConfig ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":7946", "", 7946),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:80", "::1", 80),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
    ],
)
def test_listen(text: str, host: str, port: int) -> None:
    listen = Listen.parse(text)
    assert (listen.host, listen.port, str(listen)) == (host, port, text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "7946",
            ":",
            ":65536",
            ":-1",
            ":1x",
            "::1:80",
            "::1:7946",
            "[]:1",
            "[::1]",
            "[10.0.0.1]:1",
            "a b:1",
            "http://a:1",
        ),
        *("x:1", "localhost:7946", "web1.example:7946", "10.0.0:1", "10.0.0.1%eth0:1", "[fe80::1%]:1", "[::1%a b]:1", ":٣"),
    ],
)
def test_what_no_socket_can_be_bound_to_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid, match="--listen: bad value"):
        Listen.parse(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("7946", "; did you mean :7946?"),
        ("10.0.0.1", "; did you mean 10.0.0.1:7946?"),
        ("::1:80", "; did you mean [::1]:80?"),
        ("fe80::1", "; did you mean [fe80::1]:7946?"),
        ("http://127.0.0.1:80/", "; did you mean 127.0.0.1:80?"),
        ("localhost:8000", "; did you mean 127.0.0.1:8000?"),
        ("localhost", "; did you mean 127.0.0.1:7946?"),
        ("[10.0.0.1]:80", "; did you mean 10.0.0.1:80?"),
        (":70000", "; a port is at most 65535"),
        ("70000", "; a port is at most 65535"),
        ("web1:80", ""),
        ("every where", ""),
    ],
)
def test_an_address_to_listen_on_that_is_none_says_what_was_meant(text: str, meant: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        Listen.parse(text)
    assert str(refused.value) == (f'--listen: bad value "{text}", expected [address]:port like :7946 or 127.0.0.1:7946{meant}')


@pytest.mark.parametrize(
    "wrong",
    [
        *[{"node_name": text, "is_name_explicit": True} for text in ("", "Web", "a_b", "-a", "a/b", "a" * 254)],
        *[{"peer_ttl_seconds": number} for number in (0.0, 1.999, float("nan"))],
        *[{"interfaces": (text,)} for text in ("", "a b", "a/b", "a" * 16)],
    ],
)
def test_what_cannot_work_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid):
        NetworkConfig(storage=MemoryStorage(), **wrong)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"node_name": "Web_1", "is_name_explicit": True}, "as in web1 (RFC 1123); did you mean web-1?"),
        ({"node_name": "_", "is_name_explicit": True}, "as in web1 (RFC 1123)"),
    ],
)
def test_what_was_meant_is_said(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        NetworkConfig(storage=MemoryStorage(), **wrong)
    assert str(refused.value).endswith(told)


def test_a_network_config_shows_no_password() -> None:
    assert "hunter2" not in repr(NetworkConfig(storage=MysqlStorage(password="hunter2")))
