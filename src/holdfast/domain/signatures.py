"""Signatures of replicas: Ed25519 with one acceptance rule.

Theory of operation. RFC 8032 leaves open whether a verifier multiplies its equation by the cofactor, and libraries
differ in which encodings of points they take. A vote that one replica accepts and another refuses would split the
state, so exactly one rule holds. The equation is S·B = R + k·A without the cofactor, compared as the bytes of R, with
S below the group's order: what OpenSSL does behind `cryptography`. What OpenSSL leaves to its caller is refused
here: a key that is not the canonical encoding of its point, and one of the points of small order, under which one
signature may fit many messages.

What lives here: signing and checking of bytes. What may not: what the bytes say, where keys are kept, and the making of
keys, which needs randomness. Normative: `specs/votes.md`.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from holdfast.domain.errors import InputError

KEY_LENGTH = 32
"""Bytes of a public key, and of a private one (the seed of RFC 8032)."""
SIGNATURE_LENGTH = 64

_FIELD_PRIME = (1 << 255) - 19
_Y_MASK = (1 << 255) - 1
_Y_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_Y_SMALL_ORDER = frozenset({0, 1, _FIELD_PRIME - 1, _Y_ORDER_8, _FIELD_PRIME - _Y_ORDER_8})
"""y of the eight points whose order divides the cofactor: orders 4, 1, 2, 8 and 8; both signs of x."""


def is_usable_key(public_key: bytes) -> bool:
    """Whether a public key can sign for a replica: 32 bytes, canonical, not of small order.

    Whether the bytes are a point of the curve at all is not asked; if they are none, no signature fits them.
    """
    if not isinstance(public_key, bytes) or len(public_key) != KEY_LENGTH:
        return False
    y = int.from_bytes(public_key, "little") & _Y_MASK
    return y < _FIELD_PRIME and y not in _Y_SMALL_ORDER


def is_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is one of `message` under `public_key`, by the rule above; malformed ones are not."""
    if not is_usable_key(public_key) or not isinstance(signature, bytes) or len(signature) != SIGNATURE_LENGTH:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def sign(private_key: bytes, message: bytes) -> bytes:
    """The signature of a message, 64 bytes; the same for the same key and message.

    Args:
        private_key: The seed of RFC 8032, 32 bytes.
        message: What is signed.

    Raises:
        InputError: The key has another length; the text does not show it.
    """
    return _private(private_key).sign(message)


def public_key_of(private_key: bytes) -> bytes:
    """The public key that belongs to a private one, 32 bytes; errors as `sign`."""
    return _private(private_key).public_key().public_bytes_raw()


def _private(private_key: bytes) -> Ed25519PrivateKey:
    if not isinstance(private_key, bytes) or len(private_key) != KEY_LENGTH:
        raise InputError("malformed", "private_key", None, f"give the {KEY_LENGTH} bytes of an Ed25519 seed")
    return Ed25519PrivateKey.from_private_bytes(private_key)
