"""Where this machine's servers are: a file in the state directory says it while one runs, for `k3 open` and `k3 status`.

It is a hint: whoever reads it asks at the address whether a server answers. A server that was killed leaves its file behind,
until the next one of that network namespace starts.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from k3.daemon.lock import namespace

_FILE: Final = "served-at.{namespace}.json"
_BYTES: Final = 4_096


@contextmanager
def recorded(state_dir: Path, url: str) -> Iterator[None]:
    """Says where the server is while the block runs. A disk that takes no file costs only the hint."""
    path = state_dir / _FILE.format(namespace=namespace("net"))
    said = json.dumps({"url": url, "pid": os.getpid()})
    with suppress(OSError):
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(said, encoding="ascii")
        new.replace(path)
    try:
        yield
    finally:
        with suppress(OSError):
            if path.read_text(encoding="ascii") == said:  # else another server has started since
                path.unlink()


def found(state_dirs: Iterable[Path]) -> list[str]:
    """Returns the URLs that are recorded there for this network namespace; odd files are passed over."""
    urls = []
    for directory in dict.fromkeys(state_dirs):
        with suppress(OSError, ValueError):
            with (directory / _FILE.format(namespace=namespace("net"))).open("rb") as file:
                document = json.loads(file.read(_BYTES))
            if isinstance(document, dict) and isinstance(url := document.get("url"), str):
                urls.append(url)
    return urls
