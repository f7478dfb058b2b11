"""What keeps k3 from a Kubernetes API before it answers, in words that tell a person what to do: the network, TLS, time."""

import errno
import os
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

from k3.agent.host_names import why_unknown
from k3.agent.http import HttpError, LongAnswer, NotHttp
from k3.core.errors import Forbidden, K3Error, Unavailable
from k3.core.safe_text import one_line
from k3.stores.kubernetes.asking import Ask
from k3.stores.kubernetes.troubles import UNKNOWN, Asker, silent


def no_answer(error: OSError | HttpError, ask: Ask, asker: Asker) -> K3Error:
    """Returns the error that a failure of the HTTP client stands for."""
    found = _no_http(error, asker) if isinstance(error, HttpError) else _no_connection(error, asker)
    # Where there was no connection, nothing was sent.
    was_sent = isinstance(error, HttpError | TimeoutError | ConnectionResetError)
    return Unavailable(f"{found}{UNKNOWN}") if ask.is_write and was_sent else found


def _no_http(error: HttpError, asker: Asker) -> Unavailable:
    match error:
        case NotHttp():
            tls = "; is it https:// there?" if asker.url.startswith("http:") else ""
            return Unavailable(f"what answers at {asker.url} does not speak HTTP ({one_line(str(error))[:80]}){tls}")
        case LongAnswer():
            return Unavailable(f"{asker.api} gives {error}, more than k3 reads")
    return Unavailable(f"{asker.api} hung up before it had answered")


def _no_connection(error: OSError, asker: Asker) -> K3Error:
    match error:
        case TimeoutError():
            return Unavailable(silent(asker))
        case ssl.SSLCertVerificationError():
            return _no_trust(error, asker)
        case ssl.SSLError():
            return _no_tls(error, asker)
        case socket.gaierror():
            why = (
                f"{why_unknown(urlsplit(asker.url).hostname or asker.url, error)}): correct the server's name, or mend your DNS"
            )
        case PermissionError() if error.errno in {errno.EACCES, errno.EPERM}:
            why = "not permitted: a firewall of this machine?)"
        case _:
            told = os.strerror(error.errno).lower() if error.errno else error.strerror or "no answer"
            why = f"{one_line(told)}): is it running, is the address right?"
    return Unavailable(f"no Kubernetes API answers at {asker.url} ({why}")


_CERTIFICATE: Final = {
    9: "is not valid yet: is the clock of this machine, or the server's, right?",
    10: "has expired: renew it there; or is the clock of this machine wrong?",
    62: "is for another name: use a name that it lists, or set server_name",
    64: "is for another address: use one that it lists, or set server_name",
}
"""By the numbers of OpenSSL (X509_V_ERR_...), which Python hands on."""
_UNTRUSTED: Final = frozenset({2, 18, 19, 20, 21, 24, 79})
_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNEXPECTED_EOF_WHILE_READING"})


def _no_trust(error: ssl.SSLCertVerificationError, asker: Asker) -> Forbidden:
    why = _CERTIFICATE.get(error.verify_code)
    if error.verify_code in _UNTRUSTED:
        why = f"is not signed by a known CA: give its CA, as in {asker.url}?ca_file=/etc/k3/ca.crt"
    return Forbidden(f"the certificate of {asker.api} {why or f'is not trusted ({one_line(error.verify_message)})'}")


def _no_tls(error: ssl.SSLError, asker: Asker) -> K3Error:
    reason = str(error.reason or "")
    why = one_line(reason.lower().replace("_", " ")) or "no reason given"
    if reason in _NOT_TLS:
        return Unavailable(f"what answers at {asker.url} does not speak TLS, or hung up: is it http:// there?")
    if "ALERT" in reason:
        return Forbidden(f"{asker.api} refuses this client's certificate, or wants one ({why}): see cert_file and key_file")
    return Unavailable(f"TLS with {asker.url} failed ({why})")
