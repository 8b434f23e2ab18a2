# ruff: noqa: B905 (zip has no `strict` before Python 3.10)
"""Checks proofs of a Holdfast log, offline: one file, nothing but Python 3.8 or later and its standard library.

    python verifier.py PROOF --trust KEYS.json [--against CHECKPOINT]

Exit status 0: the proof holds, and every line says what was checked. 1: it does not, and the last line says what is
wrong. 2: a file cannot be used.

Theory of operation. Trust begins with the public keys of a log's replicas and with nothing else. A checkpoint (size and
root of the tree of frames) counts where enough of them cosigned it. Frames are shown to be in that tree. Among them are
the replicas' votes on a root of the whole state, and under that root lie the account, the market, the definitions and
the risk table. From these the account's margin is worked out again here, in the order of operations that the pages of
the specification state, so that it must be the replicas' to the last bit.

What a proof holds is read strictly: one text for one content, no unknown field, nothing that is not needed. So each of
its bits counts. This file shares no line with the engine and was written from the pages: specs/proofs.md and those that
it names.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import struct
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Point = tuple[int, int, int, int]
    Run = list["Held"]
    Told = list[str]

HOLDS, REFUSED, UNUSABLE = 0, 1, 2
FORMAT, KEYS_FORMAT = "holdfast-proof/1", "holdfast-keys/1"
LENGTH_MAXIMUM = 1 << 28
"""Bytes of a proof."""
HASH_LENGTH, KEY_LENGTH, SIGNATURE_LENGTH = 32, 32, 64
BALLOT_LIFE = 60 * 10**9
"""ns of logical time between the first and the last vote of a quorum (QRM-4)."""
MILLION, BILLION = 1_000_000, 1_000_000_000
U64, U128 = (1 << 64) - 1, (1 << 128) - 1


class Refused(Exception):  # noqa: N818 (what is said, not an error of this program)
    """A proof does not hold: where, and what is wrong."""


def refuse(where: str, problem: str) -> NoReturn:
    """End with what is wrong."""
    raise Refused(f"{where}: {problem}")


def require(holds: bool, where: str, problem: str) -> None:  # noqa: FBT001 (a condition reads best in its place)
    """Refuse unless a condition holds."""
    if not holds:
        refuse(where, problem)


# Reading.


def read_json(data: bytes, where: str) -> Any:
    """A JSON text without anything that two readers could read differently."""
    require(len(data) <= LENGTH_MAXIMUM, where, f"has {len(data)} bytes, at most {LENGTH_MAXIMUM} are read")
    try:
        text = data.decode("utf-8")
        return json.loads(
            text, object_pairs_hook=_pairs, parse_constant=_no_constant, parse_int=_integer, parse_float=_number
        )
    except (ValueError, RecursionError) as error:
        refuse(where, f"is no JSON text ({error})")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _integer(text: str) -> int:
    if len(text) > 40:
        raise ValueError("a number has too many digits")
    return int(text)


def _number(text: str) -> float:
    value = float(text) if len(text) <= 40 else math.inf
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is no number")
    return value


def canonical(value: Any) -> bytes:
    """The one text of a JSON value."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def fields(value: Any, where: str, names: str) -> list[Any]:
    """The values of a JSON object that has these names and no other, in the order of the names."""
    wanted = names.split()
    if not isinstance(value, dict) or sorted(value) != sorted(wanted):
        found = ", ".join(sorted(value)) if isinstance(value, dict) else type(value).__name__
        refuse(where, f"has {found[:200]} instead of {', '.join(sorted(wanted))}")
    return [value[name] for name in wanted]


def whole(value: Any, where: str, most: int, least: int = 0) -> int:
    """A whole number within limits."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        refuse(where, f"is {str(value)[:60]}, expected a whole number from {least} to {most}")
    return value


def text_of(value: Any, where: str) -> str:
    """A text."""
    require(isinstance(value, str), where, "is no text")
    return str(value)


def listed(value: Any, where: str) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        refuse(where, "is no list")
    return value


def octets(value: Any, where: str, length: int = -1) -> bytes:
    """The bytes of a base64 text in its one form, of a given length unless that is −1."""
    text = text_of(value, where)
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        refuse(where, "is no base64")
    require(base64.b64encode(data) == text.encode(), where, "is base64 in another than its one form")
    require(length in (-1, len(data)), where, f"has {len(data)} bytes instead of {length}")
    return data


def hexadecimal(value: Any, where: str, length: int) -> bytes:
    """The bytes of a text of lower-case hexadecimal digits."""
    text = text_of(value, where)
    require(re.fullmatch(f"[0-9a-f]{{{2 * length}}}", text) is not None, where, f"is not {length} bytes in hexadecimal")
    return bytes.fromhex(text)


def hashes(value: Any, where: str) -> list[bytes]:
    """A list of hashes in base64."""
    return [octets(one, f"{where}[{n}]", HASH_LENGTH) for n, one in enumerate(listed(value, where))]


# MessagePack.

_FIXED = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
_FIXED.update({0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"})
_SIZED = {0xC4: (1, "bin"), 0xC5: (2, "bin"), 0xC6: (4, "bin"), 0xD9: (1, "str"), 0xDA: (2, "str"), 0xDB: (4, "str")}
_SIZED.update({0xDC: (2, "array"), 0xDD: (4, "array"), 0xDE: (2, "map"), 0xDF: (4, "map")})
DEPTH_MAXIMUM = 16


def unpack(data: bytes, where: str) -> Any:
    """The value of a MessagePack text that fills its bytes; no extension types."""
    try:
        value, end = _unpack(data, 0, 0)
    except (ValueError, IndexError, struct.error, TypeError) as error:
        refuse(where, f"is no MessagePack ({error})")
    require(end == len(data), where, f"goes on after its end at byte {end}")
    return value


def _unpack(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > DEPTH_MAXIMUM:
        raise ValueError("too deep")
    first, at = data[at], at + 1
    if first < 0x80 or first >= 0xE0:
        return (first if first < 0x80 else first - 0x100), at
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    if first in _FIXED:
        (value,) = struct.unpack_from(_FIXED[first], data, at)
        return value, at + struct.calcsize(_FIXED[first])
    if first < 0xC0:
        kind = "map" if first < 0x90 else "array" if first < 0xA0 else "str"
        return _unpack_sized(data, at, depth, kind, first & (0x1F if kind == "str" else 0x0F))
    if first not in _SIZED:
        raise ValueError(f"byte {first:#04x}")
    width, kind = _SIZED[first]
    if at + width > len(data):
        raise ValueError("cut off")
    return _unpack_sized(data, at + width, depth, kind, int.from_bytes(data[at : at + width], "big"))


def _unpack_sized(data: bytes, at: int, depth: int, kind: str, count: int) -> tuple[Any, int]:
    if count > len(data) - at:
        raise ValueError("cut off")
    if kind in ("str", "bin"):
        content = data[at : at + count]
        return (content.decode("utf-8") if kind == "str" else content), at + count
    values: list[Any] = []
    for _ in range(2 * count if kind == "map" else count):
        value, at = _unpack(data, at, depth + 1)
        values.append(value)
    if kind == "array":
        return values, at
    found = dict(zip(values[::2], values[1::2]))
    if len(found) != count:
        raise ValueError("a key stands twice")
    return found, at


# Ed25519 (VOT-1, VOT-2).

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
CURVE_D = -121665 * pow(121666, PRIME - 2, PRIME) % PRIME
ROOT_OF_MINUS_1 = pow(2, (PRIME - 1) // 4, PRIME)
Y_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
Y_SMALL_ORDER = (0, 1, PRIME - 1, Y_ORDER_8, PRIME - Y_ORDER_8)
"""y of the eight points whose order divides 8: no signature is accepted under them."""

NEUTRAL: Point = (0, 1, 1, 0)
"""The point 0 as X, Y, Z, T; x = X/Z, y = Y/Z, x·y = T/Z."""


def _add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % PRIME, (p[1] + p[0]) * (q[1] + q[0]) % PRIME
    c, d = 2 * p[3] * q[3] * CURVE_D % PRIME, 2 * p[2] * q[2] % PRIME
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def _point(data: bytes) -> Point | None:
    """The point of a canonical encoding; None where there is none."""
    number = int.from_bytes(data, "little")
    y, is_odd = number & ((1 << 255) - 1), number >> 255
    if y >= PRIME:
        return None
    square = (y * y - 1) * pow(CURVE_D * y * y + 1, PRIME - 2, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if (x * x - square) % PRIME:
        x = x * ROOT_OF_MINUS_1 % PRIME
    if (x * x - square) % PRIME or (x == 0 and is_odd):
        return None
    x = PRIME - x if x % 2 != is_odd else x
    return x, y, 1, x * y % PRIME


def _encoded(point: Point) -> bytes:
    inverse = pow(point[2], PRIME - 2, PRIME)
    x, y = point[0] * inverse % PRIME, point[1] * inverse % PRIME
    return (y | (x & 1) << 255).to_bytes(KEY_LENGTH, "little")


BASE = _point((4 * pow(5, PRIME - 2, PRIME) % PRIME).to_bytes(KEY_LENGTH, "little")) or NEUTRAL


def is_usable_key(key: bytes) -> bool:
    """Whether signatures can be accepted under a key (VOT-2, 1 and 2)."""
    y = int.from_bytes(key, "little") & ((1 << 255) - 1)
    return len(key) == KEY_LENGTH and y not in Y_SMALL_ORDER and _point(key) is not None


def is_signature(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature is one of a message under a key, by the one rule of VOT-2."""
    if len(signature) != SIGNATURE_LENGTH or not is_usable_key(key):
        return False
    point, s = _point(key), int.from_bytes(signature[32:], "little")
    if point is None or s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    minus = (PRIME - point[0], point[1], point[2], PRIME - point[3])
    table = (NEUTRAL, BASE, minus, _add(BASE, minus))
    total = NEUTRAL
    for bit in range(ORDER.bit_length(), -1, -1):
        total = _add(total, total)
        chosen = (s >> bit & 1) | (k >> bit & 1) << 1
        if chosen:
            total = _add(total, table[chosen])
    return _encoded(total) == signature[:32]


