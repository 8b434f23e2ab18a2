"""The cluster's own certificate authority, and the certificates that it signs for servers.

Servers show their certificate to clients, and to each other in both directions; clients and engines show none, they
have passwords. The authority signs nothing else, so a program that trusts it trusts this cluster's servers alone. Keys
are ECDSA on P-256. What lives here: making them, as PEM. What may not: where they are kept.
"""

import datetime
import ipaddress
from collections.abc import Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from holdfast.domain.errors import InputError

VALIDITY_DAYS = 3650
_BACKDATED = datetime.timedelta(hours=1)
"""Certificates begin this much before now: clocks of machines differ."""
_COMMON_NAME_LENGTH_MAXIMUM = 64


class Certified(NamedTuple):
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def make_authority(cluster: str) -> Certified:
    """A new authority for a cluster of that name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"{cluster} authority")
    builder = _builder(name, name, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return _pem(builder.sign(key, hashes.SHA256()), key)


def certify_server(authority: Certified, server: str, hosts: Sequence[str]) -> Certified:
    """A certificate for a server, signed by the authority.

    Args:
        authority: Certificate and key, PEM.
        server: The server's name.
        hosts: Addresses and host names under which it is reached.

    Raises:
        InputError: The authority's files are not a certificate and a key.
    """
    signer, signing_key = _loaded(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(server), signer.subject, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    # Towards other servers it is a client too.
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    names = [_alternative(host) for host in dict.fromkeys(hosts)]
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return _pem(builder.sign(signing_key, hashes.SHA256()), key)


def hosts_of(certificate: bytes) -> frozenset[str]:
    """The addresses and host names of a server's certificate, PEM; none where it cannot be read."""
    try:
        extensions = x509.load_pem_x509_certificate(certificate).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return frozenset()
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return frozenset([*addresses, *names.get_values_for_type(x509.DNSName)])


def is_signed_by(certificate: bytes, authority: bytes) -> bool:
    """Whether a certificate (PEM) is signed by an authority's (PEM)."""
    try:
        leaf, signer = x509.load_pem_x509_certificate(certificate), x509.load_pem_x509_certificate(authority)
        leaf.verify_directly_issued_by(signer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - _BACKDATED)
    return builder.not_valid_after(now + datetime.timedelta(days=VALIDITY_DAYS))


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_COMMON_NAME_LENGTH_MAXIMUM])])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Certified:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    written = key.private_bytes(encoding, form, serialization.NoEncryption())
    return Certified(certificate.public_bytes(encoding), written)


def _loaded(authority: Certified) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(authority.certificate)
        key = serialization.load_pem_private_key(authority.key, None)
    except (ValueError, TypeError):
        advice = "put the authority's own files back"
        raise InputError("malformed", "authority", None, advice) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise InputError("malformed", "authority", None, "put the key back that belongs to its certificate")
    return certificate, key
