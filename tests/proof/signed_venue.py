"""The venue of the core's tests, every frame of it in a log, with its replicas' votes and cosignatures."""

from fold_driver import (
    ALICE,
    BOB,
    BTC,
    CALL,
    CAROL,
    INVERSE,
    KEYS,
    LINEAR,
    POOR,
    SECOND,
    START,
    USD,
    Driver,
    Venue,
    hot,
)
from voting import UNIT, version_of

from holdfast.core.margins import totals_on
from holdfast.domain import commands as c
from holdfast.domain import votes as v
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import public_key_of
from holdfast.log.memory import MemoryLog
from holdfast.proof.frame_tree import FrameTree
from holdfast.replica.decisions import cosignatures, root_votes
from holdfast.replica.frame_trees import follow_frame
from holdfast.validate.proofs.bundles import Prover
from holdfast.validate.proofs.evidence import heads
from holdfast.validate.proofs.history import read_history

REGIONS = "eu", "eu", "us"


class Recorded:
    """A fold that keeps the frames it applied in a log, and the tree over them."""

    def __init__(self, fold):
        self._fold, self.log, self.tree = fold, MemoryLog(), FrameTree()

    def __getattr__(self, name):
        return getattr(self._fold, name)

    def apply(self, data):
        self.log.append(data)
        applied = self._fold.apply(data)
        follow_frame(self.tree, self._fold, data)
        return applied


class SignedVenue(Venue):
    """The venue with a log. `keys` are the replicas' private keys as they are now."""

    def __init__(self):
        Driver.__init__(self)
        self.fold = Recorded(self.fold)
        self.keys = list(KEYS)
        driver_init, Driver.__init__ = Driver.__init__, lambda _self: None
        try:
            super().__init__()
        finally:
            Driver.__init__ = driver_init
        for name, key, region in zip("xyz", KEYS, REGIONS, strict=True):
            self.operate(c.DefineReplica(name, public_key_of(key), region))

    @property
    def log(self):
        return self.fold.log

    def say_roots(self, replicas=(0, 1, 2)):
        """Every replica's word on the roots that are due, then its cosignature of the newest tree."""
        bare = self.fold._fold
        votes = [(n, vote) for n in replicas for vote in root_votes(bare, n, self.keys[n])]
        for n, vote in votes:
            assert self.one(self.replicas[n], vote).reason is Reason.ACCEPTED
        said = [(n, one) for n in replicas for one in cosignatures(bare, n, self.keys[n], self.fold.tree)]
        for n, one in said:
            assert self.one(self.replicas[n], one).reason is Reason.ACCEPTED

    def reach_checkpoint(self, replicas=(0, 1, 2)):
        """Empty frames until a root was due, then everybody's words."""
        frames = self.fold.machine.registry.rules.checkpoint_frames
        self.send()
        while self.fold.position % frames:
            self.send()
        self.say_roots(replicas)

    def rotate(self, replica, seed):
        """Give a replica another key."""
        self.keys[replica] = bytes([seed]) * 32
        self.operate(c.DefineReplica("xyz"[replica], public_key_of(self.keys[replica]), REGIONS[replica]))


def signed_venue(**rules):
    """The venue, with a root due every 32 frames and after breaches."""
    made = SignedVenue()
    made.operate(c.SetRules(**({"checkpoint_frames": 32, "breach_checkpoints": 1} | rules)))
    return made


def ballot(made, replica, account, *, with_b=True, **changed):
    """A replica's vote BELOW with the figures that it finds."""
    equity, _, maintenance = totals_on(made.state, made.fold.machine.marked.arrays, account)
    mark = made.fold.machine.registry.marks[-1]
    second = (equity - 1e-9, maintenance) if with_b else (0.0, 0.0)
    flags = 0 if with_b else v.FLAG_WITHOUT_B
    row = (account, v.Verdict.BELOW, flags, 0, version_of(made, account), equity, maintenance, *second, 0, 0)
    said = {"logic_version": 1, "position": mark.position, "chain_hash": mark.chain, "price_id": mark.price_id}
    said |= {"state_root": bytes(32), "time": made.fold.time} | changed
    vote = v.Vote(replica=replica, rows=v.np.array([row], v.ROW), **said)
    return made.one(made.replicas[replica], c.CastVote(v.sign_vote(vote, made.keys[replica])))


def breached(made):
    """Trades, and an account that falls below its maintenance margin; the state at its mark certified."""
    made.operate(c.Deposit(POOR, USD, 3_000 * UNIT))
    assert made.trade(POOR, BOB, LINEAR, 1_000, 1_000_000).reason is Reason.ACCEPTED
    assert made.trade(ALICE, BOB, INVERSE, 1_000, 1_000_000).reason is Reason.ACCEPTED
    assert made.trade(BOB, ALICE, CALL, 5, 500).reason is Reason.ACCEPTED
    assert made.one(made.client, hot(c.order, CAROL, LINEAR, 300, 850_000)).reason is Reason.ACCEPTED
    made.tick(START + SECOND)
    made.send((made.sources[0], hot(c.quote, BTC, 8_600 * 10**8, made.fold.time, 10**6)), (made.operator, c.Mark(BTC)))
    return made


def liquidated():
    """An account of a venue put under liquidation by two of three replicas, one stage, and checkpoints behind it."""
    made = breached(signed_venue())
    made.say_roots()
    assert ballot(made, 0, POOR).made == 0
    assert ballot(made, 2, POOR).made == 1
    reductions = ((LINEAR, -300),)
    stage = c.Liquidate(POOR, version_of(made, POOR), reductions)
    assert made.one(made.replicas[0], stage).reason is Reason.ACCEPTED
    made.reach_checkpoint()
    made.reach_checkpoint()
    return made


def prover_of(made, trust=None):
    """A prover over what a venue's log has now."""
    return Prover(made.log, read_history(made.log), trust)


def heads_of(prover):
    """The cosigned checkpoints of a prover's log, the newest first."""
    return heads(prover.history, prover.trust)
