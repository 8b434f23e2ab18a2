"""States that no log leads to: a bit of memory that changed, and snapshots of it. No outcome hangs on it."""

from holdfast.core.fold import Fold
from holdfast.core.snapshot import snapshot_of
from holdfast.core.state import Account
from holdfast.replica.names import AccountNames
from holdfast.replica.node.joining import Candidate
from holdfast.simulation.genesis import IDLE


def corrupt(fold: Fold) -> None:
    """Give an account that nobody touches a unit that it has not."""
    state = fold.machine.state
    state.ledger[state.accounts[IDLE, Account.START], 0] += 1
    state.accounts[IDLE, Account.DIRTY] = 1


def forged_snapshot(frames: list[bytes]) -> Candidate:
    """A snapshot after these frames that is whole and has the right H, but another state."""
    fold, names = Fold(), AccountNames()
    for frame in frames:
        names.learn(frame, fold.apply(frame))
    corrupt(fold)
    return Candidate("a forger's", snapshot_of(fold), names.encode(fold.position - 1, fold.chain))
