"""`k3 token create`, `k3 token list` and `k3 token revoke`."""

import argparse
import asyncio
import json
from datetime import UTC, datetime
from typing import Any, Final

from k3.cli.flags import Parser, add_store_flags
from k3.cli.opening import no_store, open_existing, settings_for_reading
from k3.cli.terminal import answer, remark
from k3.cli.verbs import Verbs, run_verb
from k3.core.errors import ConfigInvalid, NotFound
from k3.core.node import valid_name
from k3.core.safe_text import printable
from k3.core.store import Store
from k3.server.access import tokens
from k3.server.access.identity import ROLES
from k3.server.access.tokens import Made, Token
from k3.settings import parsing
from k3.settings.structs import Settings, expected_name
from k3.stores import connect
from k3.view.table import Table

HELP: Final = """\
usage: k3 token create --role ROLE [flags]
       k3 token list [flags]
       k3 token revoke ID… [flags]

  create   make a token for the Kubernetes API, and print it: this once
  list     show which tokens there are, never the tokens themselves
  revoke   have a token refused from now on, and end what is under way with it

Run "k3 token create --help" for the flags.

examples:
  k3 token create --role view --ttl 24h
  k3 token create --role agent --node web1
  k3 token revoke 3f9a01c2b4
"""
_API: Final = "kubernetes"
"""The type of a store that is a server itself: its tokens are in the store behind it, and are not served (ADR 52)."""
_EXAMPLES: Final = {
    "create": "  k3 token create --role view --ttl 24h\n  k3 token create --role agent --node web1",
    "list": "  k3 token list\n  k3 token list -o json",
    "revoke": "  k3 token revoke 3f9a01c2b4",
}


def run(arguments: list[str]) -> int:
    """Runs one of them. Raises what they raise, and BadUsage."""
    return run_verb("token", _VERBS, arguments, about=HELP)


def add_role_flags(parser: Any, *, default: str = "") -> None:  # noqa: ANN401 - a parser or one of its groups
    """Adds what a new token is to be. Without a default the role has to be given."""
    told = f" ({default})" if default else ""
    parser.add_argument(
        "--role",
        choices=ROLES,
        required=not default,
        default=default or None,
        help=f"view: read; agent: what agents write; admin: all{told}",
    )
    parser.add_argument("--node", metavar="NAME", default="", help="with --role agent: the agent of this machine alone")
    parser.add_argument("--ttl", metavar="TIME", default="0", help="how long it holds, as in 24h (0: until it is revoked)")


async def made(store: Store, chosen: argparse.Namespace) -> Made:
    """Makes the token that the flags of `add_role_flags` ask for, and stores it."""
    check_role(chosen)
    found = tokens.make(chosen.role, chosen.node, now=datetime.now(UTC), ttl_seconds=ttl_seconds(chosen))
    await tokens.keep(store, found.token)
    return found


def check_role(chosen: argparse.Namespace) -> None:
    """Raises ConfigInvalid where the flags do not go together."""
    if chosen.node and chosen.role != "agent":
        msg = "--node: only with --role agent, whose token may be for one machine alone"
        raise ConfigInvalid(msg)
    if chosen.node and not valid_name(chosen.node):
        where = "--node"
        raise parsing.bad_value(where, chosen.node, expected_name(chosen.node))
    ttl_seconds(chosen)


def ttl_seconds(chosen: argparse.Namespace) -> float:
    """Returns how long a new token is to hold; 0: for ever. Raises ConfigInvalid."""
    seconds = parsing.duration(chosen.ttl, "--ttl")
    if 0 < seconds < 1:
        where = "--ttl"
        raise parsing.bad_value(where, chosen.ttl, "1s or more, or 0 for ever")
    return seconds


async def open_for_tokens(settings: Settings) -> Store:
    """Returns the store that a server is to read tokens from; made where it is not there. Raises ConfigInvalid."""
    _check_has_tokens(settings)
    return await connect(settings.storage)


def _check_has_tokens(settings: Settings) -> None:
    """Raises ConfigInvalid for a store in which no server could find a token."""
    storage = settings.storage
    if storage.is_private:
        msg = f"--store: no server could read a token from {storage.url}: name the store of the server"
        raise ConfigInvalid(msg)
    if storage.type == _API:
        msg = f"--store: tokens are not served over the Kubernetes API at {storage.url}: name the store of the server there"
        raise ConfigInvalid(msg)


def _run_create(arguments: list[str]) -> int:
    parser = Parser(
        "token create", "Make a token for the Kubernetes API, and print it: this once.", examples=_EXAMPLES["create"]
    )
    add_role_flags(parser)
    add_store_flags(parser)
    return asyncio.run(_create(parser.parse_args(arguments)))


async def _create(chosen: argparse.Namespace) -> int:
    check_role(chosen)
    store = await open_for_tokens(settings_for_reading(chosen))
    try:
        found = await made(store, chosen)
    finally:
        await store.aclose()
    answer(f"{found.text}\n")
    remark(f"k3: token {found.token.id} is shown this once; k3 token revoke {found.token.id} ends it")
    return 0


def _run_list(arguments: list[str]) -> int:
    parser = Parser("token list", "Show which tokens there are, never the tokens themselves.", examples=_EXAMPLES["list"])
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="table or json (table)")
    add_store_flags(parser)
    return asyncio.run(_list(parser.parse_args(arguments)))


async def _list(chosen: argparse.Namespace) -> int:
    settings = settings_for_reading(chosen)
    _check_has_tokens(settings)
    store = await open_existing(settings)
    try:
        found = sorted(await tokens.kept(store), key=lambda token: (token.created, token.id)) if store else []
    finally:
        if store is not None:
            await store.aclose()
    if chosen.output == "json":
        answer(json.dumps([{"id": each.id, **each.spec()} for each in found], indent=2) + "\n")
    elif found:
        now = datetime.now(UTC)
        rows = [[each.id, each.role, each.node or "-", each.created, _end(each, now)] for each in found]
        answer(Table(("ID", "ROLE", "NODE", "CREATED", "EXPIRES"), headers=True).text(rows))
    else:
        remark("k3: there are no tokens. Make one with: k3 token create --role view")
    return 0


def _end(token: Token, now: datetime) -> str:
    if not token.expires:
        return "never"
    return f"{token.expires} (over)" if token.is_over(now) else token.expires


def _run_revoke(arguments: list[str]) -> int:
    parser = Parser("token revoke", "Have a token refused from now on.", examples=_EXAMPLES["revoke"])
    parser.add_argument("ids", nargs="+", metavar="ID", help="which, as k3 token list shows it")
    add_store_flags(parser)
    return asyncio.run(_revoke(parser.parse_args(arguments)))


async def _revoke(chosen: argparse.Namespace) -> int:
    """Revokes each. A whole token is taken for its id: whoever has it at hand need not look the id up."""
    settings = settings_for_reading(chosen)
    _check_has_tokens(settings)
    store = await open_existing(settings)
    if store is None:
        raise no_store(settings)
    missing = []
    try:
        for word in dict.fromkeys(chosen.ids):
            id_ = tokens.id_of(word) or word
            try:
                await tokens.revoke(store, id_)
            except NotFound:
                missing.append(printable(id_, limit=20))
            else:
                answer(f'token "{printable(id_)}" revoked\n')
    finally:
        await store.aclose()
    if missing:
        msg = f"no token {', '.join(missing)}; k3 token list shows those there are"
        raise NotFound(msg)
    return 0


_VERBS: Final[Verbs] = {"create": _run_create, "list": _run_list, "revoke": _run_revoke}
