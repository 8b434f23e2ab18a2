"""Trees against the published vectors of RFC 6962 and against its recursion, however they came to be."""

import hashlib
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.errors import InputError
from holdfast.proof import merkle
from holdfast.proof.inclusion import EMPTY_ROOT, leaf_hash, node_hash, verify_inclusion
from holdfast.proof.merkle import MerkleTree

LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
# transparency-dev/merkle, proof/verify_test.go: `roots`, and `inclusionProofs` with its leaves counted from 0.
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PROOFS = [
    (0, 1, []),
    (0, 8, [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]),
    (5, 8, [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (1, 5, [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ]),
]  # fmt: skip
SOME_HASH = bytes.fromhex("abacaba000000000000000000000000000000000000000000060061e00123456")


def naive_root(leaves):
    """MRK-1 word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


def naive_proof(leaves, index):
    """PATH(m, D[n]) of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    if index < split:
        return [*naive_proof(leaves[:split], index), naive_root(leaves[split:])]
    return [*naive_proof(leaves[split:], index - split), naive_root(leaves[:split])]


def rows_of(leaves):
    """One buffer that begins with something else, and the offsets of the leaves in it."""
    return b"before" + b"".join(leaves) + b"behind", list(accumulate(map(len, leaves), initial=len(b"before")))


some_leaf = st.binary(max_size=6)
some_leaves = st.lists(some_leaf, max_size=40)


@pytest.mark.criterion("MRK-1", "MRK-9")
@pytest.mark.parametrize("count", range(9))
def test_published_roots(count):
    assert MerkleTree(LEAVES[:count]).root().hex() == ROOTS[count]
    assert naive_root(LEAVES[:count]).hex() == ROOTS[count]


@pytest.mark.criterion("MRK-1")
def test_published_hashes():
    # transparency-dev/merkle, rfc6962/rfc6962_test.go: a leaf, and a node over two texts.
    assert leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert node_hash(b"N123", b"N456").hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    assert EMPTY_ROOT.hex() == ROOTS[0]
    assert leaf_hash(bytearray(b"L123456")) == leaf_hash(memoryview(b"L123456")) == leaf_hash(b"L123456")


@pytest.mark.criterion("MRK-5", "MRK-6", "MRK-9")
@pytest.mark.parametrize(("index", "count", "proof"), PROOFS)
def test_published_proofs(index, count, proof):
    siblings = MerkleTree(LEAVES[:count]).inclusion_proof(index)
    assert [sibling.hex() for sibling in siblings] == proof
    assert verify_inclusion(LEAVES[index], index, count, siblings, bytes.fromhex(ROOTS[count]))


@pytest.mark.criterion("MRK-1", "MRK-2", "MRK-5", "MRK-6")
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 100])
def test_every_leaf_of_every_shape(count):
    leaves = [index.to_bytes(2, "little") for index in range(count)]
    tree = MerkleTree(leaves)
    assert len(tree) == count
    assert tree.root() == naive_root(leaves)
    for index, leaf in enumerate(leaves):
        proof = tree.inclusion_proof(index)
        assert list(proof) == naive_proof(leaves, index)
        assert verify_inclusion(leaf, index, count, proof, tree.root())
        assert verify_inclusion(leaf, index, count, list(proof), tree.root())


