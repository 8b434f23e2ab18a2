"""What a venue owes its clients at a checkpoint: the published statement, and an account's part of it.

What may not live here: the tree (`proof.liabilities`), the secret's file.
"""

from typing import NamedTuple

from holdfast.core.fold import Fold
from holdfast.core.margins import margins_of_all
from holdfast.core.state import SYSTEM_ACCOUNTS, WITHDRAWALS
from holdfast.domain.commands import PublishLiabilities
from holdfast.domain.errors import InputError
from holdfast.log.protocol import Log
from holdfast.proof.checkpoint import base64_of
from holdfast.proof.liabilities import SumNode, SumTree, leaf_of, nonce_of
from holdfast.proof.verifier import Trust
from holdfast.validate.proofs import evidence
from holdfast.validate.proofs.bundles import Prover, Rotations
from holdfast.validate.proofs.evidence import not_provable
from holdfast.validate.proofs.history import History, fold_to
from holdfast.validate.proofs.states import ProvableState


class Liabilities(NamedTuple):
    """The tree at one state, and where each account's leaf came from."""

    tree: SumTree
    leaves: dict[int, SumNode]
    nonces: dict[int, bytes]


def liabilities_of(fold: Fold, log: bytes, secret: bytes) -> Liabilities:
    """The tree of what the venue owes: every client's account, and withdrawals in flight.

    Args:
        fold: The state.
        log: What names the log.
        secret: The venue's, 32 bytes.
    """
    if not fold.machine.marked.tables:
        raise InputError("missing-field", "model", None, "define a margin model first")
    equities = margins_of_all(fold.machine.state, fold.machine.marked.arrays)[:, 0].tolist()
    accounts = range(WITHDRAWALS, len(equities))
    nonces = {account: nonce_of(secret, log, fold.position - 1, account) for account in accounts}
    leaves = {account: leaf_of(account, nonces[account], equities[account]) for account in accounts}
    return Liabilities(SumTree(leaves.values()), leaves, nonces)


def statement(log: Log, history: History, secret: bytes) -> PublishLiabilities:
    """What there is to publish at the newest certified checkpoint."""
    certified = history.fold.machine.registry.certified
    if not certified:
        raise not_provable("state root", "no checkpoint of this log is certified")
    position = certified[-1].position
    tree = liabilities_of(fold_to(log, position), history.log, secret).tree
    return PublishLiabilities(position, len(tree), tree.root.owed, tree.root.missing, tree.root.hash)


def prove_liabilities(prover: Prover, account: int, secret: bytes) -> bytes:
    """That an account's equity is in the sums that were published last."""
    if account < SYSTEM_ACCOUNTS:
        raise InputError("out-of-range", "account", account, "name a client's account")

    def made(trust: Trust, rotations: Rotations) -> bytes:
        head = evidence.newest_head(prover.history, trust)
        votes = {one.position: one for one in prover.certified_by(trust, head)}
        said = [
            (at, one) for at, one in prover.history.publications if one.position in votes and at.position < head.size
        ]
        if not said:
            raise not_provable("publication", "no sum of liabilities is published within a cosigned checkpoint")
        place, published = said[-1]
        state = ProvableState(fold_to(prover.log, published.position))
        tree, leaves, nonces = liabilities_of(state.fold, prover.history.log, secret)
        margin_leaves = state.margin_leaves(account)
        if tree.root != (published.owed, published.missing, published.root):
            raise InputError(
                "malformed", "secret", None, "use the one that the sums were published with", "is another one"
            )
        index = tree.index(leaves[account])
        path = [one._asdict() | {"hash": base64_of(one.hash)} for one in tree.path(index)]
        content = {
            "claim": {"account": account},
            "state": evidence.state_of(state, votes[published.position], margin_leaves),
            "publication": evidence.place_of(place),
            "leaf": {"nonce": base64_of(nonces[account]), "index": index},
            "path": path,
        }
        said_of_state = votes[published.position].votes
        return prover.written("liabilities", head, trust, rotations, said_of_state, [place.position], content)

    return prover.proved(made)