# Trees (MRK-1, MRK-6, RFC 6962, RFC 9162).


def sha256(data: bytes) -> bytes:
    """The SHA-256 of bytes."""
    return hashlib.sha256(data).digest()


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf."""
    return sha256(b"\x00" + leaf)


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node."""
    return sha256(b"\x01" + left + right)


def sides(index: int, count: int) -> Iterator[bool]:
    """For each sibling on the way up from leaf `index` of `count`, whether it stands on the left."""
    last = count - 1
    while last:
        if index % 2:
            yield True
        elif index < last:
            yield False
        index, last = index >> 1, last >> 1


def check_inclusion(node: bytes, index: int, count: int, path: Sequence[bytes], root: bytes, where: str) -> None:
    """Refuse unless a leaf, given by its hash, is number `index` of the `count` leaves under a root."""
    require(0 <= index < count, where, f"place {index} is not among {count}")
    way = list(sides(index, count))
    require(len(way) == len(path), where, f"the proof has {len(path)} hashes instead of {len(way)}")
    for is_left, sibling in zip(way, path):
        node = node_hash(sibling, node) if is_left else node_hash(node, sibling)
    require(node == root, where, "is not under this root")


def check_consistency(
    first: int, first_root: bytes, second: int, second_root: bytes, path: Sequence[bytes], where: str
) -> None:
    """Refuse unless the tree of `second` leaves begins with the tree of `first` leaves (RFC 9162, 2.1.4.2)."""
    require(1 <= first <= second, where, f"{first} frames are not an earlier part of {second}")
    if first == second:
        require(first_root == second_root and not path, where, "two roots for one size: the log was forked")
        return
    nodes = list(path)
    if first & (first - 1) == 0:
        nodes.insert(0, first_root)
    require(bool(nodes), where, "the proof has no hash")
    place, last = first - 1, second - 1
    while place % 2:
        place, last = place >> 1, last >> 1
    old = new = nodes[0]
    for node in nodes[1:]:
        require(last > 0, where, "the proof has too many hashes")
        if place % 2 or place == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while place % 2 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, node)
        place, last = place >> 1, last >> 1
    require(last == 0, where, "the proof has too few hashes")
    require(old == first_root, where, "does not begin with the earlier tree: the log was rewritten")
    require(new == second_root, where, "does not lead to the later root")


# Keys.


class Replica(NamedTuple):
    """A replica as it is trusted."""

    name: str
    region: str
    key: bytes
    suspended: bool = False


class Trust:
    """Whose signatures count for which log, and how many are needed."""

    def __init__(self, log: bytes, needed: int, replicas: dict[int, Replica]) -> None:
        self.log, self.needed, self.replicas = log, needed, replicas

    @property
    def origin(self) -> str:
        """The name of the log (PRF-2)."""
        return f"holdfast/{self.log.hex()}"

    def key(self, number: int, where: str) -> bytes:
        """The key of a replica that counts."""
        replica = self.replicas.get(number)
        if replica is None:
            refuse(where, f"replica {number} is not among the trusted ones")
        require(not replica.suspended, where, f"replica {number} is suspended")
        return replica.key

    def check_enough(self, numbers: Sequence[int], where: str) -> str:
        """Refuse unless these replicas are enough, of two regions where there are two; who they are, in words."""
        require(len(set(numbers)) == len(numbers), where, f"a replica counts once, not as in {list(numbers)}")
        told = f"{len(numbers)} of {len(self.replicas)} replicas"
        require(len(numbers) >= self.needed, where, f"{told} instead of {self.needed} or more")
        regions = {one.region for one in self.replicas.values()}
        signing = {self.replicas[number].region for number in numbers}
        require(len(signing) >= min(2, len(regions)), where, f"{told}, all of one region")
        names = ", ".join(f"{number} {self.replicas[number].name}" for number in sorted(numbers))
        return f"{told} ({names})"


def read_trust(data: bytes) -> Trust:
    """The keys that somebody trusts (PRF-12)."""
    form, log, needed, listing = fields(read_json(data, "keys"), "keys", "format log needed replicas")
    require(form == KEYS_FORMAT, "keys.format", f"is {form!r} instead of {KEYS_FORMAT!r}")
    replicas: dict[int, Replica] = {}
    for n, one in enumerate(listed(listing, "keys.replicas")):
        where = f"keys.replicas[{n}]"
        number, name, region, key = fields(one, where, "number name region key")
        whole(number, f"{where}.number", 2**32 - 1)
        require(number not in replicas, where, f"replica {number} stands twice")
        public = hexadecimal(key, f"{where}.key", KEY_LENGTH)
        require(is_usable_key(public), f"{where}.key", "is no key that signatures can be accepted under")
        replicas[number] = Replica(text_of(name, where), text_of(region, where), public)
    require(bool(replicas), "keys.replicas", "names nobody")
    require(len({one.key for one in replicas.values()}) == len(replicas), "keys.replicas", "two have one key")
    least = len(replicas) // 2 + 1
    whole(needed, "keys.needed", len(replicas), least)
    return Trust(hexadecimal(log, "keys.log", HASH_LENGTH), needed, replicas)


# Checkpoints (PRF-2, PRF-3).


