"""Where `k3 server` answers otherwise than a kube-apiserver, and why. Each row is one request.

It is named by its scene, and by its number there.
"""

from collections.abc import Mapping
from typing import Final

NOT_SERVED: Final[Mapping[tuple[str, int], str]] = {}
