"""Whatever the bytes, the verifier and the frame decoder end with a refusal or a result, soon.

HOLDFAST_FUZZ_SECONDS=600 pytest tests/proof/test_fuzz.py looks longer, with new random numbers each time.
"""

import json
import os
import random
import time

import pytest
from fold_driver import ALICE, POOR

from holdfast.domain import signatures
from holdfast.domain.commands import decode_cold
from holdfast.domain.errors import InputError
from holdfast.domain.frames import FrameError, decode_frame
from holdfast.domain.snapshots import SnapshotError, decode_snapshot
from holdfast.domain.votes import VoteError, decode_vote
from holdfast.proof import verifier
from holdfast.proof.verifier import Refused

SECONDS = float(os.environ.get("HOLDFAST_FUZZ_SECONDS") or 0)
ROUNDS = 400
SEED = random.SystemRandom().randrange(2**32) if SECONDS else 6
VALUES = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2**63,
    2**200,
    0.5,
    "",
    "x",
    "A" * 43 + "=",
    [],
    {},
    [[]],
    [None],
    {"position": 0},
)


@pytest.fixture(autouse=True)
def _fast_signatures(monkeypatch):
    monkeypatch.setattr(verifier, "is_signature", signatures.is_signature)


def rounds():
    """Random numbers, each round's own, for as many rounds or as long as is wanted.

    A failure shows the name that its numbers come from (`chosen.name`): `Chosen(name)` makes them again.
    """
    began, n = time.monotonic(), 0
    while n < ROUNDS or time.monotonic() - began < SECONDS:
        yield Chosen(f"{SEED} {n}")
        n += 1


class Chosen(random.Random):
    """Random numbers that say where they come from."""

    def __init__(self, name):
        super().__init__(name)
        self.name = name

    def __repr__(self):
        return f"Chosen({self.name!r})"


def spoilt(data, chosen):
    """Bytes with some of them changed, left out, put in, or moved."""
    found = bytearray(data)
    for _ in range(chosen.choice((1, 1, 2, 5, 30))):
        at, length = chosen.randrange(len(found) + 1), chosen.choice((1, 1, 2, 4, 8, 64))
        what = chosen.randrange(4)
        if what == 0:
            found[at : at + length] = chosen.randbytes(min(length, len(found) - at))
        elif what == 1:
            del found[at : at + length]
        elif what == 2:
            found[at:at] = chosen.choice((b"\xff", b"\x00", chosen.randbytes(8), bytes(found[:length])))
        else:
            found[at : at + 4] = chosen.choice((b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x00\x00\x00\x80"))
        if not found:
            break
    return bytes(found)


def twisted(value, chosen):
    """A JSON value with something in it replaced, left out, doubled or swapped."""
    if isinstance(value, dict) and value and chosen.random() < 0.85:
        name = chosen.choice(sorted(value))
        if chosen.random() < 0.05:
            return {n: one for n, one in value.items() if n != name}
        return value | {name: twisted(value[name], chosen)}
    if isinstance(value, list) and value and chosen.random() < 0.85:
        at, copy = chosen.randrange(len(value)), list(value)
        if chosen.random() < 0.1:
            copy.insert(at, copy[-1])
        else:
            copy[at] = twisted(copy[at], chosen)
        return copy
    if isinstance(value, str) and value and chosen.random() < 0.4:
        at = chosen.randrange(len(value))
        return value[:at] + chosen.choice("A0=/\n— ") + value[at + 1 :]
    return chosen.choice(VALUES)


def check(proof, original, trust):
    if proof == original:
        return
    began = time.monotonic()
    with pytest.raises(Refused):
        verifier.verify(proof, trust)
    assert time.monotonic() - began < 5, "a refusal must not take long"


@pytest.mark.criterion("PRF-18", "PRF-20")
@pytest.mark.parametrize("kind", ["margin", "liquidation", "consistency", "frame"])
def test_proofs_spoilt_at_random(prover, kind):
    proof = made(prover, kind)
    for chosen in rounds():
        check(spoilt(proof, chosen), proof, prover.trust)


@pytest.mark.criterion("PRF-18", "PRF-20")
@pytest.mark.parametrize("kind", ["margin", "liquidation", "consistency"])
def test_proofs_with_other_values(prover, kind):
    proof = made(prover, kind)
    content = json.loads(proof)
    for chosen in rounds():
        check(verifier.canonical(twisted(content, chosen)), proof, prover.trust)


def made(prover, kind):
    if kind == "consistency":
        return prover.consistency(min(one.size for one in prover.history.cosignatures))
    return {
        "margin": lambda: prover.margin(ALICE),
        "liquidation": lambda: prover.liquidation(POOR),
        "frame": lambda: prover.frame(5),
    }[kind]()


def test_leaves_of_any_content(prover):
    """A majority that signs nonsense: leaves are refused or worked with, never a failure of the program."""
    content = json.loads(prover.margin(ALICE))["state"]
    leaves = {(one["section"], one["index"]): verifier.octets(one["leaf"], "leaf") for one in content["leaves"]}
    for chosen in rounds():
        broken = dict(leaves)
        for place in chosen.sample(sorted(leaves), chosen.choice((1, 1, 3))):
            broken[place] = spoilt(leaves[place], chosen)
        state = verifier.State(1, {"accounts": 9}, broken, "nobody")
        try:
            verifier.recompute(state, verifier.read_account(state, ALICE))
            verifier.read_rules(state)
        except Refused:
            continue


@pytest.mark.criterion("FRM-6")
def test_frames_spoilt_at_random(venue_log):
    frames = [data for _, data in venue_log.log.read(0)]
    for chosen in rounds():
        data = spoilt(chosen.choice(frames), chosen)
        try:
            frame = decode_frame(data)
        except FrameError:
            continue
        assert data in frames, "a frame that was changed must not be taken for one"
        assert len(frame.records) <= 16_384


@pytest.mark.parametrize(
    ("decode", "error"), [(decode_cold, InputError), (decode_vote, VoteError), (decode_snapshot, SnapshotError)]
)
def test_other_decoders_of_random_bytes(venue_log, decode, error):
    frames = [data for _, data in venue_log.log.read(0)]
    for chosen in rounds():
        data = chosen.choice(frames)
        start = chosen.randrange(len(data))
        try:
            decode(spoilt(data[start:] or b"x", chosen))
        except error:
            continue
