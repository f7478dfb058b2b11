"""The authority of the server, which makes its certificate and those of clients (X.509, RFC 5280). No I/O.

All keys are of ECDSA P-256, which every client knows. A certificate begins an hour before the clock says that it is made, for
clients whose clock is behind.
"""

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from k3.core.addresses import parse_address
from k3.server.access.pair import NAME_CHARACTERS, Pair

BEGINS_BEFORE: Final = timedelta(days=1)
AUTHORITY_DAYS: Final = 3_650
SERVER_DAYS: Final = 365
RENEWED_BEFORE: Final = timedelta(days=90)
_NEVER_BEFORE: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""No clock that is right shows less. An authority holds from then on, and for ten years at the least: one that was made while
the clock was wrong need not be replaced, and every client's trust with it."""
_KEY_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def new_authority(host: str, now: datetime) -> Pair:
    """Makes an authority, which may certify servers and clients, and no other authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"k3 server {host}"[:NAME_CHARACTERS], ())
    ends = max(now, _NEVER_BEFORE) + timedelta(days=AUTHORITY_DAYS)
    builder = _builder(name, name, key.public_key(), min(now, _NEVER_BEFORE), ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage("digital_signature", "key_cert_sign", "crl_sign"), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Pair(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))


def server_pair(authority: Pair, names: Iterable[str], now: datetime) -> Pair:
    """Makes a server's certificate for these host names and addresses."""
    subjects = x509.SubjectAlternativeName([_subject(each) for each in names])
    return _issued(
        authority, _name("k3-server", ()), ExtendedKeyUsageOID.SERVER_AUTH, now, now + timedelta(days=SERVER_DAYS), subjects
    )


def client_pair(authority: Pair, name: str, organizations: Iterable[str], now: datetime, *, ttl: timedelta) -> Pair:
    """Makes a client's certificate: its user is `name`, and in these groups."""
    return _issued(authority, _name(name, organizations), ExtendedKeyUsageOID.CLIENT_AUTH, now, now + ttl, None)


def is_fit(authority: Pair, certificate: str, names: Iterable[str], now: datetime) -> bool:
    """Whether a server's certificate is of this authority, for these names, and far from its end."""
    try:
        issuer, found = (x509.load_pem_x509_certificate(each.encode()) for each in (authority.certificate, certificate))
        found.verify_directly_issued_by(issuer)
        subjects = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, LookupError, x509.ExtensionNotFound, InvalidSignature):
        return False
    begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    return set(subjects) == {_subject(each) for each in names} and begins <= now < ends - RENEWED_BEFORE


def is_authority(pair: Pair, now: datetime) -> bool:
    """Whether this can be read and may still certify."""
    try:
        found = x509.load_pem_x509_certificate(pair.certificate.encode())
        key = _key(pair)
    except (ValueError, TypeError):
        return False
    return found.public_key() == key.public_key() and now < found.not_valid_after_utc


def _issued(
    authority: Pair,
    subject: x509.Name,
    usage: x509.ObjectIdentifier,
    begins: datetime,
    ends: datetime,
    names: x509.SubjectAlternativeName | None,
) -> Pair:
    issuer, issuer_key = x509.load_pem_x509_certificate(authority.certificate.encode()), _key(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(subject, issuer.subject, key.public_key(), begins, min(ends, issuer.not_valid_after_utc))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage("digital_signature"), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return Pair(_pem(builder.sign(issuer_key, hashes.SHA256())), _key_pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - BEGINS_BEFORE).not_valid_after(ends)


def _name(common: str, organizations: Iterable[str]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _subject(text: str) -> x509.GeneralName:
    address = parse_address(text)
    return x509.DNSName(text) if address is None else x509.IPAddress(ipaddress.ip_address(str(address)))


def _usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in names for name in _KEY_USAGES})


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _key(pair: Pair) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pair.key.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        msg = "not a key of ECDSA"
        raise TypeError(msg)
    return key
