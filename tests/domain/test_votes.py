"""Votes and their signatures: golden files packed by another program, published vectors, and every kind of damage."""

import hashlib
import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import golden_votes
from holdfast.domain import votes
from holdfast.domain.errors import InputError
from holdfast.domain.signatures import is_signature, is_usable_key, public_key_of, sign
from holdfast.domain.votes import (
    ROW,
    ROWS_MAXIMUM,
    UNSIGNED,
    VOTE_LENGTH_MAXIMUM,
    Verdict,
    Vote,
    VoteError,
    decode_vote,
    encode_vote,
    sign_vote,
    verify_vote,
    vote_statement,
)

REPOSITORY = Path(__file__).parents[2]
FILES = {file.name[:-4]: file.read_bytes() for file in sorted((REPOSITORY / "tests" / "golden").glob("vote-v1-*.bin"))}
PRIVATE = golden_votes.PRIVATE_KEYS
PUBLIC = [public_key_of(key) for key in PRIVATE]
HASH, ROOT = golden_votes.HASH, golden_votes.ROOT
TIME = 1_584_014_400_000_000_000


def rows_of(rows):
    return np.array(rows, ROW)


def vote_of(content=(), **changes):
    return replace(Vote(1, 3, 2**64 - 1, HASH, ROOT, 41, TIME, rows_of(list(content))), **changes)