class Checkpoint(NamedTuple):
    """Size and root of the tree of frames, and who cosigned them."""

    size: int
    root: bytes
    signers: tuple[int, ...]


_NOTE = re.compile("([^\n]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n\n((?:— [^\n]+\n)+)")


def read_checkpoint(value: Any, trust: Trust, where: str) -> Checkpoint:
    """A checkpoint that enough trusted replicas cosigned, with no line of anybody else."""
    found = _NOTE.fullmatch(text_of(value, where))
    if found is None:
        refuse(where, "is no checkpoint of three lines with signatures")
    origin, size, root, lines = found.groups()
    require(origin == trust.origin, where, f"is of the log {origin[:90]}, not of {trust.origin}")
    head = octets(root, f"{where}.root", HASH_LENGTH)
    body = f"{origin}\n{size}\n{root}\n"
    signers: list[int] = []
    for line in lines[:-1].split("\n"):
        signers.append(_cosigner(line, body, trust, where))
    require(signers == sorted(signers), where, "its cosignatures are not in order of replicas")
    trust.check_enough(signers, where)
    return Checkpoint(int(size), head, tuple(signers))


def _cosigner(line: str, body: str, trust: Trust, where: str) -> int:
    parts = line[2:].split(" ")
    prefix, _, number = parts[0].rpartition("/")
    is_number = re.fullmatch("0|[1-9][0-9]{0,9}", number) is not None
    require(
        len(parts) == 2 and prefix == trust.origin and is_number, where, f"the line {line[:60]!r} is no cosignature"
    )
    replica = int(number)
    at = f"{where}, cosignature of replica {replica}"
    key = trust.key(replica, at)
    data = octets(parts[1], at, 4 + 8 + SIGNATURE_LENGTH)
    name = f"{trust.origin}/{replica}"
    require(data[:4] == sha256(name.encode() + b"\n\x04" + key)[:4], at, "is by another key than the trusted one")
    time = int.from_bytes(data[4:12], "big")
    message = f"cosignature/v1\ntime {time}\n{body}".encode()
    require(is_signature(key, message, data[12:]), at, "the signature is wrong")
    return replica


# Frames and votes (FRM-1, VOT-3).

FRAME_HEAD, RECORD_LENGTH = 64, 64
VOTE_HEAD = struct.Struct("<4sHHIIQ32s32sQqII")
VOTE_ROW = struct.Struct("<IBBHQddddQQ")
BELOW, WITHOUT_B, WITHDRAWAL = 1, 1, 2


class Frame(NamedTuple):
    """A frame that is in the tree."""

    position: int
    data: bytes


class Row(NamedTuple):
    """What a vote says of one account."""

    account: int
    verdict: int
    flags: int
    version: int
    a_equity: float
    a_maintenance: float
    b_equity: float
    b_maintenance: float


class Vote(NamedTuple):
    """A vote whose signature is right."""

    replica: int
    position: int
    chain: bytes
    root: bytes
    price_id: int
    time: int
    rows: tuple[Row, ...]


def read_frames(value: Any, checkpoint: Checkpoint, where: str) -> list[Frame]:
    """The frames of a proof, each shown to be in the tree, in ascending order of position."""
    frames: list[Frame] = []
    for n, one in enumerate(listed(value, where)):
        at = f"{where}[{n}]"
        position, content, path = fields(one, at, "position frame path")
        whole(position, f"{at}.position", U64)
        require(not frames or position > frames[-1].position, at, "frames stand in ascending order")
        data = octets(content, f"{at}.frame")
        check_inclusion(
            leaf_hash(data),
            position,
            checkpoint.size,
            hashes(path, f"{at}.path"),
            checkpoint.root,
            f"{at}, frame {position}",
        )
        frames.append(Frame(position, data))
    return frames


class Place(NamedTuple):
    """A cold command in a frame: where it stands, and its fields."""

    position: int
    record: int
    command: dict[str, Any]


