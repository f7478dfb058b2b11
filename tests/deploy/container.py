"""An image that runs on a host of the laboratory, as an engine would run it: as process 1, on a read-only root."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.deploy.image import Image
from tests.lab import Host, Process, until


class Container:
    """A started image. It ends with its host at the latest."""

    def __init__(
        self,
        host: Host,
        image: Image,
        argv: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        mounts: Mapping[Path, str] | None = None,
    ) -> None:
        """`argv` follows the entry point."""
        self._host = host
        self._image = image
        self._environ = environ or {}
        inside = image.command([*image.entrypoint, *argv], self._environ)
        self.process: Process = host.start(image.entering(inside, mounts=mounts, read_only=True, is_first=True))
        self.pid = int(until(self._first_process, what="process 1"))
        until(self._is_inside, what="process 1 inside")

    def execute(self, argv: Sequence[str], environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """As `docker exec`: one more process in it."""
        inside = self._image.command(argv, {**self._environ, **(environ or {})})
        return self._host.run(["nsenter", "--target", str(self.pid), "--mount", "--pid", "--root", "--", *inside])

    def is_healthy(self) -> bool:
        """What the image's own check says."""
        return self.execute(self._image.healthcheck).returncode == 0

    def stop(self) -> int:
        """SIGTERM for process 1, as `docker stop`, and its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait()

    def _is_inside(self) -> bool:
        assert self.process.running, self.process.text
        return Path(f"/proc/{self.pid}/root").samefile(self._image.root)

    def _first_process(self) -> str:
        above = self.process.pid
        assert self.process.running, self.process.text
        return Path(f"/proc/{above}/task/{above}/children").read_text(encoding="ascii").strip()
