"""`k3 open`: shows the machines in a browser, or says where they are."""

import asyncio
import os
import shutil
import subprocess
import webbrowser
from typing import Final
from urllib.parse import urlsplit

from k3.cli import serving
from k3.cli.flags import Parser, add_options, add_store_flags
from k3.cli.opening import settings_for_reading
from k3.cli.terminal import answer, remark
from k3.core.errors import Unavailable
from k3.core.safe_text import one_line
from k3.settings import options

_OPENER: Final = "xdg-open"
_OPENER_SECONDS: Final = 5.0
_EXAMPLES: Final = """\
  k3 open
  k3 open --print
  k3 open --listen 10.0.0.5:8443"""


def parser() -> Parser:
    """Returns the flags of `k3 open`."""
    flags = Parser("open", "Show the machines in a browser: the page that k3 up and k3 server have at /.", examples=_EXAMPLES)
    flags.add_argument("--print", action="store_true", help="only say where the page is")
    add_options(flags.add_argument_group("server"), [each for each in options.SERVER if each.name in {"listen", "tls"}])
    add_store_flags(flags)
    return flags


def run(arguments: list[str]) -> int:
    """Opens the page. Raises Unavailable where no server answers."""
    chosen = parser().parse_args(arguments)
    settings = settings_for_reading(chosen)
    urls = serving.candidates(chosen, settings)
    if not (url := asyncio.run(serving.find(urls))):
        places = " and ".join(one_line(each) for each in urls)
        msg = f"no server of k3 answers at {places}. Start one with: {settings.reader.command('up')}"
        raise Unavailable(msg)
    page = f"{url}/"
    answer(f"{one_line(page)}\n")
    if url.startswith("https:"):
        remark(f"k3: the page asks for a token, which this makes: {settings.reader.command('token create --role view')}")
    if chosen.print or (has_desktop() and _opened(page)):
        return 0
    if is_remote() and (port := urlsplit(url).port) and (urlsplit(url).hostname or "") in {"127.0.0.1", "::1"}:
        remark(
            f"k3: from your own machine: ssh -L {port}:127.0.0.1:{port} {os.uname().nodename}, then open the same link there"
        )
    return 0


def is_remote() -> bool:
    """Whether the person sits at another machine, as SSH says."""
    return bool(os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"))


def has_desktop() -> bool:
    """Whether there is a screen before the person that a browser can open on."""
    return not is_remote() and bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _opened(page: str) -> bool:
    """Opens a page on the desktop, as the desktop or BROWSER says; returns whether that went well."""
    if os.environ.get("BROWSER") or not (opener := shutil.which(_OPENER)):
        return webbrowser.open(page)
    quiet = subprocess.DEVNULL
    try:
        # A session of its own, since it may be the browser itself, which goes on when k3 and its terminal have ended.
        opening = subprocess.Popen([opener, page], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)  # noqa: S603 - the page is this machine's own
        return opening.wait(_OPENER_SECONDS) == 0
    except subprocess.TimeoutExpired:
        return True
    except OSError:
        return False