class Commands:
    """The cold commands of a proof's frames, and which frames were asked for."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = {one.position: one for one in frames}
        self._used: set[int] = set()

    def all_used(self, where: str) -> None:
        """Refuse frames that nothing in the proof needs."""
        idle = sorted(self._frames.keys() - self._used)
        require(not idle, where, f"the frames {idle} are not needed")

    def all(self, value: Any, kind: str, where: str) -> Iterator[tuple[str, Place]]:
        """The commands of a kind that a list of places names, in strictly ascending order; each with where it is."""
        before = (-1, -1)
        for n, one in enumerate(listed(value, where)):
            at = f"{where}[{n}]"
            place = self.at(one, kind, at)
            require(place[:2] > before, at, "places stand in ascending order, each once")
            before = place[:2]
            yield at, place

    def at(self, value: Any, kind: str, where: str) -> Place:
        """The command of a kind that {position, record} names."""
        position, record = fields(value, where, "position record")
        whole(position, f"{where}.position", U64)
        whole(record, f"{where}.record", 16_383)
        frame = self._frames.get(position)
        if frame is None:
            refuse(where, f"the frame {position} is not in the proof")
        self._used.add(position)
        command = unpack(_cold(frame, record, where), where)
        is_kind = isinstance(command, dict) and command.get("type") == kind
        require(is_kind, where, f"record {record} of frame {position} is no {kind}")
        return Place(position, record, command)


def _cold(frame: Frame, record: int, where: str) -> bytes:
    """The bytes of a cold command: its record's slice of the frame's blob."""
    data = frame.data
    is_frame = len(data) >= FRAME_HEAD and data[:8] == b"HFFR\x01\x00\x00\x00"
    require(is_frame, where, f"frame {frame.position} is no frame of format 1")
    count, blob_length = struct.unpack_from("<II", data, 24)
    blob = FRAME_HEAD + count * RECORD_LENGTH
    require(len(data) == blob + blob_length, where, f"frame {frame.position} has another length than it says")
    require(sha256(data[:32] + data[FRAME_HEAD:]) == data[32:64], where, f"frame {frame.position} is damaged")
    require(record < count, where, f"frame {frame.position} has no record {record}")
    at = FRAME_HEAD + record * RECORD_LENGTH
    offset, length = struct.unpack_from("<II", data, at + 56)
    is_cold = data[at] == 0 and length > 0 and offset + length <= blob_length
    require(is_cold, where, f"record {record} of frame {frame.position} is no cold command")
    return data[blob + offset : blob + offset + length]


def read_vote(place: Place, trust: Trust, where: str) -> Vote:
    """The vote of a command, signed by the trusted replica that it names."""
    data = place.command.get("vote")
    head, tail = VOTE_HEAD.size, SIGNATURE_LENGTH
    if not isinstance(data, bytes) or len(data) < head + tail:
        refuse(where, "is no vote")
    magic, form, reserved, replica, _, position, chain, root, price_id, time, count, last = VOTE_HEAD.unpack_from(data)
    is_vote = (magic, form, reserved, last) == (b"HFVT", 1, 0, 0) and len(data) == head + count * VOTE_ROW.size + tail
    require(is_vote, where, "is no vote of format 1")
    key = trust.key(replica, where)
    require(is_signature(key, data[:-tail], data[-tail:]), where, f"the signature of replica {replica} is wrong")
    require(position < place.position, where, f"speaks at position {place.position} of the later {position}")
    rows = []
    for at in range(head, len(data) - tail, VOTE_ROW.size):
        account, verdict, flags, _, version, *numbers = VOTE_ROW.unpack_from(data, at)
        require(all(map(math.isfinite, numbers[:4])), where, f"a number about account {account} is none")
        rows.append(Row(account, verdict, flags, version, *numbers[:4]))
    return Vote(replica, position, chain, root, price_id, time, tuple(rows))


# The state under a root (MRK-7, STR-4 to STR-10).

SECTIONS = ("accounts", "orders", "sessions", "market", "parameters", "roles", "risk-table")
STATUSES = ("HEALTHY", "RESTRICTED", "BREACH_PENDING", "LIQUIDATING", "BANKRUPT", "FROZEN", "ASIDE")
TABLE_ARRAYS = (
    ("values", "<f8"),
    ("basis", "<f8"),
    ("multipliers", "<f8"),
    ("lines", "<f8"),
    ("tags", "<i4"),
    ("group_ends", "<i4"),
    ("underlying_ends", "<i4"),
    ("groups", "<f8"),
    ("underlyings", "<f8"),
    ("assets", "<f8"),
    ("model", "<f8"),
    ("line_of_item", "<i4"),
)
"""Arrays of a risk table in the order of their leaves, with their types."""
FIRST_ITEM = 6
"""Leaf of item 0 in the section parameters."""


class State:
    """Leaves that are under a state root which enough replicas voted for.

    Attributes:
        position: Of the frame after which the state is meant.
        counts: Leaves of each section.
    """

    def __init__(self, position: int, counts: dict[str, int], leaves: dict[tuple[str, int], bytes], told: str) -> None:
        self.position, self.counts, self.told = position, counts, told
        self._leaves = leaves
        self._used: set[tuple[str, int]] = set()

    def leaf(self, section: str, index: int) -> bytes:
        """A leaf."""
        found = self._leaves.get((section, index))
        if found is None:
            refuse("state", f"the leaf {index} of {section} is not in the proof")
        self._used.add((section, index))
        return found

    def has(self, section: str, index: int) -> bool:
        """Whether a leaf is there."""
        return (section, index) in self._leaves

    def packed(self, section: str, index: int) -> Any:
        """The value of a leaf that is MessagePack."""
        return unpack(self.leaf(section, index), f"leaf {index} of {section}")

    def words(self, section: str, index: int, least: int) -> tuple[int, ...]:
        """A leaf as signed words of eight bytes, at least so many."""
        leaf = self.leaf(section, index)
        where = f"leaf {index} of {section}"
        require(len(leaf) % 8 == 0 and len(leaf) >= 8 * least, where, f"has {len(leaf)} bytes")
        return struct.unpack(f"<{len(leaf) // 8}q", leaf)

    def all_used(self) -> None:
        """Refuse leaves that nothing in the proof needs."""
        idle = sorted(self._leaves.keys() - self._used)
        require(not idle, "state", f"the leaves {idle[:3]} are not needed")


def read_state(value: Any, commands: Commands, trust: Trust, where: str) -> State:
    """State leaves, and the votes that certify their root."""
    position, content, said, leaves = fields(value, where, "position sections votes leaves")
    whole(position, f"{where}.position", U64)
    sections = octets(content, f"{where}.sections", 400)
    replicas: list[int] = []
    for at, place in commands.all(said, "vote", f"{where}.votes"):
        vote = read_vote(place, trust, at)
        is_word = not vote.rows and vote.position == position and vote.root == sha256(sections)
        require(is_word, at, f"is no vote of replica {vote.replica} for this root at position {position}")
        replicas.append(vote.replica)
    told = trust.check_enough(replicas, f"{where}.votes")
    counts, roots = _read_sections(sections, where)
    found: dict[tuple[str, int], bytes] = {}
    last = ("", 0)
    for n, one in enumerate(listed(leaves, f"{where}.leaves")):
        at = f"{where}.leaves[{n}]"
        section, index, leaf, path = fields(one, at, "section index leaf path")
        require(text_of(section, f"{at}.section") in counts, f"{at}.section", "is no section of a state")
        whole(index, f"{at}.index", U64)
        require((section, index) > last, at, "leaves stand in ascending order, each once")
        last = section, index
        data = octets(leaf, f"{at}.leaf")
        check_inclusion(
            leaf_hash(data),
            index,
            counts[section],
            hashes(path, f"{at}.path"),
            roots[section],
            f"{at}, {section} {index}",
        )
        found[section, index] = data
    return State(position, counts, found, told)


def _read_sections(data: bytes, where: str) -> tuple[dict[str, int], dict[str, bytes]]:
    require(data[:8] == b"HFSR\x01\x00\x07\x00", where, "the sections are not of layout 1")
    counts, roots = {}, {}
    for n, name in enumerate(SECTIONS):
        written, count, root = struct.unpack_from("<16sQ32s", data, 8 + 56 * n)
        require(written == name.encode().ljust(16, b"\x00"), where, f"section {n} is not {name}")
        counts[name], roots[name] = count, root
    return counts, roots


class Account(NamedTuple):
    """An account's leaf; rows of (item, amount, cost)."""

    number: int
    model: int
    status: int
    version: int
    orders_placed: int
    rows: tuple[tuple[int, int, int], ...]

    @property
    def status_name(self) -> str:
        """The status in words."""
        return STATUSES[self.status] if 0 <= self.status < len(STATUSES) else str(self.status)


def read_account(state: State, number: int) -> Account:
    """An account of a state."""
    model, status, version, placed, count, *rest = state.words("accounts", number, 5)
    where = f"account {number}"
    require(count * 3 == len(rest), where, f"says {count} rows and has {len(rest)} words of them")
    rows = tuple((rest[at], rest[at + 1], rest[at + 2]) for at in range(0, len(rest), 3))
    return Account(number, model, status, version, placed, rows)


# Margin (risk-table.md, charges.md, standard-model.md, tail-model.md, collateral.md).

# Columns of `lines`.
TODAY, IN_ASSET, CHARGE, SLOPE, OPTION, CONFIDENCE_RATE = 0, 1, 2, 6, 8, 12
CONFIDENCE, THRESHOLD, DEPEG, OFFSET_NOTIONAL, STRIKE, OPTION_SIGN, PAR, LENDS, TAKES = (
    14,
    15,
    16,
    18,
    19,
    20,
    21,
    22,
    23,
)
# Columns of `tags`, `groups`, `assets`; elements of `model`.
GROUP, UNDERLYING, ASSET = 0, 1, 2
BASIS_FACTOR, MAXIMUM_LOSS, UNPAIRED, STRIKE_NET, EXPIRY_NET = 0, 1, 2, 4, 6
PRICE, LIABILITY, ASSET_CONFIDENCE, FIRST_TIER = 0, 1, 2, 3
TAIL_MASS, OFFSET_CAP, SCENARIOS = 2, 3, 4
COMPONENTS = ("scan", "options", "charges", "netted", "offset", "confidence", "depeg", "collateral")


class Array(NamedTuple):
    """Numbers in row-major order."""

    shape: tuple[int, ...]
    data: tuple[Any, ...]

    def row(self, n: int) -> tuple[Any, ...]:
        """Row n of a table."""
        width = self.shape[1]
        require(0 <= n < self.shape[0], "risk table", f"there is no row {n} of {self.shape[0]}")
        return self.data[n * width : (n + 1) * width]


class Held(NamedTuple):
    """A position: its line in the risk table, and its quantity."""

    line: int
    quantity: float


class Margin(NamedTuple):
    """Equity, and the initial margin (without open orders) and the maintenance margin."""

    equity: float
    initial: float
    maintenance: float


