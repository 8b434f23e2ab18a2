"""The tree of frames: growing and proving, against the published vectors and the recursion of RFC 6962."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_merkle import LEAVES, ROOTS

from holdfast.domain.errors import InputError
from holdfast.proof import verifier
from holdfast.proof.frame_tree import HEADS_KEPT, FrameHashes, FrameTree
from holdfast.proof.inclusion import leaf_hash
from proof_vectors import FRAMES, path, proof, root

# transparency-dev/merkle, proof/verify_test.go: the consistency proofs.
CONSISTENCY = [
    (1, 1, []),
    (1, 8, [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]),
    (6, 8, [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]),
    (2, 5, [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ]),
]  # fmt: skip
FRAMES_OF_ANY_LOG = st.lists(st.binary(max_size=40), min_size=1, max_size=40)


def hashes_of(frames):
    return FrameHashes(leaf_hash(one) for one in frames)


@pytest.mark.criterion("PRF-1")
def test_published_roots():
    grown = FrameTree()
    for count, leaf in enumerate(LEAVES):
        assert grown.root().hex() == ROOTS[count]
        grown.append(leaf)
    assert grown.root().hex() == ROOTS[-1]
    assert [hashes_of(LEAVES).root(n).hex() for n in range(9)] == ROOTS


@pytest.mark.criterion("PRF-1")
@pytest.mark.parametrize(("first", "second", "expected"), CONSISTENCY)
def test_published_consistency(first, second, expected):
    tree = hashes_of(LEAVES)
    found = tree.consistency(first, second)
    assert [one.hex() for one in found] == expected
    verifier.check_consistency(first, tree.root(first), second, tree.root(second), found, "path")


@pytest.mark.criterion("PRF-1", "PRF-21")
def test_the_worked_tree():
    tree = hashes_of(FRAMES)
    assert tree.root().hex() == "39965d4b6a06b35151360156cdda90876a72dc651d563b1196bea1f97599262c"
    assert [one.hex() for one in tree.consistency(3, 5)] == [
        "92c404a7daf0825ffa6636ae9fa0c5a49e2e4b2558555484b39fa893cbbc0a43",
        "5e7cbcc4c64373f05a150500d26a00328796ac844f93e13242b28a677eaa41b3",
        "591e4187eef5f0bbda857b718a7574d164e6e28494249e844264c3b960f318de",
        "b95144687b2524023ee99c1e09f7711706c54721cf909af25d5936f8901f380f",
    ]


@pytest.mark.criterion("PRF-1")
@given(FRAMES_OF_ANY_LOG, st.data())
def test_proofs_of_any_size_are_those_of_the_recursion_and_hold(frames, data):
    tree, grown = hashes_of(frames), FrameTree()
    for one in frames:
        grown.append(one)
    assert grown.root() == tree.root() == root(frames)
    second = data.draw(st.integers(1, len(frames)))
    first, index = data.draw(st.integers(1, second)), data.draw(st.integers(0, second - 1))
    inclusion, consistency = tree.inclusion(index, second), tree.consistency(first, second)
    assert list(inclusion) == path(index, frames[:second])
    assert list(consistency) == proof(first, frames[:second])
    verifier.check_inclusion(leaf_hash(frames[index]), index, second, inclusion, root(frames[:second]), "frame")
    roots = root(frames[:first]), root(frames[:second])
    verifier.check_consistency(first, roots[0], second, roots[1], consistency, "path")


@pytest.mark.criterion("PRF-20")
@given(FRAMES_OF_ANY_LOG, st.data())
def test_no_other_consistency_proof_holds(frames, data):
    tree = hashes_of(frames)
    second = data.draw(st.integers(1, len(frames)))
    first = data.draw(st.integers(1, second))
    nodes = list(tree.consistency(first, second))
    roots = [tree.root(first), tree.root(second)]
    what = data.draw(st.sampled_from(["old", "new", "node", "more", "less"]))
    if what == "more":
        nodes.insert(data.draw(st.integers(0, len(nodes))), bytes(32))
    elif what in ("node", "less") and nodes:
        at = data.draw(st.integers(0, len(nodes) - 1))
        nodes[at : at + 1] = [bytes(32)] if what == "node" else []
    else:
        roots[what == "new"] = bytes(32)
    with pytest.raises(verifier.Refused):
        verifier.check_consistency(first, roots[0], second, roots[1], nodes, "path")


@pytest.mark.criterion("PRF-4")
@given(FRAMES_OF_ANY_LOG, st.data())
def test_a_tree_goes_on_from_its_bytes(frames, data):
    cut = data.draw(st.integers(0, len(frames)))
    tree = FrameTree()
    for one in frames[:cut]:
        tree.append(one)
    tree.log = data.draw(st.sampled_from([b"", b"l" * 32]))
    kept = tree.encode(b"c" * 32)
    again = FrameTree.decode(kept, cut, b"c" * 32)
    for one in frames[cut:]:
        again.append(one)
    assert (again.root(), again.size, again.log) == (root(frames), len(frames), tree.log)
    bit = data.draw(st.integers(0, 8 * len(kept) - 1))
    spoilt = bytearray(kept)
    spoilt[bit // 8] ^= 1 << bit % 8
    for wrong in ((bytes(spoilt), cut, b"c" * 32), (kept, cut + 1, b"c" * 32), (kept, cut, b"d" * 32), (b"", cut, b"")):
        with pytest.raises(InputError):
            FrameTree.decode(*wrong)


def test_heads_are_remembered_and_forgotten():
    tree = FrameTree()
    for n in range(HEADS_KEPT + 5):
        tree.append(b"%d" % n)
        tree.keep(n)
    assert list(tree.heads) == list(range(6, HEADS_KEPT + 6))
    assert tree.heads[HEADS_KEPT + 5] == (tree.root(), HEADS_KEPT + 4)
    tree.forget(HEADS_KEPT)
    assert list(tree.heads) == list(range(HEADS_KEPT + 1, HEADS_KEPT + 6))


def test_what_is_no_part_of_a_tree_is_refused():
    tree = hashes_of(FRAMES)
    for call in (
        lambda: tree.root(6),
        lambda: tree.inclusion(5, 5),
        lambda: tree.inclusion(0, 6),
        lambda: tree.consistency(0, 5),
        lambda: tree.consistency(4, 3),
        lambda: FrameTree(3, [bytes(32)]),
        lambda: FrameTree(1, [bytes(31)]),
    ):
        with pytest.raises(InputError):
            call()


@pytest.mark.criterion("PRF-1", "PRF-20")
@pytest.mark.parametrize(("index", "count"), [(5, 1), (1, 1), (-1, 1), (0, 0), (2, 2)])
def test_a_place_outside_the_tree_is_refused(index, count):
    with pytest.raises(verifier.Refused, match="is not among"):
        verifier.check_inclusion(leaf_hash(b"x"), index, count, [], leaf_hash(b"x"), "frame")


@pytest.mark.criterion("PRF-1", "PRF-20")
def test_a_consistency_proof_without_hashes_is_refused():
    tree = hashes_of(FRAMES)
    for first in (3, 4):
        with pytest.raises(verifier.Refused):
            verifier.check_consistency(first, tree.root(first), 5, tree.root(), [], "path")
