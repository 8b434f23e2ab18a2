"""Leases, withdrawals and quarantines: golden files packed by another program, and every kind of damage."""

import hashlib
import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import golden_votes
from holdfast.domain import leases, quarantines, withdrawals
from holdfast.domain.leases import Lease, LeaseError, decode_lease, encode_lease
from holdfast.domain.quarantines import (
    Quarantine,
    QuarantineError,
    Subject,
    decode_quarantine,
    encode_quarantine,
    quarantine_statement,
    sign_quarantine,
    verify_quarantine,
)
from holdfast.domain.signatures import public_key_of
from holdfast.domain.withdrawals import (
    Withdrawal,
    WithdrawalError,
    WithdrawalState,
    decode_withdrawal,
    encode_withdrawal,
)

REPOSITORY = Path(__file__).parents[2]
GOLDEN = REPOSITORY / "tests" / "golden"
KINDS = ("lease", "withdrawal", "quarantine")
FILES = {file.name[:-4]: file.read_bytes() for kind in KINDS for file in sorted(GOLDEN.glob(f"{kind}-v1*.bin"))}
PRIVATE = golden_votes.PRIVATE_KEYS
PUBLIC = dict(enumerate(map(public_key_of, PRIVATE)))
HASH, ROOT = golden_votes.HASH, golden_votes.ROOT
TIME = 1_584_014_400_000_000_000

LEASE = Lease(81, "orders:deribit", 2, TIME, TIME + 30 * 10**9)
WITHDRAWAL = Withdrawal(
    7, 17, 0, 250_000_000, WithdrawalState.RESERVED, 196_613, "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq · memo 7"
)
QUARANTINE = Quarantine(Subject.COMMAND, 196_613, HASH, golden_votes.CAUSE)
ERRORS = {"lease": LeaseError, "withdrawal": WithdrawalError, "quarantine": QuarantineError}
DECODE = {"lease": decode_lease, "withdrawal": decode_withdrawal, "quarantine": decode_quarantine}
ENCODE = {"lease": encode_lease, "withdrawal": encode_withdrawal, "quarantine": encode_quarantine}


def read(name):
    """What a golden file holds, its signatures checked."""
    kind = name.split("-")[0]
    return verify_quarantine(FILES[name], PUBLIC) if kind == "quarantine" else DECODE[kind](FILES[name])


def altered(name, at, layout, value):
    """A golden file with another value at a byte, its checksum made right again."""
    changed = bytearray(FILES[name])
    struct.pack_into(layout, changed, at, value)
    return golden_votes.sealed(bytes(changed[:-32]))


def test_golden_files():
    written = {name: data for name, data in golden_votes.golden().items() if not name.startswith("vote")}
    assert {f"{name}.bin": data for name, data in FILES.items()} == written
    assert all(hashlib.sha256(data[:-32]).digest() == data[-32:] for data in FILES.values())


@pytest.mark.criterion("VOT-16")
def test_what_the_page_prints():
    page = (REPOSITORY / "specs" / "votes.md").read_text(encoding="utf-8")
    printed = ["".join(block.split()) for block in re.findall(r"```\n(.*?)```", page, re.DOTALL)]
    assert printed[2:] == [FILES["lease-v1"].hex(), FILES["quarantine-v1-frame"].hex()]


@pytest.mark.criterion("VOT-9", "VOT-12", "VOT-14", "VOT-16")
def test_golden_decisions():
    assert read("lease-v1") == LEASE
    assert read("lease-v1-extremes") == Lease(2**64 - 1, "ü" * 32, 2**32 - 1, -(2**63), 2**63 - 1)
    assert read("withdrawal-v1") == WITHDRAWAL
    assert read("withdrawal-v1-extremes") == Withdrawal(
        2**32 - 1, 2**32 - 1, 2**32 - 1, 2**63 - 1, WithdrawalState.CANCELLED, 2**64 - 1, ""
    )
    signed = sign_quarantine(sign_quarantine(QUARANTINE, 2, PRIVATE[2]), 0, PRIVATE[0])
    assert read("quarantine-v1") == signed
    assert sign_quarantine(signed, 2, PRIVATE[2]) == signed
    frame = Quarantine(Subject.FRAME, 0, bytes(32), "x")
    assert read("quarantine-v1-frame") == sign_quarantine(frame, 1, PRIVATE[1])
    for name, data in FILES.items():
        assert ENCODE[name.split("-")[0]](read(name)) == data


@pytest.mark.criterion("VOT-12", "VOT-14")
def test_numbers_of_states_and_subjects():
    assert {state.name: state.value for state in WithdrawalState} == {
        "REQUESTED": 1, "RESERVED": 2, "RELEASED": 3, "CANCELLED": 4,
    }  # fmt: skip
    assert {subject.name: subject.value for subject in Subject} == {"COMMAND": 1, "FRAME": 2}


