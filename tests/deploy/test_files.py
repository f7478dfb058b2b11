"""Images, compose file, examples and units as files: linted by the real tools, and in step with the code they start."""

import configparser
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from k3 import __version__, cli
from k3.cli.usage import BadUsage
from k3.core import limits
from k3.core.errors import ConfigInvalid, NameTaken
from k3.settings import load as settings
from tests.deploy import compose, context, dockerfile
from tests.deploy.conftest import dockerfile as dockerfile_of
from tests.docs.pages import ROOT

MODULES = pytest.mark.parametrize("module", ["network", "discovery"])
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
EACH_UNIT = pytest.mark.parametrize("file", UNITS, ids=lambda file: file.stem)
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def lint(tool: str, *arguments: str) -> tuple[int, str]:
    """Exit code and all that was said."""
    found = Path(sys.executable).with_name(tool)
    done = subprocess.run(
        [str(found) if found.exists() else tool, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


# --- images


@MODULES
def test_hadolint_is_content(module: str) -> None:
    assert lint("hadolint", str(dockerfile_of(module))) == (0, "")


def test_hadolint_would_not_be_with_a_careless_one(tmp_path: Path) -> None:
    text = dockerfile_of("network").read_text(encoding="utf-8").replace("python:3.13-slim-trixie", "python:latest")
    (tmp_path / "Dockerfile").write_text(
        text.replace('ENTRYPOINT ["k3", "network"]', "ENTRYPOINT k3 network"), encoding="utf-8"
    )
    code, said = lint("hadolint", str(tmp_path / "Dockerfile"))
    assert code == 1
    assert {"DL3007", "DL3025"} <= set(re.findall(r"DL\d+", said))


def test_the_images_differ_only_in_what_they_are_for() -> None:
    (build, last), (other_build, other_last) = (dockerfile.read(dockerfile_of(module)) for module in ("network", "discovery"))
    assert [(each.keyword, each.options, each.text) for each in build.instructions] == [
        (each.keyword, each.options, each.text) for each in other_build.instructions
    ]
    own = {"LABEL", "EXPOSE", "ENTRYPOINT"}
    assert [each.text for each in last.instructions if each.keyword not in own] == [
        each.text for each in other_last.instructions if each.keyword not in own
    ]
    assert build.base == other_build.base == last.base == other_last.base


@MODULES
def test_an_image_starts_its_module_as_nobody(module: str) -> None:
    last = dockerfile.read(dockerfile_of(module))[-1]
    assert last.one("ENTRYPOINT").exec_form == ["k3", module]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last.one("USER").text)
    assert "7946/tcp" in last.one("EXPOSE").words
    assert ("5353/udp" in last.one("EXPOSE").words) is (module == "network")
    labels = last.one("LABEL").assignments({})
    assert labels["org.opencontainers.image.title"] == f"k3-{module}"
    assert labels["org.opencontainers.image.version"] == __version__
    environ = last.one("ENV").assignments({"PATH": "/bin"})
    place = settings.Place(environ, is_root=False)
    assert last.one("VOLUME").exec_form == [str(settings.SYSTEM_STATE)] == [str(place.state_directory)]
    assert place.default_database(reading=False) == place.default_database(reading=True)


@MODULES
def test_an_image_has_every_driver_and_nothing_unchecked(module: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stages = dockerfile.read(dockerfile_of(module))
    installs = [part for stage in stages for run in stage.all("RUN") for part in run.text.split("&&") if " install " in part]
    installs = [part for part in installs if "pip" in part]
    assert installs
    for install in installs:
        words = set(install.split())
        assert {"--require-hashes", "--only-binary"} <= words or {"--no-deps", "--no-index"} <= words, install
    named = set(re.findall(r"requirements/(\w+)\.txt", " ".join(installs)))
    assert named == {"build", "run", *project["optional-dependencies"]} - {"server"}  # neither image serves the API
    major, minor = re.findall(r"python:(\d+)\.(\d+)-slim-\w+", stages[0].base)[0]
    assert (int(major), int(minor)) >= (3, int(re.findall(r">=3\.(\d+)", project["requires-python"])[0]))


@MODULES
def test_what_is_copied_is_sent_to_the_builder(module: str) -> None:
    rules = context.patterns(ROOT / ".dockerignore")
    for stage in dockerfile.read(dockerfile_of(module)):
        for each in (copy for copy in stage.all("COPY") if "from" not in copy.options):
            for source in each.words[:-1]:
                assert (ROOT / source).exists(), source
                assert context.is_sent(PurePosixPath(source), rules), source


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("src/k3/cli/__init__.py", True),
        ("requirements/run.txt", True),
        ("src/k3/__pycache__/config.cpython-311.pyc", False),
        (".git/config", False),
        (".venv/bin/k3", False),
        ("tests/needs.py", False),
        ("examples/discovery.yaml", False),
        ("password.txt", False),
        ("k3.db", False),
    ],
)
def test_the_builder_is_sent_what_it_needs(path: str, sent: bool) -> None:
    assert context.is_sent(PurePosixPath(path), context.patterns(ROOT / ".dockerignore")) is sent


