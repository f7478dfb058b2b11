"""`k3 store check` and `k3 store copy FROM TO`."""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterable
from typing import Final
from uuid import uuid4

from k3.cli.flags import Parser, add_log_flags, add_store_flags
from k3.cli.opening import no_store, open_existing, settings_for_reading
from k3.cli.terminal import answer, draw, remark
from k3.cli.verbs import Verbs, run_verb
from k3.core.errors import Forbidden
from k3.core.objects import NODE, TOKEN, Key, Kind
from k3.core.safe_text import one_line
from k3.core.store import Store
from k3.settings.structs import Settings
from k3.stores import connect
from k3.stores.check import Findings, check
from k3.stores.copying import Copied, Progress, copy

HELP: Final = """\
usage: k3 store check [flags]
       k3 store copy FROM TO [flags]

  check    connect, and say what the store is and whether it can be used from here
  copy     copy every object from one store into another, of whatever types; may be repeated

Run "k3 store check --help" or "k3 store copy --help" for the flags.

examples:
  k3 store check --store etcd://10.0.0.5:2379
  k3 store copy sqlite:///var/lib/k3/k3.db etcd://10.0.0.5:2379
"""
_CHECK_EXAMPLES: Final = """\
  k3 store check
  K3_STORE_PASSWORD=... k3 store check --store mysql://k3@db.example/k3"""
_COPY_EXAMPLES: Final = """\
  k3 store copy sqlite:///var/lib/k3/k3.db etcd://10.0.0.5:2379
  k3 store copy mysql://k3@db.example/k3 sqlite:///tmp/k3.db"""
_BAR: Final = 40


def run(arguments: list[str]) -> int:
    """Runs `check` or `copy`. Raises what they raise, and BadUsage."""
    return run_verb("store", _VERBS, arguments, about=HELP)


def _run_check(arguments: list[str]) -> int:
    parser = Parser("store check", "Say what the store is and whether it can be used from here.", examples=_CHECK_EXAMPLES)
    parser.add_argument("--read-only", action="store_true", help="do not try to write (one Lease, deleted again)")
    add_store_flags(parser)
    return asyncio.run(_check(parser.parse_args(arguments)))


async def _check(chosen: argparse.Namespace) -> int:
    settings = settings_for_reading(chosen)
    began = time.monotonic()
    store = await _existing(settings)
    connected = time.monotonic() - began
    try:
        probe = "" if chosen.read_only else f"k3-store-check-{uuid4()}"
        found = await check(store, probe=probe, clock=time.monotonic)
    finally:
        await store.aclose()
    lines = _lines(found, connected_seconds=connected, tried=not chosen.read_only)
    answer("".join(f"{name:<12}{one_line(text)}\n" for name, text in lines))
    if found.refusal:
        raise Forbidden(found.refusal)
    return 1 if found.unreadable else 0


def _lines(found: Findings, *, connected_seconds: float, tried: bool) -> Iterable[tuple[str, str]]:
    yield "store", found.url
    yield "id", found.id
    yield from found.facts.items()
    yield "revision", str(found.revision)
    yield "objects", ", ".join(f"{number} {kind.plural}" for kind, number in found.counts.items())
    for key, why in found.unreadable.items():
        yield "unreadable", f"{key}: {why}; repair it, or remove it{_removal(key)}"
    writing = "not tried" if not tried else "no" if found.refusal else "yes"
    yield "rights", f"read: yes, write: {writing}"
    yield "round trip", f"{found.round_trip_seconds * 1e3:.1f} ms, connected in {connected_seconds * 1e3:.0f} ms"


def _removal(key: Key) -> str:
    command = {NODE: "k3 delete node", TOKEN: "k3 token revoke"}.get(key.kind)
    return f": {command} {key.name}" if command else ""


def _run_copy(arguments: list[str]) -> int:
    parser = Parser("store copy", "Copy every object from one store into another.", examples=_COPY_EXAMPLES)
    parser.add_argument("source", metavar="FROM", help="URL of the store to read")
    parser.add_argument("target", metavar="TO", help="URL of the store to write; made if it is not there")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there already and differs; else it is left")
    parser.add_argument("--config", metavar="FILE", help="configuration file with the passwords of both (CONFIG_PATH)")
    add_log_flags(parser)
    return asyncio.run(_copy(parser.parse_args(arguments)))


async def _copy(chosen: argparse.Namespace) -> int:
    source = await _existing(_settings_of(chosen, chosen.source))
    try:
        target = await connect(_settings_of(chosen, chosen.target).storage)
        try:
            done = await copy(source, target, progress=_progress(), overwrite=chosen.overwrite)
        finally:
            await target.aclose()
    finally:
        await source.aclose()
    for kind, copied in done.items():
        answer(f"{_sentence(kind, copied)}\n")
    return 0


_MAKING: Final[dict[Kind, str]] = {TOKEN: "; make them at the store behind it: k3 token create"}


def _sentence(kind: Kind, copied: Copied) -> str:
    if copied.left_out:
        return f"{kind.plural}: {copied.left_out} left out, as the target keeps none{_MAKING.get(kind, '')}"
    if not copied.counts:
        return f"{kind.plural}: none, and the target keeps none"
    counts = copied.counts
    did = f"{counts['created']} created, {counts['updated']} updated, {counts['same']} already there"
    left = (
        f"; left as they are in the target, and different: {counts['left']} (--overwrite replaces them)"
        if counts["left"]
        else ""
    )
    unreadable = f"; left out, since they cannot be read: {copied.unreadable}" if copied.unreadable else ""
    others = f"; the target has {copied.others} others" if copied.others else ""
    return f"{kind.plural}: {copied.total} copied and verified ({did}){left}{unreadable}{others}"


def _settings_of(chosen: argparse.Namespace, url: str) -> Settings:
    return settings_for_reading(argparse.Namespace(**{**vars(chosen), "store": url}))


async def _existing(settings: Settings) -> Store:
    store = await open_existing(settings)
    if store is None:
        raise no_store(settings)
    return store


def _progress() -> Progress:
    """Draws a bar on a terminal, nothing elsewhere."""
    return _draw if sys.stderr.isatty() else _keep_quiet


def _keep_quiet(_done: int, _total: int) -> None:
    return


def _draw(done: int, total: int) -> None:
    filled = _BAR * done // total if total else _BAR
    draw(f"\r[{'#' * filled}{'.' * (_BAR - filled)}] {done}/{total}")
    if done >= total:
        remark("")


_VERBS: Final[Verbs] = {"check": _run_check, "copy": _run_copy}