def read_table(state: State, model: int) -> dict[str, Array]:
    """The risk table of a model, from its leaves (STR-10)."""
    head = state.packed("risk-table", 0)
    is_head = isinstance(head, list) and len(head) == 2 and isinstance(head[1], int) and 0 <= model < head[1]
    require(is_head, "risk table", f"has no model {model}")
    table = {}
    for n, (name, kind) in enumerate(TABLE_ARRAYS):
        where = f"risk table, {name} of model {model}"
        leaf = state.packed("risk-table", 1 + model * len(TABLE_ARRAYS) + n)
        is_array = isinstance(leaf, list) and len(leaf) == 5 and leaf[:3] == [model, name, kind]
        require(is_array, where, "is not what its leaf holds")
        shape, content = leaf[3], leaf[4]
        require(isinstance(shape, list) and isinstance(content, bytes), where, "has no shape or no content")
        count = 1
        for size in shape:
            count *= whole(size, where, 2**31)
        require(len(content) == count * int(kind[2]), where, f"has {len(content)} bytes, not {count} numbers")
        table[name] = Array(tuple(shape), struct.unpack(f"<{count}{'d' if kind == '<f8' else 'i'}", content))
    return table


def read_positions(state: State, account: Account, table: dict[str, Array]) -> Run:
    """An account's rows as lines and quantities, in order of lines (LED-2)."""
    lines, held = table["line_of_item"].data, []
    for item, amount, cost in account.rows:
        where = f"item {item} of account {account.number}"
        require(0 <= item < len(lines) and lines[item] >= 0, where, "has no line in the risk table")
        form, _, _, multiplier, divisor, *_ = _item_words(state, item)
        require(divisor > 0, where, f"has the divisor {divisor}")
        units = amount - cost if form == 0 else amount * multiplier
        held.append(Held(lines[item], float(units) / float(divisor)))
    return sorted(held)


def _item_words(state: State, item: int) -> tuple[int, ...]:
    leaf = state.leaf("parameters", FIRST_ITEM + item)
    require(len(leaf) > 13 * 8, f"item {item}", f"has a leaf of {len(leaf)} bytes")
    return struct.unpack_from("<13q", leaf)


def margin_of(table: dict[str, Array], held: Run) -> Margin:
    """The margin of positions in order of lines; sums run in that order (CON-5)."""
    parts: list[list[float]] = [[0.0] * len(COMPONENTS), [0.0] * len(COMPONENTS)]
    equity = 0.0
    for one in held:
        equity += one.quantity * table["lines"].row(one.line)[TODAY]
    _scan(table, held, parts)
    for run in _runs(table, held, UNDERLYING):
        _charge(table, run, parts)
    _net(table, held, parts)
    _collateral(table, held, parts)
    totals = []
    for part in parts:
        total = 0.0
        for component in part:
            total += component + 0.0
        totals.append(total)
    return Margin(equity + 0.0, totals[0], totals[1])


def _runs(table: dict[str, Array], held: Run, column: int) -> list[Run]:
    """Runs of consecutive positions with one tag that is not below 0."""
    found: list[Run] = []
    before = None
    for one in held:
        tag = table["tags"].row(one.line)[column]
        if tag >= 0:
            if tag != before:
                found.append([])
            found[-1].append(one)
        before = tag
    return found


def _scan(table: dict[str, Array], held: Run, parts: list[list[float]]) -> None:
    """TAB-4 to TAB-7, TAIL-2, TAIL-4."""
    model = table["model"].data
    count, tail = table["values"].shape[1], model[TAIL_MASS]
    require(model[SCENARIOS] == count, "risk table", f"has {count} scenarios, and says {model[SCENARIOS]}")
    joint, total = [0.0] * count, 0.0
    for run in _runs(table, held, UNDERLYING):
        results = [0.0] * count
        for part in [run] if _is_plain(table, run) else _runs(table, run, GROUP):
            results = [a + b for a, b in zip(results, _group_results(table, part, count))]
        joint = [a + b for a, b in zip(joint, results)]
        if tail > 0.0:
            total += _shortfall(results, tail)
        else:
            total += -min(0.0, min(results, default=0.0), _basis(table, run))
    if tail > 0.0:
        total = total - model[OFFSET_CAP] * max(0.0, total - _shortfall(joint, tail))
    parts[0][0], parts[1][0] = total * model[0], total * model[1]


def _is_plain(table: dict[str, Array], run: Run) -> bool:
    """Whether all multipliers of all groups of an underlying are 1: its groups are then one run (TAB-4)."""
    tags, multipliers = table["tags"], table["multipliers"]
    underlying = tags.row(run[0].line)[UNDERLYING]
    size = multipliers.shape[1] * multipliers.shape[2]
    groups = {tags.row(n)[GROUP] for n in range(tags.shape[0]) if tags.row(n)[UNDERLYING] == underlying}
    return all(one == 1.0 for g in groups for one in multipliers.data[g * size : (g + 1) * size])


def _group_results(table: dict[str, Array], run: Run, count: int) -> list[float]:
    """P·(M·v − v0) of a run in every scenario."""
    value, today = [0.0] * count, 0.0
    for one in run:
        value = [v + one.quantity * u for v, u in zip(value, table["values"].row(one.line))]
        today += one.quantity * table["lines"].row(one.line)[TODAY]
    base = table["tags"].row(run[0].line)[GROUP] * 4 * count
    sheet = table["multipliers"].data
    results = []
    for s, v in enumerate(value):
        result = sheet[base + s if v > 0.0 else base + count + s] * v - today
        results.append(sheet[base + 2 * count + s if result > 0.0 else base + 3 * count + s] * result)
    return results


def _basis(table: dict[str, Array], run: Run) -> float:
    """B of one underlying (TAB-5)."""
    width, total = table["basis"].shape[1], 0.0
    if not width:
        return 0.0
    for group in _runs(table, run, GROUP):
        value, today = [0.0] * width, 0.0
        for one in group:
            value = [v + one.quantity * u for v, u in zip(value, table["basis"].row(one.line))]
            today += one.quantity * table["lines"].row(one.line)[TODAY]
        factor = table["groups"].row(table["tags"].row(group[0].line)[GROUP])[BASIS_FACTOR]
        total += factor * min(0.0, *(v - today for v in value))
    return total


def _shortfall(results: Sequence[float], tail: float) -> float:
    """TAIL-2."""
    ordered, whole_part = sorted(results), int(tail)
    total = 0.0
    for result in ordered[:whole_part]:
        total += result
    if whole_part < len(ordered):
        total += (tail - whole_part) * ordered[whole_part]
    return max(0.0, -total / tail)


def _charge(table: dict[str, Array], run: Run, parts: list[list[float]]) -> None:
    """Charges on the positions of one underlying (CHG-2, CHG-3, CHG-6, CHG-8, CHG-11, STD-1, STD-8)."""
    initial, lines = parts[0], table["lines"]
    lent = min((lines.row(one.line)[LENDS] for one in run if one.quantity != 0.0), default=1.0)
    notional = [0.0, 0.0]
    for group in _runs(table, run, GROUP):
        for one in group:
            row, size, side = lines.row(one.line), abs(one.quantity), 0 if one.quantity > 0.0 else 1
            for n in (0, 1):
                parts[n][2] += size * (row[CHARGE + 2 * n + side] + size * row[SLOPE + n])
            sure = min(row[CONFIDENCE], lent) if row[TAKES] > 0.0 else row[CONFIDENCE]
            missing = 1.0 - sure if sure < row[THRESHOLD] else 0.0
            initial[5] += size * (missing * row[CONFIDENCE_RATE + side])
            initial[6] += size * row[DEPEG + side]
            notional[side] += size * row[OFFSET_NOTIONAL]
        if lines.row(group[0].line)[OPTION_SIGN] != 0.0:
            _charge_options(table, group, parts)
    rates = table["underlyings"].row(table["tags"].row(run[0].line)[UNDERLYING])
    for n in (0, 1):
        parts[n][4] += rates[n] * min(notional)


