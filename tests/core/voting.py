"""The venue's replicas with their keys: votes on accounts, withdrawals and state roots."""

import numpy as np
from fold_driver import BOB, BTC, KEYS, LINEAR, POOR, SECOND, START, USD, venue

from holdfast.core.margins import totals_on
from holdfast.core.state import Account, Status
from holdfast.domain import commands as c
from holdfast.domain import votes as v
from holdfast.domain.reasons import Reason

UNIT = 10**6
FIGURES = {v.Verdict.BELOW: (0.0, 100.0), v.Verdict.ABOVE: (100.0, 0.0), v.Verdict.BAND: (0.0, 0.0)}
"""Numbers that say what a verdict says."""


def vote_of(made, replica, *rows, with_b=True, withdrawal=False, key=None, figures=None, second=None, **changed):
    """A signed vote about the last mark; rows of (account, version, verdict)."""
    mark = made.fold.machine.registry.marks[-1]
    table = np.zeros(len(rows), v.ROW)
    for row, (account, version, verdict) in zip(table, rows, strict=True):
        row["account"], row["account_version"], row["verdict"] = account, version, verdict
        row["flags"] = (0 if with_b else v.FLAG_WITHOUT_B) | (v.FLAG_WITHDRAWAL if withdrawal else 0)
        first = FIGURES[verdict] if figures is None else figures
        row["a_equity"], row["a_maintenance"] = first
        if with_b:
            row["b_equity"], row["b_maintenance"] = first if second is None else second
    said = {"logic_version": 1, "position": mark.position, "chain_hash": mark.chain, "price_id": mark.price_id}
    said |= {"state_root": bytes(32), "time": made.fold.time} | changed
    return v.sign_vote(v.Vote(replica=replica, rows=table, **said), KEYS[replica] if key is None else key)


def cast(made, replica, *rows, **named):
    """Send a vote; its outcome."""
    return made.one(made.replicas[replica], c.CastVote(vote_of(made, replica, *rows, **named)))


def name_root(made, replica, root, place=-1, **changed):
    """Send a replica's word on the root at a checkpoint, given by its place among the remembered; its outcome."""
    checkpoint = made.fold.machine.registry.checkpoints[place] if isinstance(place, int) else place
    said = {"position": checkpoint.position, "chain_hash": checkpoint.chain, "price_id": 0, "time": 0}
    return cast(made, replica, **(said | {"state_root": root} | changed))


def reach_checkpoint(made):
    """Send empty frames until a root was due."""
    frames = made.fold.machine.registry.rules.checkpoint_frames
    made.send()
    while made.fold.position % frames:
        made.send()
    return made.fold.machine.registry.checkpoints[-1]


def market():
    """A venue with an account of 3,000 dollars that is long one coin."""
    made = venue()
    made.operate(c.Deposit(POOR, USD, 3_000 * UNIT))
    assert made.trade(POOR, BOB, LINEAR, 1_000, 1_000_000).reason == Reason.ACCEPTED
    return made


def move_to(made, dollars, clock=1):
    """A tick, a new index, and its mark."""
    made.tick(START + clock * SECOND)
    made.quote(BTC, int(dollars * 10**8))
    return made.operate(c.Mark(BTC))


def status_of(made, account):
    """The status of an account."""
    return Status(int(made.state.accounts[account, Account.STATUS]))


def version_of(made, account):
    """The version of an account."""
    return int(made.state.accounts[account, Account.VERSION])


def totals(made, account):
    """Equity, initial and maintenance margin of an account."""
    return totals_on(made.state, made.fold.machine.marked.arrays, account)


def below(made, account=POOR):
    """A row BELOW about an account as it is."""
    return account, version_of(made, account), v.Verdict.BELOW


def liquidating(dollars=8_600):
    """A market where the account is under liquidation."""
    made = market()
    move_to(made, dollars)
    assert status_of(made, POOR) is Status.BREACH_PENDING
    assert cast(made, 0, below(made)).made == 0
    assert cast(made, 1, below(made)).made == 1
    assert status_of(made, POOR) is Status.LIQUIDATING
    return made
