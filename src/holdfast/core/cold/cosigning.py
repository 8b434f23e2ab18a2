"""What the log keeps for outsiders: cosignatures of the tree of frames, and published sums of liabilities.

They change nothing. The fold has no tree of frames and does not know what the log is called, so it looks at the sender
and the signature only; whether the root is that of the frames is for those who have them (specs/proofs.md). What may
not live here: trees, and the texts that are signed (`proof`).
"""

from holdfast.core.machine import Machine
from holdfast.core.state import Role
from holdfast.core.verdict import Sender, Verdict, refused
from holdfast.domain.commands import Cosign, PublishLiabilities
from holdfast.domain.outcomes import place_of
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import is_signature
from holdfast.domain.units import INT64_MAXIMUM
from holdfast.proof.checkpoint import TIME_MAXIMUM, cosigned_message, origin_of
from holdfast.proof.inclusion import HASH_LENGTH


def cosign(machine: Machine, command: Cosign, sender: Sender) -> Verdict:
    """Take a cosignature; `made` is the size of its tree."""
    replicas, position = machine.registry.replicas, place_of(sender.command)[0]
    if not 0 <= command.replica < len(replicas):
        return refused(Reason.REPLICA_UNKNOWN, len(replicas) - 1)
    if command.replica != sender.subject:
        return refused(Reason.SESSION_ROLE, sender.subject)
    if not 1 <= command.size <= position:
        return refused(Reason.VALUE_INVALID, position)
    if not is_cosignature(command, replicas[command.replica].public_key):
        return refused(Reason.VOTE_INVALID, detail="the signature is not of the replica's key over this checkpoint")
    return Verdict(made=command.size)


def is_cosignature(command: Cosign, public_key: bytes) -> bool:
    """Whether the holder of a key signed what a cosignature says."""
    if len(command.log) != HASH_LENGTH or len(command.root) != HASH_LENGTH or not 0 <= command.time <= TIME_MAXIMUM:
        return False
    message = cosigned_message(origin_of(command.log), command.size, command.root, command.time)
    return is_signature(public_key, message, command.signature)


def publish_liabilities(machine: Machine, command: PublishLiabilities, _sender: Sender) -> Verdict:
    """Take a published sum of liabilities at a certified checkpoint; `made` is its number of leaves."""
    if command.position not in {one.position for one in machine.registry.certified}:
        return refused(Reason.VALUE_INVALID, detail="no checkpoint is certified at that position")
    numbers = command.count, command.owed, command.missing
    if not all(0 <= one <= INT64_MAXIMUM for one in numbers) or len(command.root) != HASH_LENGTH:
        return refused(Reason.VALUE_INVALID, INT64_MAXIMUM)
    return Verdict(made=command.count)


ROLES = {Cosign: (Role.REPLICA,), PublishLiabilities: (Role.OPERATOR,)}
HANDLERS = {Cosign: cosign, PublishLiabilities: publish_liabilities}