def _charge_options(table: dict[str, Array], group: Run, parts: list[list[float]]) -> None:
    """STD-8 of one group of options."""
    rows = [(table["lines"].row(one.line), one.quantity) for one in group]
    required, today, calls, par = [0.0, 0.0], 0.0, 0.0, 0.0
    for row, quantity in rows:
        side = OPTION + (0 if quantity > 0.0 else 1)
        required[0] += abs(quantity) * row[side]
        required[1] += abs(quantity) * row[side + 2]
        today += quantity * row[TODAY]
        if row[OPTION_SIGN] > 0.0:
            calls += quantity
            par = max(par, row[PAR]) if quantity != 0.0 else par
    fields_of_group = table["groups"].row(table["tags"].row(group[0].line)[GROUP])
    if fields_of_group[MAXIMUM_LOSS] > 0.0:
        floor = 0.0
        for price in [0.0] + [row[STRIKE] for row, _ in rows]:
            payoff = 0.0
            for row, quantity in rows:
                payoff += quantity * (row[PAR] * max(0.0, row[OPTION_SIGN] * (price - row[STRIKE])))
            floor = min(floor, payoff)
        unpaired = max(0.0, -calls) * par
        required = [
            min(one, today - floor + fields_of_group[UNPAIRED + n] * unpaired) for n, one in enumerate(required)
        ]
    for n in (0, 1):
        parts[n][1] += required[n]


def _net(table: dict[str, Array], held: Run, parts: list[list[float]]) -> None:
    """CHG-4 strike by strike, then CHG-5 expiry by expiry."""
    groups = _runs(table, held, GROUP)
    strikes: list[Run] = []
    for group in groups:
        for n, one in enumerate(group):
            strike = table["lines"].row(one.line)[STRIKE]
            if n == 0 or strike != table["lines"].row(group[n - 1].line)[STRIKE]:
                strikes.append([])
            strikes[-1].append(one)
    for first, runs in ((STRIKE_NET, strikes), (EXPIRY_NET, groups)):
        totals = [0.0, 0.0]
        for run in runs:
            net = 0.0
            for one in run:
                net += one.quantity
            rates = table["groups"].row(table["tags"].row(run[0].line)[GROUP])
            for n in (0, 1):
                totals[n] += rates[first + n] * max(0.0, -net)
        for n in (0, 1):
            parts[n][3] += totals[n]


def _collateral(table: dict[str, Array], held: Run, parts: list[list[float]]) -> None:
    """COL-1 to COL-4, and the confidence of collateral (CHG-9)."""
    balances = [0.0] * table["assets"].shape[0]
    for one in held:
        asset = table["tags"].row(one.line)[ASSET]
        require(0 <= asset < len(balances), "risk table", f"line {one.line} has no asset")
        balances[asset] += one.quantity * table["lines"].row(one.line)[IN_ASSET]
    for n, balance in enumerate(balances):
        asset_row = table["assets"].row(n)
        value = balance * asset_row[PRICE]
        for column in (0, 1):
            parts[column][7] += _haircut(asset_row, value, column)
        parts[0][5] += max(0.0, value) * asset_row[ASSET_CONFIDENCE]


def _haircut(asset: Sequence[float], value: float, column: int) -> float:
    if value < 0.0:
        return -value * asset[LIABILITY]
    loss = 0.0
    for at in range(FIRST_TIER, len(asset), 3):
        part = value - asset[at]
        if at + 3 < len(asset):
            part = min(part, asset[at + 3] - asset[at])
        loss += max(0.0, part) * asset[at + 1 + column]
    return loss


def recompute(state: State, account: Account) -> Margin:
    """An account's margin from the leaves of its state."""
    table = read_table(state, account.model)
    try:
        margin = margin_of(table, read_positions(state, account, table))
    except (IndexError, ZeroDivisionError, OverflowError, ValueError) as error:
        refuse("risk table", f"cannot be worked with ({error})")
    require(all(map(math.isfinite, margin)), f"account {account.number}", "has a margin that is no number")
    return margin


# Kinds of proofs.


def money(amount: float) -> str:
    """An amount of the numeraire for people."""
    return f"{amount:,.2f}"


def _told_account(account: Account, margin: Margin) -> str:
    orders = "" if account.orders_placed == 0 else " without open orders"
    return (
        f"equity {money(margin.equity)}, initial margin{orders} {money(margin.initial)}, "
        f"maintenance margin {money(margin.maintenance)}"
    )


def _same(claimed: Any, found: float, where: str) -> None:
    is_same = isinstance(claimed, float) and struct.pack("<d", claimed) == struct.pack("<d", found)
    require(is_same, where, f"is stated as {str(claimed)[:40]}, but {found!r} follows from the state")


def check_margin(bundle: dict[str, Any], trust: Trust, checkpoint: Checkpoint, told: Told) -> None:
    """An account, its margin, and the state that they follow from (PRF-7)."""
    claim, frames, content = fields(bundle, "proof", "claim frames state")
    number, equity, initial, maintenance = fields(claim, "claim", "account equity initial_margin maintenance_margin")
    commands = Commands(read_frames(frames, checkpoint, "frames"))
    state = read_state(content, commands, trust, "state")
    whole(number, "claim.account", state.counts["accounts"] - 1)
    account = read_account(state, number)
    margin = recompute(state, account)
    time, price_id, _ = state.words("market", 0, 3)
    told.append(f"state after frame {state.position}: its root has the votes of {state.told}")
    told.append(f"account {number}: {account.status_name}, version {account.version}, {len(account.rows)} rows")
    told.append(f"at logical time {time} ns, prices {price_id}: {_told_account(account, margin)}")
    for name, claimed, found in zip(Margin._fields, (equity, initial, maintenance), margin):
        _same(claimed, found, f"claim.{name}")
    told.append("equity and margins were worked out again here, from the account and the risk table under that root")
    state.all_used()
    commands.all_used("frames")


def check_liquidation(bundle: dict[str, Any], trust: Trust, checkpoint: Checkpoint, told: Told) -> None:
    """The quorum of a liquidation, its stages, and the verdict (PRF-8)."""
    claim, frames, said, done, content = fields(bundle, "proof", "claim frames ballots stages state")
    (number,) = fields(claim, "claim", "account")
    whole(number, "claim.account", 2**32 - 1)
    commands = Commands(read_frames(frames, checkpoint, "frames"))
    state = read_state(content, commands, trust, "state")
    ballots, rows = _read_ballots(said, commands, trust, number, read_rules(state))
    who = trust.check_enough([one.replica for one in ballots], "ballots")
    last = said[-1]["position"]
    vote = ballots[0]
    mark = f"the mark in frame {vote.position}, prices {vote.price_id}"
    told.append(f"account {number}, version {rows[0].version}: BELOW at {mark}")
    told.append(f"said by {who}, the last of them in frame {last}")
    _tell_recomputed(state, vote, number, rows, told)
    for at, place in commands.all(done, "liquidate", "stages"):
        require(place.command.get("account") == number, at, "is of another account")
        require(place.position >= last, at, "comes before the quorum was complete")
        told.append(f"stage in frame {place.position}: reductions {place.command.get('reductions', [])}")
    state.all_used()
    commands.all_used("frames")


class Rules(NamedTuple):
    """What makes a verdict count (QRM-10, QRM-19)."""

    witness_shortfall_ppm: int = 100_000
    tolerance_micros: int = 10_000
    tolerance_ppb: int = 1_000


def read_rules(state: State) -> Rules:
    """The rules of a state; one that is at its default (DEF-11) is not there (STR-3)."""
    found = state.packed("parameters", 0)
    if not isinstance(found, dict) or found.get("type") != "set-rules":
        refuse("rules", "are none")
    return Rules(
        *(whole(found.get(name, default), f"rules.{name}", U64) for name, default in Rules()._asdict().items())
    )