# --- compose


@pytest.mark.servers("docker-compose")
def test_compose_understands_its_file(tmp_path: Path) -> None:
    code, said = lint("docker-compose", "-f", str(compose.FILE), "config")
    assert code == 0, said
    shown = yaml.safe_load(said)["services"]
    assert set(shown) == set(compose.document()["services"])
    assert shown["discovery"]["command"] == compose.service("discovery").argv

    careless = tmp_path / "compose.yaml"
    careless.write_text(compose.FILE.read_text(encoding="utf-8").replace("healthcheck:", "health-check:"), encoding="utf-8")
    code, said = lint("docker-compose", "-f", str(careless), "config")
    assert code, said


def test_compose_has_exact_images_and_says_when_each_is_healthy() -> None:
    document = compose.document()
    assert "version" not in document
    for name in ("consul", "etcd"):
        service = compose.service(name)
        assert re.search(r":v?\d+\.\d+\.\d+$", service.document["image"])
        assert service.healthcheck
        assert all(port.startswith("127.0.0.1:") for port in service.document["ports"]), "neither asks for a password"
    needed = {name: each["condition"] for name, each in compose.service("discovery").document["depends_on"].items()}
    assert needed == {"consul": "service_healthy", "etcd": "service_healthy"}
    volumes = {source for name in document["services"] for source in compose.service(name).mounts.values()}
    assert {volume for volume in volumes if "/" not in volume} == set(document["volumes"])
    assert compose.service("etcd").environ["ETCD_DATA_DIR"] in compose.service("etcd").mounts


def test_compose_starts_what_its_dockerfile_makes() -> None:
    discovery = compose.service("discovery")
    build = discovery.document["build"]
    assert (ROOT / build["context"] / build["dockerfile"]).samefile(dockerfile_of("discovery"))
    assert discovery.document["ports"] == ["7946:7946"]
    assert set(dockerfile.read(dockerfile_of("discovery"))[-1].one("VOLUME").exec_form) <= set(discovery.mounts)


def test_the_mounted_configuration_leads_to_the_etcd_of_the_file() -> None:
    discovery, etcd = compose.service("discovery"), compose.service("etcd")
    file = ROOT / discovery.mounts[discovery.environ["CONFIG_PATH"]]
    found = settings.load(settings.Flags(config=str(file)), settings.Place({}, is_root=False), reading=False)
    assert found.storage.url == etcd.environ["ETCD_ADVERTISE_CLIENT_URLS"].replace("http://", "etcd://")


# --- example configurations


def switched_on(text: str) -> list[str]:
    """The file with each of its storage sections in turn, the others switched off."""
    parts = re.split(r"(?m)^(?=#?storage:)", text)
    head, *sections = parts
    sections[-1], tail = sections[-1].split("\nlog:")
    sections = [re.sub(r"(?m)^#(?! \S)", "", section) for section in sections]
    return [f"{head}{section}\nlog:{tail}" for section in sections]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_is_a_configuration_whichever_store_is_switched_on(file: Path, tmp_path: Path) -> None:
    place = settings.Place({"K3_STORE_PASSWORD": "secret"}, is_root=False)
    text = file.read_text(encoding="utf-8")
    as_it_is = settings.load(settings.Flags(config=str(file)), place, reading=False)
    kinds = []
    for number, each in enumerate(switched_on(text)):
        (tmp_path / f"{number}.yaml").write_text(each, encoding="utf-8")
        found = settings.load(settings.Flags(config=str(tmp_path / f"{number}.yaml")), place, reading=False)
        assert not found.notes
        kinds.append(type(found.storage).__name__)
        assert number or (found.storage, found.log) == (as_it_is.storage, as_it_is.log), "the first section is the one in use"
    (module,) = re.findall(r"(?m)^#(network|discovery):$", text)
    (tmp_path / "flags.yaml").write_text(re.sub(r"(?m)^#(?! \S)", "", text.partition("log:")[2].partition("text\n")[2]))
    told = settings.load(settings.Flags(config=str(tmp_path / "flags.yaml")), place, reading=False).sections
    assert list(told) == [module]
    assert told[module]
    assert set(kinds) == {"SqliteStorage", "EtcdStorage", "MysqlStorage", "MemoryStorage"}
    assert "password:" not in text
    assert "K3_STORE_PASSWORD" in text