def altered(data, at, layout, value):
    """The bytes with another value among them."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, value)
    return bytes(changed)


def test_golden_files():
    written = golden_votes.golden()
    assert {f"{name}.bin": data for name, data in FILES.items()} == {
        name: written[name] for name in ("vote-v1-empty.bin", "vote-v1-rows.bin")
    }


@pytest.mark.criterion("VOT-16")
def test_what_the_page_prints():
    page = (REPOSITORY / "specs" / "votes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+\.bin)` \| (\d+) \| `([0-9a-f]{64})` \|$", page, re.MULTILINE)
    assert {name: (int(length), digest) for name, length, digest in rows} == {
        name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in golden_votes.golden().items()
    }
    printed = ["".join(block.split()) for block in re.findall(r"```\n(.*?)```", page, re.DOTALL)]
    assert printed[:2] == [FILES["vote-v1-empty"].hex(), FILES["vote-v1-rows"][112:176].hex()]


@pytest.mark.criterion("VOT-1")
@pytest.mark.parametrize(
    ("number", "public_key", "message", "signature"),
    # RFC 8032, 7.1, tests 1 to 3.
    [
        (
            0,
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            1,
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            2,
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ],
)
def test_published_signatures(number, public_key, message, signature):
    message = bytes.fromhex(message)
    assert PUBLIC[number].hex() == public_key == golden_votes.public_key(PRIVATE[number]).hex()
    assert sign(PRIVATE[number], message).hex() == signature == golden_votes.signature(PRIVATE[number], message).hex()
    assert is_signature(PUBLIC[number], message, bytes.fromhex(signature))
    assert not is_signature(PUBLIC[number], message + b"\0", bytes.fromhex(signature))
    assert not is_signature(PUBLIC[(number + 1) % 3], message, bytes.fromhex(signature))


def points_of_small_order():
    """The eight points whose order divides 8: multiples of one of order 8, found by trying."""
    for y in range(2, 100):
        point = golden_votes.point_at(y, is_odd=False)
        torsion = point and golden_votes.times(golden_votes.ORDER, point)
        if torsion and golden_votes.times(4, torsion) != (0, 1):
            return [golden_votes.times(n, torsion) for n in range(8)]
    raise AssertionError("no point of order 8 was found")


@pytest.mark.criterion("VOT-2")
def test_keys_of_small_order_sign_nothing():
    points = points_of_small_order()
    assert len(set(points)) == 8
    for point in points:
        key = golden_votes.encoded(point)
        assert not is_usable_key(key)
        # Under such a key R = S·B − k·A has few values, so that one of a few signatures fits any message.
        for r in points:
            assert not is_signature(key, b"any", golden_votes.encoded(r) + bytes(32))


@pytest.mark.criterion("VOT-2")
@pytest.mark.parametrize("y", [golden_votes.PRIME, golden_votes.PRIME + 1, golden_votes.PRIME + 3, 2**255 - 1])
@pytest.mark.parametrize("sign_bit", [0, 1 << 255])
def test_keys_that_are_not_canonical(y, sign_bit):
    assert not is_usable_key((y | sign_bit).to_bytes(32, "little"))


@pytest.mark.criterion("VOT-2")
@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), None, "d7" * 16, bytearray(32)])
def test_what_is_no_key(key):
    assert not is_usable_key(key)
    assert not is_signature(key, b"", UNSIGNED)


@pytest.mark.criterion("VOT-2")
def test_a_key_that_is_no_point():
    y = next(y for y in range(2, 100) if golden_votes.point_at(y, is_odd=False) is None)
    assert not is_signature(y.to_bytes(32, "little"), b"", sign(PRIVATE[0], b""))


@pytest.mark.criterion("VOT-2")
def test_s_is_below_the_order():
    signature = sign(PRIVATE[0], b"message")
    s = int.from_bytes(signature[32:], "little")
    assert is_signature(PUBLIC[0], b"message", signature)
    for other in range(s + golden_votes.ORDER, 2**256, golden_votes.ORDER):
        assert not is_signature(PUBLIC[0], b"message", signature[:32] + other.to_bytes(32, "little"))


@pytest.mark.criterion("VOT-2")
def test_the_equation_is_without_the_cofactor():
    torsion = points_of_small_order()[1]
    nonce, secret = 12_345, golden_votes.secret_scalar(PRIVATE[0])
    for shift in (golden_votes.Point(0, 1), torsion):
        r = golden_votes.encoded(golden_votes.add(golden_votes.times(nonce, golden_votes.BASE), shift))
        k = golden_votes.challenge(r, PUBLIC[0], b"message")
        s = ((nonce + k * secret) % golden_votes.ORDER).to_bytes(32, "little")
        # Eight times the equation holds in both cases, the equation itself in the first only.
        assert is_signature(PUBLIC[0], b"message", r + s) is (shift != torsion)


@pytest.mark.criterion("VOT-2")
def test_a_key_with_a_part_of_small_order():
    # No rule refuses such a key, so the equation alone decides, one way everywhere.
    secret = golden_votes.secret_scalar(PRIVATE[0])
    public = golden_votes.add(golden_votes.times(secret, golden_votes.BASE), points_of_small_order()[1])
    key = golden_votes.encoded(public)
    answers = {}
    for nonce in range(1, 60):
        r = golden_votes.encoded(golden_votes.times(nonce, golden_votes.BASE))
        k = golden_votes.challenge(r, key, b"message")
        s = ((nonce + k * secret) % golden_votes.ORDER).to_bytes(32, "little")
        answers.setdefault(k % 8 == 0, set()).add(is_signature(key, b"message", r + s))
    assert answers == {True: {True}, False: {False}}


@pytest.mark.criterion("VOT-1")
@pytest.mark.parametrize("key", [b"", bytes(31), bytes(64), None, "x" * 32])
def test_a_private_key_is_not_shown(key):
    for call in (lambda: sign(key, b""), lambda: public_key_of(key), lambda: sign_vote(vote_of(), key)):
        with pytest.raises(InputError, match=r"^private_key: cannot be read; give the 32 bytes of an Ed25519 seed$"):
            call()


@pytest.mark.criterion("VOT-3", "VOT-4", "VOT-16")
def test_golden_votes():
    vote = verify_vote(FILES["vote-v1-rows"], PUBLIC[1])
    assert (vote.replica, vote.logic_version, vote.position) == (1, 3, 2**64 - 1)
    assert (vote.chain_hash, vote.state_root, vote.price_id, vote.time) == (HASH, ROOT, 41, TIME)
    assert vote.rows.tolist() == golden_votes.ROWS
    assert vote.signature == FILES["vote-v1-rows"][-64:]
    assert sign_vote(vote_of(golden_votes.ROWS), PRIVATE[1]) == encode_vote(vote) == FILES["vote-v1-rows"]
    empty = verify_vote(FILES["vote-v1-empty"], PUBLIC[0])
    assert (empty.replica, empty.position, len(empty.rows)) == (0, 0, 0)
    assert sign_vote(Vote(0, 1, 0, HASH, ROOT, 0, 0, rows_of([])), PRIVATE[0]) == FILES["vote-v1-empty"]


@pytest.mark.criterion("VOT-4")
def test_layout_of_a_row():
    assert ROW.itemsize == 64
    assert {name: ROW.fields[name][1] for name in ROW.names} == {
        "account": 0, "verdict": 4, "flags": 5, "reserved": 6, "account_version": 8, "a_equity": 16,
        "a_maintenance": 24, "b_equity": 32, "b_maintenance": 40, "spare": 48, "spare_last": 56,
    }  # fmt: skip
    assert {verdict.name: verdict.value for verdict in Verdict} == {"BELOW": 1, "ABOVE": 2, "BAND": 3}
    assert (votes.FLAG_WITHOUT_B, votes.FLAG_WITHDRAWAL) == (1, 2)


@pytest.mark.criterion("VOT-3")
def test_a_decoded_vote_cannot_be_changed():
    changing = bytearray(FILES["vote-v1-rows"])
    vote = decode_vote(changing)
    changing[112:] = bytes(len(changing) - 112)
    assert vote.rows.tolist() == golden_votes.ROWS
    with pytest.raises(ValueError, match="read-only"):
        vote.rows["verdict"][0] = 2


amounts = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)
row_content = st.tuples(st.sampled_from(Verdict), st.booleans(), st.integers(0, 2**64 - 1), *[amounts] * 4)


@st.composite
def vote_rows(draw):
    keys = draw(st.lists(st.tuples(st.booleans(), st.integers(0, 2**32 - 1)), max_size=6, unique=True).map(sorted))
    rows = []
    for is_withdrawal, account in keys:
        verdict, is_absent, version, *numbers = draw(row_content)
        numbers[2:] = [0.0, 0.0] if is_absent else numbers[2:]
        rows.append((account, verdict, is_absent | is_withdrawal << 1, 0, version, *numbers, 0, 0))
    return rows


@pytest.mark.criterion("VOT-3", "VOT-5", "VOT-6")
@given(vote_rows(), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1))
def test_votes_round_trip(rows, replica, position, time):
    vote = vote_of(rows, replica=replica, position=position, time=time)
    data = sign_vote(vote, PRIVATE[2])
    again = verify_vote(data, PUBLIC[2])
    assert again.rows.tolist() == rows
    assert (again.replica, again.position, again.time) == (replica, position, time)
    assert encode_vote(again) == data
    assert len(votes.describe(again).splitlines()) == 4 + len(rows)


@pytest.mark.criterion("VOT-5", "VOT-7")
@pytest.mark.parametrize(
    ("at", "layout", "value", "field"),
    [
        (0, "4s", b"HFVU", "magic"),
        (4, "<H", 2, "format"),
        (6, "<H", 1, "reserved"),
        (104, "<I", 16_001, "count"),
        (108, "<I", 1, "reserved_last"),
        (104, "<I", 4, "length"),
        (104, "<I", 6, "length"),
        (112 + 4, "<B", 0, "rows[0].verdict"),
        (112 + 64 + 4, "<B", 4, "rows[1].verdict"),
        (112 + 5, "<B", 4, "rows[0].flags"),
        (112 + 6, "<H", 1, "rows[0].reserved"),
        (112 + 16, "<d", float("nan"), "rows[0].a_equity"),
        (112 + 24, "<d", float("inf"), "rows[0].a_maintenance"),
        (112 + 32, "<d", float("-inf"), "rows[0].b_equity"),
        (112 + 40, "<d", -0.0, "rows[0].b_maintenance"),
        (112 + 16, "<d", -0.0, "rows[0].a_equity"),
        (112 + 5, "<B", 1, "rows[0].b_equity"),
        (112 + 2 * 64 + 40, "<d", 1.0, "rows[2].b_maintenance"),
        (112 + 48, "<Q", 1, "rows[0].spare"),
        (112 + 4 * 64 + 56, "<Q", 1 << 63, "rows[4].spare_last"),
        (112, "<I", 5, "rows[1].account"),
        (112 + 64, "<I", 3, "rows[1].account"),
        (112 + 5, "<B", 2, "rows[1].account"),
        (112 + 3 * 64, "<I", 4, "rows[4].account"),
        (112, "<I", 3, "signature"),
        (8, "<I", 0, "signature"),
        (432, "<B", 0, "signature"),
    ],
)
def test_each_rule_of_a_vote(at, layout, value, field):
    data = altered(FILES["vote-v1-rows"], at, layout, value)
    with pytest.raises(VoteError) as caught:
        verify_vote(data, PUBLIC[1])
    assert caught.value.field == field
    assert re.fullmatch(rf"vote: {re.escape(field)} is .+, expected .+", str(caught.value))
    if field != "signature":
        with pytest.raises(VoteError, match=re.escape(field)):
            decode_vote(data)


@pytest.mark.criterion("VOT-7")
def test_a_vote_is_of_one_key():
    data = FILES["vote-v1-rows"]
    for key, field in [(PUBLIC[0], "signature"), (bytes(32), "public_key"), (b"", "public_key")]:
        with pytest.raises(VoteError) as caught:
            verify_vote(data, key)
        assert caught.value.field == field
    for signature in (UNSIGNED, data[-32:] + data[-64:-32]):
        with pytest.raises(VoteError, match="signature"):
            verify_vote(vote_statement(decode_vote(data)) + signature, PUBLIC[1])


@pytest.mark.criterion("VOT-7")
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"replica": -1}, "replica"),
        ({"replica": 2**32}, "replica"),
        ({"replica": True}, "replica"),
        ({"logic_version": 2**32}, "logic_version"),
        ({"position": 2**64}, "position"),
        ({"position": 1.0}, "position"),
        ({"price_id": -1}, "price_id"),
        ({"time": 2**63}, "time"),
        ({"chain_hash": bytes(31)}, "chain_hash"),
        ({"state_root": "0" * 32}, "state_root"),
        ({"rows": []}, "rows"),
        ({"rows": np.zeros((1, 1), ROW)}, "rows"),
        ({"rows": np.zeros(1, ROW)}, "rows[0].verdict"),
        ({"rows": rows_of(golden_votes.ROWS[::-1])}, "rows[1].account"),
        ({"rows": rows_of([golden_votes.ROWS[0]] * 2)}, "rows[1].account"),
        ({"rows": np.zeros(16_001, ROW)}, "count"),
    ],
)
def test_writing_a_vote_refuses_what_reading_would(changes, field):
    with pytest.raises(VoteError) as caught:
        sign_vote(vote_of(**changes), PRIVATE[0])
    assert caught.value.field == field
    with pytest.raises(VoteError, match="signature"):
        encode_vote(vote_of(signature=b""))


@pytest.mark.criterion("VOT-3", "VOT-7")
def test_the_largest_vote():
    rows = np.zeros(ROWS_MAXIMUM, ROW)
    rows["account"], rows["verdict"] = np.arange(ROWS_MAXIMUM), Verdict.BELOW
    data = sign_vote(vote_of(rows=rows), PRIVATE[0])
    assert (ROWS_MAXIMUM, VOTE_LENGTH_MAXIMUM, len(data)) == (16_000, 1_024_176, 1_024_176)
    assert len(verify_vote(data, PUBLIC[0]).rows) == 16_000
    with pytest.raises(VoteError, match="length is 1024177 bytes, expected 176 to 1024176"):
        decode_vote(data + b"\0")


@pytest.mark.criterion("VOT-17")
def test_description_of_a_vote():
    text = votes.describe(decode_vote(FILES["vote-v1-rows"]), rows_maximum=4).splitlines()
    assert text[0] == (
        f"vote of replica 1 after position 18446744073709551615, format 1: 5 rows, logic 3, price 41, time {TIME}"
    )
    assert text[1:3] == [f"  H {HASH.hex()}", f"  state root {ROOT.hex()}"]
    assert (
        text[3]
        == "  [0] account 4 version 17 BELOW A equity 1000.25 maintenance 1250.5 B equity 1000.25 maintenance 1250.5"
    )
    assert text[5].endswith("BELOW A equity -2500000000.0 maintenance 1.0 B absent")
    assert text[6].startswith("  [3] withdrawal 0 version 9 ABOVE")
    assert text[7:] == ["  … and 1 more", f"  signature {FILES['vote-v1-rows'][-64:].hex()}"]


@pytest.mark.criterion("VOT-3", "VOT-7")
@pytest.mark.parametrize("name", sorted(FILES))
def test_every_byte_counts(name):
    data = FILES[name]
    for at in range(len(data)):
        for flip in (1, 0x80, 0xFF):
            with pytest.raises(VoteError):
                verify_vote(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :], PUBLIC[data[8]])
        with pytest.raises(VoteError):
            decode_vote(data[:at])
    with pytest.raises(VoteError, match="length"):
        decode_vote(data + b"\0")


@pytest.mark.criterion("VOT-3", "VOT-7")
@given(st.sampled_from(sorted(FILES)), st.data())
def test_any_damage_to_an_unchecked_vote(name, data):
    damaged = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        vote = decode_vote(damaged)
    except VoteError:
        return
    assert encode_vote(vote) == damaged


@pytest.mark.criterion("VOT-7")
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes(data, is_headed):
    data = FILES["vote-v1-empty"][:8] + data if is_headed else data
    try:
        vote = decode_vote(data)
    except VoteError:
        return
    assert encode_vote(vote) == data


@pytest.mark.criterion("VOT-7")
@pytest.mark.parametrize("data", [None, "HFVT", 64, [0] * 64])
def test_what_is_not_bytes(data):
    with pytest.raises(VoteError, match=r"length is a .+, expected bytes"):
        decode_vote(data)
