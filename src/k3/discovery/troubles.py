"""What goes wrong with Consul, in words that tell a person what to do: an answer that refuses, or none at all.

Unavailable: no answer came, or Consul says that it cannot answer now. Forbidden: the token or a certificate. Invalid: the
question, or the answer, is not what it should be.
"""

import errno
import os
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

from k3.agent.host_names import why_unknown
from k3.agent.http import HttpError, LongAnswer, NotHttp
from k3.core import limits
from k3.core.errors import Forbidden, Invalid, K3Error, NotFound, Unavailable
from k3.core.safe_text import one_line

_NOT_FOUND: Final = 404
_REDIRECTS: Final = range(300, 400)
_QUESTION_AT_FAULT: Final = frozenset({400, 405, 413, 414, 422, 431})
REFUSED: Final = frozenset({401, 403})
_REFUSALS: Final = ("permission denied", "acl not found", "acl token expired")


def refusal(status: int, body: bytes, where: str) -> K3Error:
    """Returns the error that an answer other than 200 stands for."""
    most = limits.CONSUL_MESSAGE_CHARACTERS
    text = one_line(body[: 4 * most].decode("utf-8", "replace").strip())[:most]
    if status in REFUSED or any(word in text.lower() for word in _REFUSALS):
        return Forbidden(f"Consul at {where} refuses the token ({text or status}); see --consul-token")
    if status == _NOT_FOUND:
        return NotFound(f"Consul at {where}: {text or 'not found'}")
    if "HTTP request to an HTTPS server" in text:
        return Invalid(f"{where} speaks TLS; write https:// or set CONSUL_HTTP_SSL=true")
    if status in _QUESTION_AT_FAULT:
        return Invalid(f"Consul at {where} does not take the request: {text or status}")
    if status in _REDIRECTS:
        return Invalid(f"{where} redirects elsewhere (HTTP {status}); is it the address of Consul's HTTP API?")
    return Unavailable(f"Consul at {where} cannot answer now: {text or f'HTTP {status}'}")


def no_answer(error: OSError | HttpError, where: str, *, waited_seconds: float) -> K3Error:
    """Returns the error that a failure of the HTTP client stands for."""
    match error:
        case TimeoutError():
            return Unavailable(f"Consul at {where} did not answer within {waited_seconds:.0f} s")
        case NotHttp():
            why = one_line(str(error))[:80]
            return Invalid(f"{where} does not speak HTTP ({why}); is it the address of Consul's HTTP API?")
        case LongAnswer():
            return Invalid(f"Consul at {where} gave {error}")
        case HttpError():
            return Unavailable(f"Consul at {where} closed the connection")
    return _unreachable(error, where)


def unfinished(where: str, *, after_seconds: float) -> Unavailable:
    """Returns the error of a list that has begun to come and does not end."""
    return Unavailable(f"Consul at {where} began a list and had not ended it {after_seconds:.0f} s later")


def _unreachable(error: OSError, where: str) -> K3Error:
    match error:
        case ssl.SSLCertVerificationError():
            why = one_line(error.verify_message)
            return Forbidden(f"{where}: its certificate is not trusted ({why}); give CONSUL_CACERT or CONSUL_TLS_SERVER_NAME")
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE" | "HTTP_REQUEST"):
            return Invalid(f"{where} does not speak TLS; write http:// or unset CONSUL_HTTP_SSL")
        case ssl.SSLError(reason=str(reason)):
            why = reason.lower().replace("_", " ")
            return Forbidden(f"{where}: TLS failed ({why}); does it want CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY?")
        case socket.gaierror():
            host = urlsplit(where).hostname or where
            return Unavailable(f"cannot reach Consul at {where}: {why_unknown(host, error)}; see --consul-addr, and your DNS")
        case PermissionError() if error.errno in {errno.EACCES, errno.EPERM}:
            return Forbidden(f"Consul at {where}: this user may not connect ({error.strerror})")
    why = os.strerror(error.errno).lower() if error.errno else error.strerror or "no answer"
    return Unavailable(f"cannot reach Consul at {where} ({one_line(why)}); is the agent running, is --consul-addr right?")