# --- systemd


def unit(file: Path) -> Any:
    """Its sections; a key that is given twice has both values, one per line."""
    parser = configparser.ConfigParser(
        dict_type=_Repeated, strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",)
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys have capitals
    parser.read(file, encoding="utf-8")
    return parser


class _Repeated(dict[str, Any]):
    """A second value of a key is added to the first."""

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, list) and key in self:
            value = [*self[key], *value]
        super().__setitem__(key, value)


def runnable(file: Path, folder: Path) -> Path:
    """A copy that names a program this machine has: whether k3 is where the unit says is test_systemd's affair."""
    copy = folder / file.name
    copy.write_text(file.read_text(encoding="utf-8").replace("/opt/k3/bin/k3", "/bin/true"), encoding="utf-8")
    return copy


@EACH_UNIT
@pytest.mark.servers("systemd")
def test_systemd_understands_the_unit(file: Path, tmp_path: Path) -> None:
    copy = runnable(file, tmp_path)
    drop_in = tmp_path / f"{file.name}.d" / "credentials.conf"
    drop_in.parent.mkdir()
    drop_in.write_bytes((file.parent / "credentials.conf").read_bytes())
    assert lint("systemd-analyze", "--man=no", "verify", str(copy)) == (0, "")
    drop_in.write_text("[Service]\nLoadCredentials=x:/y\n", encoding="ascii")
    assert "LoadCredentials" in lint("systemd-analyze", "--man=no", "verify", str(copy))[1]


@EACH_UNIT
@pytest.mark.servers("systemd")
def test_the_unit_exposes_little(file: Path, tmp_path: Path) -> None:
    code, said = lint(
        "systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", str(runnable(file, tmp_path))
    )
    assert code == 0, said


@EACH_UNIT
def test_the_unit_restarts_what_may_get_better(file: Path) -> None:
    sections = unit(file)
    service, limit = sections["Service"], sections["Unit"]
    assert service["Restart"] == "always"
    assert BadUsage.exit_code == ConfigInvalid.exit_code
    assert service["RestartPreventExitStatus"] == f"{ConfigInvalid.exit_code} {NameTaken.exit_code}"
    automatic = int(limit["StartLimitIntervalSec"]) / int(service["RestartSec"])
    assert automatic < int(limit["StartLimitBurst"]), "a long outage must not exhaust the limit"
    assert int(service["TimeoutStopSec"]) > 2 * limits.SHUTDOWN_SECONDS


@EACH_UNIT
def test_the_unit_keeps_its_state_where_readers_look(file: Path) -> None:
    service = unit(file)["Service"]
    environ = dict([service["Environment"].split("=", 1)])
    assert settings.Place(environ, is_root=False).state_directory == settings.SYSTEM_STATE
    assert f"/var/lib/{service['StateDirectory']}" == str(settings.SYSTEM_STATE)
    assert service["EnvironmentFile"] == f"-/etc/default/{file.stem}"
    assert f"/var/log/{service['LogsDirectory']}/*.log {{" in (ROOT / "deploy" / "logrotate" / "k3").read_text(encoding="utf-8")
    assert {unit(each)["Service"]["User"] for each in UNITS} == {"k3"}, "one user, or they cannot share a file"


@EACH_UNIT
def test_the_unit_starts_a_command_there_is(file: Path) -> None:
    words = shlex.split(unit(file)["Service"]["ExecStart"])
    assert words[0] == "/opt/k3/bin/k3"
    assert words[2:] == ["$K3_ARGS"]
    assert words[1] in cli.COMMANDS
