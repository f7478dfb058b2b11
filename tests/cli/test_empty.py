"""What is said of an empty store: whoever types the command that it names meets the very same store."""

import shlex
from pathlib import Path

import pytest

from k3.cli.empty import nothing
from k3.cli.opening import no_store
from k3.settings.load import Flags, Place, load
from k3.settings.structs import Settings

ETCD = "etcd://root@10.0.0.5:2379,10.0.0.6:2379/team-a?ca_file=/etc/k3/ca.pem&cert_file=/c.pem&key_file=/k.pem"


def settings(tmp_path: Path, flags: Flags, **environ: str) -> Settings:
    return load(flags, Place({"HOME": str(tmp_path), **environ}, is_root=False, system_state=tmp_path), reading=True)


async def told(found: Settings) -> list[str]:
    """The words of the command that the hint names."""
    said = await nothing(found, None, selector="", is_empty=True)
    return shlex.split(said.partition("Start one with: ")[2])


@pytest.mark.parametrize("url", [ETCD, "etcd://10.0.0.5:2379/team-a", "sqlite:///srv/my list.db", "mysql://k3@db:3307/fleet"])
async def test_the_command_leads_to_the_same_store(tmp_path: Path, url: str) -> None:
    words = await told(settings(tmp_path, Flags(store=url)))
    assert words == ["k3", "network", "--store", url]
    again = settings(tmp_path, Flags(store=words[3]))
    assert again.storage == settings(tmp_path, Flags(store=url)).storage


async def test_a_store_that_the_environment_or_the_file_names_is_named_so_that_it_is_found(tmp_path: Path) -> None:
    assert await told(settings(tmp_path, Flags(), K3_STORE=ETCD)) == ["k3", "network", "--store", ETCD]
    file = tmp_path / "k3.yaml"
    file.write_text("storage: {type: etcd, etcd: {endpoints: ['http://h:2379'], username: u, password: p, prefix: /team-a}}")
    assert await told(settings(tmp_path, Flags(config=str(file)))) == ["k3", "network", "--config", str(file)]
    assert await told(settings(tmp_path, Flags())) == ["k3", "network"]


async def test_a_password_is_asked_for_and_not_shown(tmp_path: Path) -> None:
    found = settings(tmp_path, Flags(store="etcd://root:hunter2@h:2379/team-a"))
    assert await told(found) == ["K3_STORE_PASSWORD=...", "k3", "network", "--store", "etcd://root@h:2379/team-a"]


async def test_a_file_that_is_not_there_names_the_whole_store_too(tmp_path: Path) -> None:
    said = str(no_store(settings(tmp_path, Flags(store="sqlite:///srv/my list.db"))))
    assert said == "no store at sqlite:///srv/my list.db. Make it with: k3 network --store 'sqlite:///srv/my list.db'"
