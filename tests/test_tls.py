"""A server's certificate is checked in the same way with every Python."""

import ssl

from k3.agent.tls import client_context


def test_a_certificate_is_checked_and_what_people_made_for_themselves_is_trusted_with_every_python() -> None:
    context = client_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT, "Python 3.13 demands more than 3.12"