@pytest.mark.criterion("VOT-8", "VOT-10", "VOT-11", "VOT-13", "VOT-15")
@pytest.mark.parametrize(
    ("name", "at", "layout", "value", "field"),
    [
        ("lease-v1", 0, "4s", b"HFLT", "magic"),
        ("lease-v1", 4, "<H", 2, "format"),
        ("lease-v1", 6, "<H", 13, "role_length"),
        ("lease-v1", 12, "<I", 1, "reserved"),
        ("lease-v1", 32, "<q", TIME, "end"),
        ("lease-v1", 24, "<q", 2**63 - 1, "end"),
        ("lease-v1", 40, "<B", 0x1F, "role"),
        ("lease-v1", 40, "<B", 0x7F, "role"),
        ("lease-v1", 40, "<B", 0xFF, "role"),
        ("lease-v1", 40, "2s", "\x85".encode(), "role"),
        ("lease-v1", 40, "3s", b"\xed\xa0\x80", "role"),
        ("withdrawal-v1", 0, "4s", b"HFWE", "magic"),
        ("withdrawal-v1", 4, "<H", 0, "format"),
        ("withdrawal-v1", 6, "<H", 0, "destination_length"),
        ("withdrawal-v1", 8, "<Q", 2**32, "number"),
        ("withdrawal-v1", 24, "<q", 0, "amount"),
        ("withdrawal-v1", 24, "<q", -1, "amount"),
        ("withdrawal-v1", 32, "<B", 0, "state"),
        ("withdrawal-v1", 32, "<B", 5, "state"),
        ("withdrawal-v1", 33, "<B", 1, "reserved"),
        ("withdrawal-v1", 39, "<B", 1, "reserved"),
        ("withdrawal-v1", 48, "<B", 10, "destination"),
        ("quarantine-v1", 0, "4s", b"HFQS", "magic"),
        ("quarantine-v1", 4, "<H", 2, "format"),
        ("quarantine-v1", 48, "<I", 2**32 - 1, "cause_length"),
        ("quarantine-v1", 48, "<I", 31, "count"),
        ("quarantine-v1", 86, "<I", 3, "count"),
        ("quarantine-v1", 6, "<B", 0, "subject"),
        ("quarantine-v1", 6, "<B", 3, "subject"),
        ("quarantine-v1", 7, "<B", 1, "reserved"),
        ("quarantine-v1", 52, "<I", 1, "reserved_last"),
        ("quarantine-v1", 56, "<B", 0, "cause"),
        ("quarantine-v1", 90, "<I", 2, "signatures[1].replica"),
        ("quarantine-v1", 90, "<I", 3, "signatures[1].replica"),
        ("quarantine-v1", 90, "<I", 1, "signatures[0].signature"),
        ("quarantine-v1", 158, "<I", 3, "signatures[1].replica"),
        ("quarantine-v1", 170, "<B", 0, "signatures[1].signature"),
        ("quarantine-v1", 8, "<Q", 0, "signatures[0].signature"),
        ("quarantine-v1", 16, "<Q", 0, "signatures[0].signature"),
    ],
)
def test_each_rule_of_a_decision(name, at, layout, value, field):
    data, kind = altered(name, at, layout, value), name.split("-")[0]
    with pytest.raises(ERRORS[kind]) as caught:
        verify_quarantine(data, PUBLIC) if kind == "quarantine" else DECODE[kind](data)
    assert caught.value.field == field
    assert re.fullmatch(rf"{kind}: {re.escape(field)} is .+, expected .+", str(caught.value))


@pytest.mark.criterion("VOT-15")
def test_the_empty_parts_of_a_quarantine():
    head = bytearray(FILES["quarantine-v1"][:56])
    head[48:52] = bytes(4)
    rest = FILES["quarantine-v1"][86:-32]
    with pytest.raises(QuarantineError, match="cause is 0 bytes, expected 1 to 1024 bytes"):
        decode_quarantine(golden_votes.sealed(bytes(head) + rest))
    unsigned = golden_votes.sealed(FILES["quarantine-v1"][:86] + bytes(4))
    with pytest.raises(QuarantineError, match="count is 0 signatures, expected 1 to 64"):
        decode_quarantine(unsigned)
    with pytest.raises(QuarantineError, match=r"signatures\[1\]\.replica is 2, expected a replica whose key is known"):
        verify_quarantine(FILES["quarantine-v1"], {0: PUBLIC[0]})


