"""Cosignatures of the tree of frames: kept in the log, so that every copy of it can prove what it holds.

They change nothing. The fold has no tree of frames and does not know the log's first frame, so it looks at the sender
and the signature only; whether the root is that of the frames is for those who have them (specs/proofs.md). What may
not live here: the tree, and the texts that are signed (`proof`).
"""

from holdfast.core.machine import Machine
from holdfast.core.state import Role
from holdfast.core.verdict import Sender, Verdict, refused
from holdfast.domain.commands import Cosign
from holdfast.domain.outcomes import place_of
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import is_signature
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


ROLES = {Cosign: (Role.REPLICA,)}
HANDLERS = {Cosign: cosign}