@pytest.mark.criterion("MRK-3")
@given(some_leaves, st.data())
def test_a_changed_tree_is_the_tree_of_its_leaves(leaves, data):
    leaves = list(leaves)
    tree = MerkleTree(leaves)
    for _ in range(data.draw(st.integers(1, 6))):
        change = data.draw(st.sampled_from(["append", "extend", "append_rows", "root", "update", "many", "rows"]))
        new = data.draw(some_leaves)
        places = data.draw(st.lists(st.integers(0, len(leaves) - 1), max_size=9)) if leaves else []
        replaced = [data.draw(some_leaf) for _ in places]
        if change == "append":
            assert tree.append(b"x") == len(leaves)
            leaves.append(b"x")
        elif change in ("extend", "append_rows"):
            added = tree.extend(new) if change == "extend" else tree.append_rows(*rows_of(new))
            assert added == range(len(leaves), len(leaves) + len(new))
            leaves += new
        elif change == "update" and places:
            tree.update(places[0], replaced[0])
            leaves[places[0]] = replaced[0]
        elif change in ("many", "rows"):
            if change == "many":
                tree.update_many(places, replaced)
            else:
                buffer, offsets = rows_of(replaced)
                tree.update_rows(np.array(places, np.uint32), bytearray(buffer), np.array(offsets))
            for place, leaf in zip(places, replaced, strict=True):
                leaves[place] = leaf
        else:
            tree.root()
    assert tree.root() == naive_root(leaves)
    for index in range(len(leaves)):
        assert list(tree.inclusion_proof(index)) == naive_proof(leaves, index)


@pytest.mark.criterion("MRK-3")
@pytest.mark.parametrize("count", [64, 65, 1_000])
def test_more_nodes_than_are_gathered_at_once(count, monkeypatch):
    monkeypatch.setattr(merkle, "_CHUNK_NODES", 7)
    leaves = [index.to_bytes(2, "little") for index in range(count)]
    assert MerkleTree(leaves).root() == naive_root(leaves)


@pytest.mark.criterion("MRK-3")
def test_a_node_above_many_changes_is_hashed_once(monkeypatch):
    tree = MerkleTree([bytes([index]) for index in range(16)])
    tree.root()
    hashed = []
    monkeypatch.setattr(
        merkle, "_node_hashes", lambda pairs, nodes: hashed.append(len(nodes)) or bytes(32 * len(nodes))
    )
    tree.update(3, b"a")
    tree.update_many([2, 9, 9, 3], [b"b"] * 4)
    assert tree.root() == bytes(32)
    assert hashed == [2, 2, 2, 1]
    tree.root()
    tree.inclusion_proof(5)
    assert hashed == [2, 2, 2, 1]


@pytest.mark.criterion("MRK-3")
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda rows: np.frombuffer(rows, "<u2").data])
def test_rows_of_any_buffer(kind):
    buffer = kind(b"aabbbbcc")
    tree = MerkleTree()
    assert tree.append_rows(buffer, [0, 2, 6, 6, 8]) == range(4)
    assert tree.root() == naive_root([b"aa", b"bbbb", b"", b"cc"])
    tree.update_rows([1], buffer, [6, 8])
    assert tree.root() == naive_root([b"aa", b"cc", b"", b"cc"])


@pytest.mark.criterion("MRK-4")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda tree: tree.update(3, b""), "index"),
        (lambda tree: tree.update(-1, b""), "index"),
        (lambda tree: tree.update_many([0, 3], [b"", b""]), "index"),
        (lambda tree: tree.update_many([0, -1], [b"", b""]), "index"),
        (lambda tree: tree.update_many([0], [b"", b""]), "indices"),
        (lambda tree: tree.update_many([0.0], [b""]), "indices"),
        (lambda tree: tree.update_many([[0]], [b""]), "indices"),
        (lambda tree: tree.update_many(np.array([2**63], np.uint64), [b""]), "indices"),
        (lambda tree: tree.update_rows([0, 1], b"ab", [0, 1]), "indices"),
        (lambda tree: tree.update_rows([0], b"ab", []), "offsets"),
        (lambda tree: tree.update_rows([0, 1], b"ab", [0, 2, 1]), "offsets[2]"),
        (lambda tree: tree.update_rows([0], b"ab", [0, 3]), "offsets"),
        (lambda tree: tree.update_rows([0], b"ab", [-1, 1]), "offsets"),
        (lambda tree: tree.append_rows(b"ab", [1, 0]), "offsets[1]"),
        (lambda tree: tree.inclusion_proof(3), "index"),
        (lambda tree: tree.inclusion_proof(-1), "index"),
    ],
)
def test_what_cannot_be_done_changes_nothing(change, field):
    tree = MerkleTree(LEAVES[:3])
    with pytest.raises(InputError) as caught:
        change(tree)
    assert caught.value.field == field
    assert (len(tree), tree.root().hex()) == (3, ROOTS[3])


