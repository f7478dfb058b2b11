"""`k3 kubeconfig`: prints the file by which kubectl and other clients reach `k3 server`."""

import argparse
import asyncio
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from k3.cli.flags import Parser, add_options, add_store_flags, values_of
from k3.cli.opening import require_server_packages, settings_for_reading
from k3.cli.terminal import answer, remark
from k3.cli.token import add_role_flags, check_role, made, open_for_tokens, ttl_seconds
from k3.core.addresses import authority, parse_address
from k3.core.errors import ConfigInvalid, StartFailed
from k3.server.access import kubeconfig
from k3.server.access.identity import of_token
from k3.server.access.settings import AccessSettings
from k3.settings import options, parsing
from k3.settings.load import here
from k3.settings.structs import Settings
from k3.view.documents import as_yaml

_EXAMPLES: Final = """\
  k3 kubeconfig > k3.yaml && kubectl --kubeconfig k3.yaml get nodes
  k3 kubeconfig --server https://hub.example:8443 --role view --ttl 24h
  k3 kubeconfig --certificate --role agent --node web1 --ttl 8760h"""
_CERTIFICATE_SECONDS: Final = 365 * 24 * 3600.0


def run(arguments: list[str]) -> int:
    """Prints it. Raises ConfigInvalid, StartFailed, and what the store raises."""
    parser = Parser("kubeconfig", "Print a kubeconfig for k3 server, with everything in it.", examples=_EXAMPLES)
    parser.add_argument("--server", metavar="URL", default="", help="as clients reach it (from --listen)")
    parser.add_argument("--ca-file", metavar="FILE", default="", help="whom clients trust (the server's own authority)")
    user = parser.add_argument_group("user", "a new token, unless one is given")
    user.add_argument("--token", metavar="TOKEN", default="", help="a token that is there already")
    user.add_argument("--certificate", action="store_true", help="a client certificate: it cannot be revoked")
    add_role_flags(user, default="admin")
    add_options(parser.add_argument_group("server"), options.SERVER)
    add_store_flags(parser)
    return asyncio.run(_print(parser.parse_args(arguments)))


async def _print(chosen: argparse.Namespace) -> int:
    check_role(chosen)
    settings = settings_for_reading(chosen)
    access = AccessSettings.parse(values_of(chosen, options.SERVER, settings, os.environ, section="server"))
    server = chosen.server or _url(access)
    parts = _parsed(server)
    if parts == "http":
        remark("k3: without TLS clients send no token; the server takes them for the user of this machine that they run as")
        answer(as_yaml(kubeconfig.config(server)))
        return 0
    document = kubeconfig.config(server, ca=_ca(chosen.ca_file, access), user=await _user(chosen, settings))
    answer(as_yaml(document))
    return 0


def _url(access: AccessSettings) -> str:
    host = access.listen.host
    address = parse_address(host)
    if address is None or address.is_unspecified:
        host = socket.gethostname()
    return f"{'https' if access.tls else 'http'}://{authority(host, access.listen.port)}"


def _parsed(server: str) -> str:
    """Returns the scheme. Raises ConfigInvalid for what no client can reach."""
    try:
        parts = urlsplit(server)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and not parts.username
    except ValueError:
        fits = False
        parts = urlsplit("")
    if not fits:
        where = "--server"
        raise parsing.bad_value(where, server, "a URL such as https://hub.example:8443")
    return parts.scheme


def _ca(file: str, access: AccessSettings) -> str:
    """Returns whom clients trust: the authority of the server's own, where it shows a certificate of that."""
    if file:
        return _text(Path(file), "--ca-file")
    return "" if access.cert_file else _text(_directory() / "ca.crt", "")


def _text(path: Path, flag: str) -> str:
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        why = "it is not there"
        hint = "start k3 server once, or name the file with --ca-file"
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not in PEM format"
        hint = "run this as the user that runs k3 server, or name the file with --ca-file"
    msg = f"{flag}: cannot read {path}: {why}" if flag else f"cannot read {path}: {why}; {hint}"
    raise (ConfigInvalid if flag else StartFailed)(msg)


def _directory() -> Path:
    require_server_packages()
    from k3.server.access.certificates import DIRECTORY  # noqa: PLC0415 - cryptography is loaded only where it is used

    return here().state_directory / DIRECTORY


async def _user(chosen: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    if chosen.token:
        return kubeconfig.by_token(chosen.token)
    if chosen.certificate:
        from k3.server.access.certificates import own_client  # noqa: PLC0415 - see above

        ttl = timedelta(seconds=ttl_seconds(chosen) or _CERTIFICATE_SECONDS)
        name = of_token(socket.gethostname(), chosen.role, chosen.node)
        pair = own_client(_directory(), name, datetime.now(UTC), ttl=ttl)
        return kubeconfig.by_certificate(pair.certificate, pair.key)
    store = await open_for_tokens(settings)
    try:
        found = await made(store, chosen)
    finally:
        await store.aclose()
    remark(f"k3: it holds the new token {found.token.id}, which k3 token revoke {found.token.id} ends")
    return kubeconfig.by_token(found.text)
