"""What is said of a TLS handshake that failed: whose it was, why, and what that client needs (ADR 46 says how often)."""

import logging
import ssl
from typing import Final

from k3.core.addresses import network_of

_REASONS: Final = (
    (("HTTP_REQUEST",), "it asked without TLS: use https:// there"),
    (
        ("ALERT_UNKNOWN_CA", "ALERT_CERTIFICATE_UNKNOWN", "ALERT_BAD_CERTIFICATE"),
        "it does not trust this server's certificate: k3 kubeconfig writes a file that does",
    ),
    (("CERTIFICATE_VERIFY_FAILED",), "its certificate is not of this server's client CA, or is over"),
    (("UNSUPPORTED_PROTOCOL", "NO_SHARED_CIPHER"), "it speaks only versions or ciphers of TLS that are too old"),
    (("WRONG_VERSION", "LENGTH", "RECORD_LAYER", "UNEXPECTED_MESSAGE"), "what it sent is not TLS"),
)
_HUNG_UP: Final = "it hung up, or sent nothing, before the handshake was done: a port scan, or a client that gave up"

log = logging.getLogger(__name__)


def told(address: str, error: OSError) -> None:
    """Logs that there was no handshake with a client."""
    fields = {"from": network_of(address), "why": _why(error)}
    log.warning("api.no_handshake", extra={"fields": fields})


def _why(error: OSError) -> str:
    reason = error.reason or "" if isinstance(error, ssl.SSLError) else ""
    for marks, why in _REASONS:
        if any(mark in reason for mark in marks):
            return why
    return f"TLS failed ({reason.lower().replace('_', ' ')})" if reason and "EOF" not in reason else _HUNG_UP
