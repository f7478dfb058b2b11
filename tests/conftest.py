"""What every test has: needs that are checked by name, a LAN on request, and a look at what was left behind."""

import collections
import gc
import signal
from collections.abc import Callable, Iterator

import hypothesis
import pytest

from tests import needs
from tests.lab import Lan
from tests.lab.namespace import Namespace, left_open
from tests.servers.server import Server, left_running


def pytest_configure() -> None:
    """What a script runs in the background, or under nohup, as CI may, ignores signals, and so would all that a test starts."""
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    # How fast examples are made says how busy the machine is, and nothing about k3.
    hypothesis.settings.register_profile("k3", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
    hypothesis.settings.load_profile("k3")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take longest begin first, so that no worker is left with them at the end while the others have none.

    That is the tests of real hosts, which work, and evenly among them those with Consul, which wait.
    """
    busy, waiting = [], []
    for item in items:
        if item.get_closest_marker(needs.NETNS):
            busy.append(item)
        elif any("consul" in each.args for each in item.iter_markers("servers")):
            waiting.append(item)
    places = {item: (place + 0.5) / len(kind) for kind in (busy, waiting) for place, item in enumerate(kind)}
    items.sort(key=lambda item: places.get(item, 1.0))


def pytest_collection_finish() -> None:
    """Modules and tests stay until the process ends: looking for garbage among them is a sixth of what the fast tests cost."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def pytest_report_header() -> list[str]:
    """Which servers this run is about."""
    return [f"server: {version}" for version in needs.versions()]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hold a test to its `servers(...)` and `netns` marks before any fixture starts something."""
    for mark in item.iter_markers("servers"):
        for name in mark.args:
            needs.require(name)
    if item.get_closest_marker(needs.NETNS):
        needs.require(needs.NETNS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name and count what this machine could not run: a green run that ran half says so."""
    by_need = collections.defaultdict(list)
    for report in terminalreporter.getreports("skipped"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        _, found, need = reason.partition(needs.MARK)
        if found:
            by_need[need].append(report.nodeid)
    if by_need:
        terminalreporter.section("not run on this machine")
        for need, names in sorted(by_need.items()):
            terminalreporter.write_line(f"{len(names)} for want of {need}:")
            for name in names:
                terminalreporter.write_line(f"  {name}")


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Fails the last test of a process that leaves a host or a server running, after ending it."""
    yield
    leaks: list[Namespace | Server] = [*left_open(), *left_running()]
    for leak in leaks:
        leak.close()
    assert not leaks, f"left behind: {', '.join(leak.name for leak in leaks)}"


@pytest.fixture
def require_server() -> Callable[[str], None]:
    """`require_server("etcd")`: for a test that learns what it needs while running."""
    return needs.require


@pytest.fixture
def lan() -> Iterator[Lan]:
    """A network 10.77.1.0/24 of its own; hosts by `lan.host("a")`."""
    needs.require(needs.NETNS)
    with Lan() as network:
        yield network