@pytest.mark.criterion("MRK-4")
def test_a_tree_has_a_limit(monkeypatch):
    assert merkle.LEAVES_MAXIMUM == 2**32
    monkeypatch.setattr(merkle, "LEAVES_MAXIMUM", 3)
    tree = MerkleTree(LEAVES[:3])
    with pytest.raises(InputError, match="3 leaves"):
        tree.append(b"")
    assert (len(tree), tree.root().hex()) == (3, ROOTS[3])


@pytest.mark.criterion("MRK-6")
@pytest.mark.parametrize(("index", "count", "proof"), PROOFS)
def test_what_is_no_proof(index, count, proof):
    leaf, root = LEAVES[index], bytes.fromhex(ROOTS[count])
    proof = [bytes.fromhex(sibling) for sibling in proof]
    wrong = [
        *[(leaf, place, count, proof, root) for place in (index - 1, index + 1, index ^ 2, index + 2**64)],
        *[(leaf, index, size, proof, root) for size in (2 * count, count // 2, 0, -1)],
        (b"another", index, count, proof, root),
        (leaf, index, count, proof, EMPTY_ROOT),
        (leaf, index, count, proof, SOME_HASH),
        (leaf, index, count, proof, root[:31]),
        *[(leaf, index, count, [*proof, extra], root) for extra in (b"", root)],
        *[(leaf, index, count, [extra, *proof], root) for extra in (b"", root)],
    ]
    for at in range(len(proof)):
        flipped = bytes([proof[at][0] ^ 8]) + proof[at][1:]
        wrong.append((leaf, index, count, [*proof[:at], flipped, *proof[at + 1 :]], root))
        wrong.append((leaf, index, count, [*proof[:at], *proof[at + 1 :]], root))
        wrong.append((leaf, index, count, [*proof[:at], proof[at][:31], *proof[at + 1 :]], root))
    if len(proof) > 1:
        wrong.append((leaf, index, count, proof[::-1], root))
    assert verify_inclusion(leaf, index, count, proof, root)
    assert not any(verify_inclusion(*probe) for probe in wrong)


@pytest.mark.criterion("MRK-6")
@pytest.mark.parametrize(
    "probe",
    [
        ("text", 0, 1, [], bytes(32)),
        (b"", 0.0, 1, [], bytes.fromhex(ROOTS[1])),
        (b"", False, True, [], bytes.fromhex(ROOTS[1])),
        (b"", 0, 1, None, bytes.fromhex(ROOTS[1])),
        (b"", 0, 1, b"", bytes.fromhex(ROOTS[1])),
        (b"", 0, 1, [], ROOTS[1]),
        (b"", 0, 2, ["00" * 32], bytes(32)),
    ],
)
def test_what_is_malformed_proves_nothing(probe):
    assert not verify_inclusion(*probe)


@pytest.mark.criterion("MRK-6")
def test_a_node_is_no_leaf():
    tree = MerkleTree(LEAVES[:4])
    left, right = (naive_root(LEAVES[:2]), naive_root(LEAVES[2:4]))
    assert not verify_inclusion(left + right, 0, 1, [], tree.root())
    assert not verify_inclusion(b"\x01" + left + right, 0, 1, [], tree.root())


@pytest.mark.criterion("MRK-6")
def test_a_proof_ends_at_the_root():
    two = MerkleTree(LEAVES[:2]).root()
    assert not verify_inclusion(LEAVES[1], 0, 1, [leaf_hash(LEAVES[0])], two)
    assert verify_inclusion(LEAVES[1], 1, 2, [leaf_hash(LEAVES[0])], two)


@pytest.mark.criterion("MRK-6")
@given(
    st.binary(max_size=4),
    st.integers(-1, 70),
    st.integers(-1, 70),
    st.lists(st.binary(min_size=32, max_size=32), max_size=7),
)
def test_noise_proves_nothing(leaf, index, count, proof):
    assert not verify_inclusion(leaf, index, count, proof, SOME_HASH)