def _read_ballots(
    said: Any, commands: Commands, trust: Trust, number: int, rules: Rules
) -> tuple[list[Vote], list[Row]]:
    """Votes BELOW about one account, version and mark, and the row of each (QRM-3, QRM-4, QRM-10)."""
    votes, rows = [], []
    for where, place in commands.all(said, "vote", "ballots"):
        vote = read_vote(place, trust, where)
        found = [row for row in vote.rows if row.account == number and not row.flags & WITHDRAWAL]
        require(len(found) == 1, where, f"says nothing of account {number}")
        _check_below(found[0], trust, rules, where)
        votes.append(vote)
        rows.append(found[0])
    require(bool(votes), "ballots", "there are none")
    marks = {(one.position, one.price_id, one.chain) for one in votes}
    require(len(marks) == 1, "ballots", "they speak of different marks")
    require(len({row.version for row in rows}) == 1, "ballots", "they speak of different versions of the account")
    times = [one.time for one in votes]
    require(max(times) - min(times) <= BALLOT_LIFE, "ballots", "more than 60 s of logical time lie between them")
    return votes, rows


def _check_below(row: Row, trust: Trust, rules: Rules, where: str) -> None:
    """Whether a row's verdict follows from its numbers."""
    require(row.verdict == BELOW, where, "is no verdict BELOW")
    maintenance = row.a_maintenance
    numbers = f"A's equity {money(row.a_equity)}, maintenance margin {money(maintenance)}"
    if not row.flags & WITHOUT_B:
        allowed = rules.tolerance_micros / MILLION + rules.tolerance_ppb / BILLION * max(maintenance, 0.0)
        require(row.a_equity - maintenance < -allowed, where, f"BELOW does not follow: {numbers}")
        second = f"B's equity {money(row.b_equity)}, maintenance margin {money(row.b_maintenance)}"
        require(row.b_equity - row.b_maintenance < -allowed, where, f"BELOW does not follow: {second}")
        return
    require(row.a_equity < maintenance, where, f"BELOW does not follow: {numbers}")
    if len(trust.replicas) > 1:
        wider = maintenance * ((MILLION - rules.witness_shortfall_ppm) / MILLION)
        require(row.a_equity < wider, where, f"without a second engine it needs less than {money(wider)}: {numbers}")


def _tell_recomputed(state: State, vote: Vote, number: int, rows: Sequence[Row], told: Told) -> None:
    """Work the votes' numbers out again where the proof has the certified state that they speak of."""
    row = rows[0]
    engines = "one engine" if row.flags & WITHOUT_B else "both engines"
    told.append(
        f"{engines}: equity {money(row.a_equity)} below maintenance margin {money(row.a_maintenance)}; "
        "the verdict follows from these numbers"
    )
    account = read_account(state, number)
    _, price_id, _ = state.words("market", 0, 3)
    told.append(f"state after frame {state.position}: its root has the votes of {state.told}")
    is_same = (account.version, price_id) == (row.version, vote.price_id)
    if not state.has("risk-table", 0):
        why = f"that state has version {account.version} of the account and prices {price_id}"
        told.append(f"not worked out again: {'the tables were built again before the votes' if is_same else why}")
        return
    require(is_same, "state", f"has version {account.version} of the account and prices {price_id}, not the ballots'")
    margin = recompute(state, account)
    for one in rows:
        require(margin.equity == one.a_equity, "ballots", f"equity {one.a_equity!r}, but {margin.equity!r} follows")
        is_right = margin.maintenance == one.a_maintenance
        require(is_right, "ballots", f"maintenance margin {one.a_maintenance!r}, but {margin.maintenance!r} follows")
    told.append("both numbers were worked out again here, from the account and the risk table under that root")


def check_consistency_proof(bundle: dict[str, Any], trust: Trust, checkpoint: Checkpoint, told: Told) -> None:
    """That a log only grew from one checkpoint to another (PRF-6)."""
    old, path = fields(bundle, "proof", "old path")
    earlier = read_checkpoint(old, trust, "old")
    nodes = hashes(path, "path")
    check_consistency(earlier.size, earlier.root, checkpoint.size, checkpoint.root, nodes, "path")
    told.append(f"the first {earlier.size} of its frames are those of the earlier checkpoint: the log only grew")


class Sums(NamedTuple):
    """A node of the tree of liabilities: what is owed, what is missing, and its hash."""

    owed: int
    missing: int
    hash: bytes


def _sum_bytes(node: Sums) -> bytes:
    return node.owed.to_bytes(16, "little") + node.missing.to_bytes(16, "little") + node.hash


def _sum_node(left: Sums, right: Sums, where: str) -> Sums:
    owed, missing = left.owed + right.owed, left.missing + right.missing
    require(owed <= U128 and missing <= U128, where, "a sum is beyond 128 bits")
    return Sums(owed, missing, sha256(b"\x01" + _sum_bytes(left) + _sum_bytes(right)))


def check_liabilities(bundle: dict[str, Any], trust: Trust, checkpoint: Checkpoint, told: Told) -> None:
    """That an account's equity is in the total that the venue published (PRF-9 to PRF-11)."""
    claim, frames, content, published, leaf, path = fields(bundle, "proof", "claim frames state publication leaf path")
    (number,) = fields(claim, "claim", "account")
    commands = Commands(read_frames(frames, checkpoint, "frames"))
    state = read_state(content, commands, trust, "state")
    whole(number, "claim.account", state.counts["accounts"] - 1, 4)
    place = commands.at(published, "publish-liabilities", "publication")
    said = place.command
    count, owed, missing = (whole(said.get(name), f"publication.{name}", U64) for name in ("count", "owed", "missing"))
    is_of_state = said.get("position") == state.position
    require(is_of_state, "publication", f"is about another state than that after frame {state.position}")
    root = said.get("root")
    if not isinstance(root, bytes):
        refuse("publication.root", "is no hash")
    account = read_account(state, number)
    margin = recompute(state, account)
    nonce, index = fields(leaf, "leaf", "nonce index")
    exact = math.ceil(_exact_millionths(margin.equity))
    node = Sums(max(0, exact), max(0, -exact), b"")
    secret = octets(nonce, "leaf.nonce", HASH_LENGTH)
    node = node._replace(hash=sha256(b"\x00" + number.to_bytes(8, "little") + secret + _sum_bytes(node)))
    whole(index, "leaf.index", count - 1)
    way = list(sides(index, count))
    listing = listed(path, "path")
    require(len(way) == len(listing), "path", f"has {len(listing)} nodes instead of {len(way)}")
    for n, (is_left, one) in enumerate(zip(way, listing)):
        more, less, digest = fields(one, f"path[{n}]", "owed missing hash")
        sibling = Sums(
            whole(more, f"path[{n}].owed", U128),
            whole(less, f"path[{n}].missing", U128),
            octets(digest, f"path[{n}].hash", 32),
        )
        node = _sum_node(sibling, node, "path") if is_left else _sum_node(node, sibling, "path")
    require(node == Sums(owed, missing, root), "path", "does not lead to the published sums and root")
    require(
        count == state.counts["accounts"] - 3,
        "publication.count",
        "is not every client's account and withdrawals in flight",
    )
    time, price_id, _ = state.words("market", 0, 3)
    told.append(f"state after frame {state.position}: its root has the votes of {state.told}")
    told.append(f"account {number} at logical time {time} ns, prices {price_id}: equity {money(margin.equity)}")
    total = f"{owed / MILLION:,.6f} owed, {missing / MILLION:,.6f} missing"
    told.append(
        f"it is one of {count} in the total published in frame {place.position}, record {place.record}: {total}"
    )
    state.all_used()
    commands.all_used("frames")


def _exact_millionths(amount: float) -> Any:
    from fractions import Fraction  # noqa: PLC0415 (needed by this kind of proof only)

    return Fraction(amount) * MILLION


