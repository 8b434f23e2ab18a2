"""The state root against bytes that were laid out by hand."""

import hashlib
import struct

import pytest

from holdfast.domain.errors import InputError
from holdfast.proof.inclusion import EMPTY_ROOT
from holdfast.proof.merkle import MerkleTree
from holdfast.proof.state_root import SECTIONS, STATE_LENGTH, state_bytes, state_root

LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
EMPTY = [(name, 0, EMPTY_ROOT) for name in SECTIONS]
WORKED = [(name, 8 - s, MerkleTree(LEAVES[: 8 - s]).root()) for s, name in enumerate(SECTIONS)]


@pytest.mark.criterion("MRK-7", "MRK-10")
def test_worked_roots():
    assert SECTIONS == ("accounts", "orders", "sessions", "market", "parameters", "roles", "risk-table")
    assert state_root(WORKED).hex() == "8ac3a4beb3be438154a248d61793e3c19e6623337430b3bec875bd9327cd4c13"
    assert state_root(EMPTY).hex() == "2fad49b3053a732933e85128b5a3b7af042c4102b46a38cec14e09d0aecdbd0d"


@pytest.mark.criterion("MRK-7")
def test_layout():
    data = state_bytes(WORKED)
    assert len(data) == STATE_LENGTH == 400
    assert data[:32].hex() == (
        "48465352" "0100" "0700" "6163636f756e74730000000000000000" "0800000000000000"
    )  # fmt: skip
    assert data[-56:] == b"risk-table".ljust(16, b"\0") + struct.pack("<Q", 2) + MerkleTree(LEAVES[:2]).root()
    assert hashlib.sha256(data).digest() == state_root(WORKED)


@pytest.mark.criterion("MRK-7")
@pytest.mark.parametrize("section", range(7))
def test_every_section_counts(section):
    name, count, root = WORKED[section]
    roots = {state_root(WORKED)}
    for changed in ((name, count + 1, root), (name, count, bytes(32))):
        roots.add(state_root([*WORKED[:section], changed, *WORKED[section + 1 :]]))
    assert len(roots) == 3


@pytest.mark.criterion("MRK-8")
@pytest.mark.parametrize(
    ("sections", "field"),
    [
        ([], "sections"),
        (EMPTY[:-1], "sections"),
        ([*EMPTY, EMPTY[0]], "sections"),
        ([EMPTY[1], EMPTY[0], *EMPTY[2:]], "sections"),
        ([("account", 0, EMPTY_ROOT), *EMPTY[1:]], "sections"),
        ([("accounts", -1, EMPTY_ROOT), *EMPTY[1:]], "accounts.count"),
        ([("accounts", 2**64, EMPTY_ROOT), *EMPTY[1:]], "accounts.count"),
        ([("accounts", True, bytes(32)), *EMPTY[1:]], "accounts.count"),
        ([("accounts", 1.0, bytes(32)), *EMPTY[1:]], "accounts.count"),
        ([("accounts", 1, bytes(31)), *EMPTY[1:]], "accounts.root"),
        ([("accounts", 1, "00" * 16), *EMPTY[1:]], "accounts.root"),
        ([*EMPTY[:-1], ("risk-table", 0, bytes(32))], "risk-table.root"),
    ],
)
def test_what_is_no_state(sections, field):
    with pytest.raises(InputError) as caught:
        state_root(sections)
    assert caught.value.field == field
