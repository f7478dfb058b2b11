"""Where a server of this machine is: what its own record says, else where the configuration has one listen."""

import argparse
import os
from typing import Final
from urllib.parse import urlsplit

from k3.cli.flags import values_of
from k3.core import limits
from k3.core.addresses import authority
from k3.daemon import served
from k3.server.access.settings import AccessSettings
from k3.settings import options
from k3.settings.load import here
from k3.settings.structs import Settings

ASK_SECONDS: Final = 2.0


def candidates(chosen: argparse.Namespace, settings: Settings) -> list[str]:
    """Returns the URLs where a server may be, the likeliest first. Raises ConfigInvalid."""
    said = values_of(chosen, options.SERVER, settings, os.environ, section="server")
    access = AccessSettings.parse(said)
    listen = access.listen
    configured = f"{'https' if access.tls else 'http'}://{authority(listen.local_host, listen.port)}"
    place = here()
    recorded = served.found([place.state_directory, place.system_state])
    return list(dict.fromkeys([configured, *recorded] if said.is_given("listen") else [*recorded, configured]))


async def find(urls: list[str]) -> str:
    """Returns the first of these where a server of k3 answers; empty: none does."""
    for url in urls:
        if await _answers(url):
            return url
    return ""


async def _answers(url: str) -> bool:
    from k3.agent import http  # noqa: PLC0415 - its parser of HTTP is loaded only where a server is asked
    from k3.agent.tls import client_context  # noqa: PLC0415 - ssl is loaded only where a server is asked

    try:
        parts = urlsplit(url)
        # Whether one is there, and nothing else, is asked: whose certificate it shows, the browser judges.
        tls = client_context(check="nothing") if parts.scheme == "https" else None
        server = http.Server(host=parts.hostname or "", port=parts.port or 0, tls=tls)
        answer = await http.get(server, "/livez", timeout_seconds=ASK_SECONDS, answer_bytes=limits.INFO_BYTES)
    except (OSError, http.HttpError, ValueError):
        return False
    return answer.headers.get("server") == "k3"