KINDS = {
    "margin": check_margin,
    "liquidation": check_liquidation,
    "consistency": check_consistency_proof,
    "liabilities": check_liabilities,
}


# Rotation (PRF-13).


def follow_rotation(value: Any, trust: Trust, where: str, told: Told) -> Trust:
    """The replicas as a state has them whose root the replicas trusted so far certified."""
    note, frames, defined, content = fields(value, where, "checkpoint frames definitions state")
    checkpoint = read_checkpoint(note, trust, f"{where}.checkpoint")
    commands = Commands(read_frames(frames, checkpoint, f"{where}.frames"))
    state = read_state(content, commands, trust, f"{where}.state")
    found = _read_replicas(state, where)
    definitions = set()
    for at, place in commands.all(defined, "define-replica", f"{where}.definitions"):
        require(place.position <= state.position, at, "comes after that state")
        name, region, key = (place.command.get(field) for field in ("name", "region", "public_key"))
        require(isinstance(key, bytes), at, "defines no key")
        definitions.add((text_of(name, at), text_of("" if region is None else region, at), key))
    changed = {tuple(one[:3]): n for n, one in found.items() if trust.replicas.get(n, (None,) * 3)[:3] != one[:3]}
    require(definitions == changed.keys(), where, "the definitions in the log are not those of the changed keys")
    for number in sorted(changed.values()):
        one = found[number]
        told.append(f"key of replica {number} {one.name} from the state after frame {state.position}: {one.key.hex()}")
    for number in sorted(n for n, one in found.items() if one.suspended):
        told.append(f"replica {number} is suspended in the state after frame {state.position}: it does not count")
    state.all_used()
    commands.all_used(f"{where}.frames")
    return Trust(trust.log, max(trust.needed, len(found) // 2 + 1), found)


def _read_replicas(state: State, where: str) -> dict[int, Replica]:
    """The leaf `replicas` of the section roles; its place is looked for, as it moves with what is at its default."""
    leaves = [index for section, index in state._leaves if section == "roles"]
    require(len(leaves) == 1, where, "has not exactly one leaf of the section roles")
    leaf = state.packed("roles", leaves[0])
    is_list = isinstance(leaf, list) and len(leaf) == 2 and leaf[0] == "replicas" and isinstance(leaf[1], list)
    require(is_list, where, "the leaf is not that of the replicas")
    found = {}
    for number, one in enumerate(leaf[1]):
        require(
            isinstance(one, dict) and isinstance(one.get("public_key"), bytes), where, f"replica {number} has no key"
        )
        found[number] = Replica(
            str(one.get("name", "")), str(one.get("region", "")), one["public_key"], one.get("suspended", False) is True
        )
    return found


# The whole.

TLOG_PROOF = "c2sp.org/tlog-proof@v1"
_TLOG = re.compile(
    TLOG_PROOF + "\nextra ([A-Za-z0-9+/=]+)\nindex (0|[1-9][0-9]{0,18})\n((?:[A-Za-z0-9+/=]+\n)*)\n(.*)", re.S
)


def check_tlog_proof(data: bytes, trust: Trust) -> Told:
    """A tlog-proof of one frame, which it carries as its extra data (PRF-5)."""
    try:
        found = _TLOG.fullmatch(data.decode("utf-8"))
    except UnicodeDecodeError:
        found = None
    if found is None:
        refuse("proof", f"is no {TLOG_PROOF} with a frame")
    extra, index, path, note = found.groups()
    checkpoint = read_checkpoint(note, trust, "checkpoint")
    frame = octets(extra, "extra")
    check_inclusion(
        leaf_hash(frame),
        int(index),
        checkpoint.size,
        hashes(path.split("\n")[:-1], "path"),
        checkpoint.root,
        f"frame {index}",
    )
    return [
        _told_checkpoint(checkpoint, trust),
        f"frame {index} is in it: {len(frame)} bytes, SHA-256 {sha256(frame).hex()}",
    ]


def _told_checkpoint(checkpoint: Checkpoint, trust: Trust) -> str:
    who = trust.check_enough(list(checkpoint.signers), "checkpoint")
    return f"checkpoint of {checkpoint.size} frames of {trust.origin}: cosigned by {who}"


def verify(data: bytes, trust: Trust, against: bytes | None = None) -> Told:
    """What a proof shows, line by line.

    Args:
        data: The proof's bytes.
        trust: Whose signatures count.
        against: A checkpoint, cosigned or only its three lines, that somebody kept: the proof's must be it, or, in a
            proof of consistency, the earlier one must be.

    Raises:
        Refused: It does not hold; the text says where and why.
    """
    if data.startswith(TLOG_PROOF.encode()):
        require(against is None, "checkpoint", "a tlog-proof shows nothing about another checkpoint")
        return check_tlog_proof(data, trust)
    bundle = read_json(data, "proof")
    if not isinstance(bundle, dict):
        refuse("proof", "is no JSON object")
    require(canonical(bundle) == data, "proof", "is not written in its one form")
    rest = dict(bundle)
    form, kind, note, rotations = (rest.pop(name, None) for name in ("format", "kind", "checkpoint", "rotations"))
    require(form == FORMAT, "format", f"is {str(form)[:40]!r} instead of {FORMAT!r}")
    check = KINDS.get(kind) if isinstance(kind, str) else None
    if check is None:
        refuse("kind", f"is {str(kind)[:40]!r} instead of one of {', '.join(KINDS)}")
    told: Told = []
    for n, one in enumerate(listed(rotations, "rotations")):
        trust = follow_rotation(one, trust, f"rotations[{n}]", told)
    checkpoint = read_checkpoint(note, trust, "checkpoint")
    told.append(_told_checkpoint(checkpoint, trust))
    if against is not None:
        told.append(_check_against(against, bundle.get("old", note)))
    check(rest, trust, checkpoint, told)
    if len(trust.replicas) == 1:
        told.append("a quorum of one: all of this rests on one engine's word")
    return told


def _check_against(kept: bytes, note: Any) -> str:
    lines, shown = kept.decode("utf-8", "replace").split("\n")[:3], text_of(note, "checkpoint").split("\n")[:3]
    if lines != shown:
        problem = "has another root: the log was forked or rewritten" if lines[:2] == shown[:2] else "is another one"
        refuse("checkpoint", f"the one that was kept {problem} ({' '.join(lines)[:200]})")
    return f"the checkpoint of {shown[1]} frames is the one that was kept"


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(LENGTH_MAXIMUM + 1)


def main(arguments: Iterable[str] | None = None) -> int:
    """Check a proof and print what was checked; the exit status."""
    parser = argparse.ArgumentParser(description="Check a proof of a Holdfast log, offline.")
    parser.add_argument("proof", help="the proof: a bundle, or a tlog-proof of a frame")
    parser.add_argument("--trust", required=True, metavar="KEYS.json", help="the replicas' keys that you trust")
    parser.add_argument("--against", metavar="CHECKPOINT", help="a checkpoint that you kept")
    given = parser.parse_args(None if arguments is None else list(arguments))
    try:
        data, keys = _read_file(given.proof), _read_file(given.trust)
        against = None if given.against is None else _read_file(given.against)
        trust = read_trust(keys)
    except (OSError, Refused) as error:
        sys.stderr.write(f"error: {error}\n")
        return UNUSABLE
    try:
        told = verify(data, trust, against)
    except Refused as refusal:
        sys.stdout.write(f"REFUSED {refusal}\n")
        return REFUSED
    sys.stdout.write("".join(f"ok {line}\n" for line in told) + "the proof holds\n")
    return HOLDS


if __name__ == "__main__":
    sys.exit(main())