@pytest.mark.criterion("VOT-11", "VOT-13", "VOT-15")
@pytest.mark.parametrize(
    ("content", "field"),
    [
        (replace(LEASE, holder=2**32), "holder"),
        (replace(LEASE, lease_id=-1), "lease_id"),
        (replace(LEASE, start=-(2**63) - 1), "start"),
        (replace(LEASE, end=LEASE.start), "end"),
        (replace(LEASE, end=2**63), "end"),
        (replace(LEASE, role=""), "role"),
        (replace(LEASE, role="ü" * 33), "role"),
        (replace(LEASE, role=b"orders"), "role"),
        (replace(LEASE, role="\ud800"), "role"),
        (replace(LEASE, role="a\nb"), "role"),
        (replace(WITHDRAWAL, number=2**32), "number"),
        (replace(WITHDRAWAL, account=-1), "account"),
        (replace(WITHDRAWAL, asset=2**32), "asset"),
        (replace(WITHDRAWAL, amount=0), "amount"),
        (replace(WITHDRAWAL, amount=2**63), "amount"),
        (replace(WITHDRAWAL, state=5), "state"),
        (replace(WITHDRAWAL, state=True), "state"),
        (replace(WITHDRAWAL, requested_at=2**64), "requested_at"),
        (replace(WITHDRAWAL, destination="x" * 257), "destination"),
        (replace(QUARANTINE, subject=0), "subject"),
        (replace(QUARANTINE, position=-1), "position"),
        (replace(QUARANTINE, chain_hash=b""), "chain_hash"),
        (replace(QUARANTINE, cause="x" * 1_025), "cause"),
        (QUARANTINE, "count"),
        (replace(QUARANTINE, signatures=tuple((n, bytes(64)) for n in range(65))), "count"),
        (replace(QUARANTINE, signatures=((1, bytes(64)), (1, bytes(64)))), "signatures[1].replica"),
        (replace(QUARANTINE, signatures=((2**32, bytes(64)),)), "signatures[0].replica"),
        (replace(QUARANTINE, signatures=((0, bytes(63)),)), "signatures[0].signature"),
    ],
)
def test_writing_a_decision_refuses_what_reading_would(content, field):
    kind = type(content).__name__.lower()
    with pytest.raises(ERRORS[kind]) as caught:
        ENCODE[kind](content)
    assert caught.value.field == field


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
unsigned_32, unsigned_64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)


@pytest.mark.criterion("VOT-8", "VOT-9", "VOT-12", "VOT-14")
@given(texts, unsigned_32, unsigned_64, st.integers(-(2**63), 2**63 - 2), st.data())
def test_decisions_round_trip(text, small, large, signed, data):
    lease = Lease(large, text or "x", small, signed, data.draw(st.integers(signed + 1, 2**63 - 1)))
    assert decode_lease(encode_lease(lease)) == lease
    state = data.draw(st.sampled_from(WithdrawalState))
    withdrawal = Withdrawal(small, small, small, max(1, signed), state, large, text)
    assert decode_withdrawal(memoryview(encode_withdrawal(withdrawal))) == withdrawal
    quarantine = Quarantine(data.draw(st.sampled_from(Subject)), large, ROOT, text or "x")
    quarantine = sign_quarantine(sign_quarantine(quarantine, 1, PRIVATE[1]), 0, PRIVATE[0])
    assert verify_quarantine(bytearray(encode_quarantine(quarantine)), PUBLIC) == quarantine
    assert quarantine_statement(quarantine) in encode_quarantine(quarantine)
    assert len(leases.describe(lease).splitlines()) == len(withdrawals.describe(withdrawal).splitlines()) == 1
    assert len(quarantines.describe(quarantine).splitlines()) == 4


@pytest.mark.criterion("VOT-17")
def test_descriptions_of_decisions():
    assert leases.describe(LEASE) == (
        f"lease 81, format 1: 'orders:deribit' held by replica 2 from {TIME} until {TIME + 30 * 10**9}, 30000000000 ns"
    )
    assert withdrawals.describe(replace(WITHDRAWAL, destination="x\u2028y")) == (
        "withdrawal 7, format 1: RESERVED, 250000000 units of asset 0 from account 17 to 'x\\u2028y', "
        "requested by command 196613"
    )
    assert quarantines.describe(read("quarantine-v1")).splitlines()[:2] == [
        "quarantine of COMMAND 196613, format 1: 'exit −9 twice: out of memory', 2 signatures",
        f"  H before its frame {HASH.hex()}",
    ]


@pytest.mark.criterion("VOT-11", "VOT-13", "VOT-15")
@pytest.mark.parametrize("name", sorted(FILES))
def test_every_byte_counts(name):
    data, kind = FILES[name], name.split("-")[0]

    def refuses(damaged):
        with pytest.raises(ERRORS[kind]):
            DECODE[kind](damaged)

    for at in range(len(data)):
        for flip in (1, 0x80, 0xFF):
            refuses(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
        refuses(data[:at])
    refuses(data + b"\0")


@pytest.mark.criterion("VOT-11", "VOT-13", "VOT-15")
@given(st.sampled_from(sorted(FILES)), st.data())
def test_any_damage_under_a_right_checksum(name, data):
    kind, damaged = name.split("-")[0], bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = golden_votes.sealed(bytes(damaged[:-32]))
    try:
        content = DECODE[kind](damaged)
    except ERRORS[kind]:
        return
    assert ENCODE[kind](content) == damaged


@pytest.mark.criterion("VOT-11", "VOT-13", "VOT-15")
@given(st.sampled_from(KINDS), st.binary(max_size=300), st.booleans())
def test_any_bytes(kind, data, is_headed):
    data = golden_votes.sealed(FILES[f"{kind}-v1"][:6] + data) if is_headed else data
    try:
        content = DECODE[kind](data)
    except ERRORS[kind]:
        return
    assert ENCODE[kind](content) == data


@pytest.mark.parametrize("data", [None, "HFLS", 64, [0] * 64])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_bytes(kind, data):
    with pytest.raises(ERRORS[kind], match=r"length is a .+, expected bytes"):
        DECODE[kind](data)
