"""Prints the worked numbers of specs/proofs.md: a checkpoint with its cosignature, and a tree of liabilities.

    python tools/proof_vectors.py

Trees are made by the recursion of RFC 6962, 2.1, as it is written there, texts by the pages of C2SP, signatures by the
arithmetic of `golden_votes`; nothing of the package is imported, so that the numbers are a second reading of the page.
"""

import base64
import hashlib
from fractions import Fraction
from math import ceil

from golden_votes import PRIVATE_KEYS, public_key, signature

LOG = hashlib.sha256(b"log of the worked checkpoint").digest()
FRAMES = [b"frame %d" % n for n in range(5)]
TIME = 1_584_014_400
SECRETS = [hashlib.sha256(b"secret %d" % n).digest() for n in range(3, 7)]
EQUITIES = [0.0, 1000.25, -3.5, 0.1]
"""Of accounts 3 to 6."""


def sha256(*parts: bytes) -> bytes:
    """The SHA-256 of parts one after the other."""
    return hashlib.sha256(b"".join(parts)).digest()


def split(count: int) -> int:
    """The largest power of two below a count."""
    k = 1
    while 2 * k < count:
        k *= 2
    return k


def root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1."""
    if len(leaves) == 1:
        return sha256(b"\x00", leaves[0])
    k = split(len(leaves))
    return sha256(b"\x01", root(leaves[:k]), root(leaves[k:]))


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), root(leaves[k:])]
    return [*path(m - k, leaves[k:]), root(leaves[:k])]


def proof(m: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:  # noqa: FBT001, FBT002 (as the RFC has it)
    """SUBPROOF of RFC 6962, 2.1.2."""
    if m == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*proof(m, leaves[:k], whole), root(leaves[k:])]
    return [*proof(m - k, leaves[k:], False), root(leaves[:k])]  # noqa: FBT003


def text(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


def checkpoint() -> str:
    """The checkpoint of all frames, cosigned by replica 1."""
    origin = "holdfast/" + LOG.hex()
    body = f"{origin}\n{len(FRAMES)}\n{text(root(FRAMES))}\n"
    name, key = f"{origin}/1", public_key(PRIVATE_KEYS[1])
    signed = signature(PRIVATE_KEYS[1], f"cosignature/v1\ntime {TIME}\n{body}".encode())
    key_id = sha256(name.encode(), b"\n\x04", key)[:4]
    return f"{body}\n\u2014 {name} {text(key_id + TIME.to_bytes(8, 'big') + signed)}\n"


def amounts(owed: int, missing: int) -> bytes:
    """Two sums as they are hashed."""
    return owed.to_bytes(16, "little") + missing.to_bytes(16, "little")


def sum_root(nodes: list[tuple[int, int, bytes]]) -> tuple[int, int, bytes]:
    """The root of a tree of sums, by the same recursion."""
    if len(nodes) == 1:
        return nodes[0]
    k = split(len(nodes))
    (a, b, left), (c, d, right) = sum_root(nodes[:k]), sum_root(nodes[k:])
    return a + c, b + d, sha256(b"\x01", amounts(a, b), left, amounts(c, d), right)


def liabilities() -> list[tuple[int, int, bytes]]:
    """The leaves of the worked tree, in order of their hashes."""
    leaves = []
    for account, (secret, equity) in enumerate(zip(SECRETS, EQUITIES, strict=True), 3):
        units = ceil(Fraction(equity) * 10**6)
        owed, missing = max(0, units), max(0, -units)
        leaf = sha256(b"\x00", account.to_bytes(8, "little"), secret, amounts(owed, missing))
        leaves.append((owed, missing, leaf))
    return sorted(leaves, key=lambda one: one[2])


if __name__ == "__main__":
    print("root", root(FRAMES).hex())
    print("inclusion of 2 in 5", [one.hex() for one in path(2, FRAMES)])
    print("consistency of 3 with 5", [one.hex() for one in proof(3, FRAMES)])
    print(checkpoint())
    for one in liabilities():
        print("leaf", one[0], one[1], one[2].hex())
    owed, missing, digest = sum_root(liabilities())
    print("sums", owed, missing, digest.hex())
