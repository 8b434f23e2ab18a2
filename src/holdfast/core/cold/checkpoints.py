"""Checkpoints: votes on state roots, who is suspended by them, what stands still while they differ (specs/quorum.md).

The fold remembers where roots were due and what replicas say they were. It never looks at the root that it computed
itself: no outcome may depend on that. What may not live here: the computing of roots (`roots`), and votes on accounts.
"""

from collections.abc import Mapping
from typing import TypeVar

from msgspec.structs import replace

from holdfast.core import quorum
from holdfast.core.machine import Machine
from holdfast.core.registry import (
    CHECKPOINTS_REMEMBERED,
    Alarm,
    CertifiedCheckpoint,
    CheckpointPlace,
    Registry,
    with_alarm,
)
from holdfast.core.state import Role
from holdfast.core.verdict import ACCEPTED, Sender, Verdict, refused
from holdfast.domain.commands import ReleaseFreeze, RestoreReplica
from holdfast.domain.reasons import Reason
from holdfast.domain.votes import Vote

Said = TypeVar("Said")


def with_checkpoint(registry: Registry, place: CheckpointPlace) -> Registry:
    """The registry with one checkpoint more; the oldest, and what was said of it, forgotten beyond the limit."""
    places = (*registry.checkpoints, place)[-CHECKPOINTS_REMEMBERED:]
    roots = {position: named for position, named in registry.roots.items() if position >= places[0].position}
    return replace(registry, checkpoints=places, roots=roots)


def is_remembered(registry: Registry, vote: Vote) -> bool:
    """Whether a vote speaks of a checkpoint of this very log: same position, same H."""
    return CheckpointPlace(vote.position, vote.chain_hash) in registry.checkpoints


def is_held(registry: Registry) -> bool:
    """Whether nothing may begin that cannot be taken back: roots had no majority, or differ and wait for one."""
    return registry.frozen or any(len(set(named.values())) > 1 for named in registry.roots.values())


def count_root(machine: Machine, vote: Vote, command: int) -> Verdict:
    """Count what a replica says the root of a checkpoint is.

    Args:
        machine: Whose registry changes.
        vote: Of a replica that is not suspended, on a remembered checkpoint.
        command: Id of the command that brought it.

    Returns:
        `made` is 1 where it certified the checkpoint, `limit` how many replicas it suspended.
    """
    registry, position = machine.registry, vote.position
    ballots = registry.roots.get(position, {})
    if vote.replica in ballots:
        same = ballots[vote.replica] == vote.state_root
        return ACCEPTED if same else refused(Reason.VOTE_MISMATCH, position, detail="it named another root there")
    ballots = ballots | {vote.replica: vote.state_root}
    machine.registry = replace(registry, roots=registry.roots | {position: ballots})
    certified = _certified_root(machine.registry, position)
    root = certified or _majority_root(ballots, machine)
    if root is None:
        _freeze_on_a_tie(machine, command)
        _tell_of_a_difference(machine, ballots, position, command)
        return ACCEPTED
    if certified is None:
        _certify(machine, CertifiedCheckpoint(position, vote.chain_hash, root))
    strangers = sorted(replica for replica, named in ballots.items() if named != root)
    for replica in strangers:
        _suspend(machine, replica, position, command)
    _freeze_on_a_tie(machine, command)
    return Verdict(made=int(certified is None), limit=len(strangers))


def _certified_root(registry: Registry, position: int) -> bytes | None:
    return next((one.root for one in registry.certified if one.position == position), None)


def _majority_root(ballots: Mapping[int, bytes], machine: Machine) -> bytes | None:
    named = list(ballots.values())
    replicas = machine.registry.replicas
    return next((root for root in sorted(set(named)) if quorum.majority(named.count(root), replicas)), None)


def _certify(machine: Machine, checkpoint: CertifiedCheckpoint) -> None:
    certified = sorted((*machine.registry.certified, checkpoint), key=lambda one: one.position)
    machine.registry = replace(machine.registry, certified=tuple(certified[-CHECKPOINTS_REMEMBERED:]))


def _suspend(machine: Machine, replica: int, position: int, command: int) -> None:
    """Take a replica's part in decisions away: its word, what it said before, and its leases."""
    registry = machine.registry
    replicas = list(registry.replicas)
    replicas[replica] = replace(replicas[replica], suspended=True)
    registry = replace(
        _without_roots_of(registry, replica),
        replicas=tuple(replicas),
        ballots=_without_replica(registry.ballots, replica),
        releases=_without_replica(registry.releases, replica),
        discrepancies=_without_replica(registry.discrepancies, replica),
        leases={role: lease for role, lease in registry.leases.items() if lease.replica != replica},
    )
    text = f"replica {replica} is suspended: its state root at position {position} is not that of the majority"
    machine.registry = with_alarm(registry, Alarm(command, "suspension", text))


def _without_roots_of(registry: Registry, replica: int) -> Registry:
    return replace(registry, roots=_without_replica(registry.roots, replica))


def _without_replica(said: Mapping[int, dict[int, Said]], replica: int) -> dict[int, dict[int, Said]]:
    """What was said, by subject and replica, without one replica's part."""
    rest = {subject: {n: one for n, one in by.items() if n != replica} for subject, by in said.items()}
    return {subject: by for subject, by in rest.items() if by}


def _freeze_on_a_tie(machine: Machine, command: int) -> None:
    """Freeze where every replica that is not suspended has named a root and none has a majority."""
    registry = machine.registry
    voters = {number for number, replica in enumerate(registry.replicas) if not replica.suspended}
    open_ones = sorted(registry.roots.keys() - {one.position for one in registry.certified})
    tied = [position for position in open_ones if voters <= registry.roots[position].keys()]
    if tied and not registry.frozen:
        alarm = Alarm(command, "roots", f"no state root has a majority at position {tied[0]}: decisions are frozen")
        machine.registry = with_alarm(replace(registry, frozen=True), alarm)


def _tell_of_a_difference(machine: Machine, ballots: Mapping[int, bytes], position: int, command: int) -> None:
    if len(set(ballots.values())) > 1 and not machine.registry.frozen:
        alarm = Alarm(command, "roots", f"state roots differ at position {position}: decisions wait for a majority")
        machine.registry = with_alarm(machine.registry, alarm)


def restore_replica(machine: Machine, command: RestoreReplica, _sender: Sender) -> Verdict:
    """Let a suspended replica take part again."""
    replicas = list(machine.registry.replicas)
    if not 0 <= command.replica < len(replicas):
        return refused(Reason.REPLICA_UNKNOWN, len(replicas) - 1)
    if not replicas[command.replica].suspended:
        return refused(Reason.VALUE_INVALID, detail="it is not suspended")
    replicas[command.replica] = replace(replicas[command.replica], suspended=False)
    machine.registry = replace(machine.registry, replicas=tuple(replicas))
    return Verdict(made=command.replica)


def release_freeze(machine: Machine, _command: ReleaseFreeze, _sender: Sender) -> Verdict:
    """Let decisions begin again; checkpoints that roots were named for and that were not certified are forgotten."""
    registry = machine.registry
    if not is_held(registry):
        return refused(Reason.VALUE_INVALID, detail="nothing is frozen")
    certified = {one.position for one in registry.certified}
    forgotten = registry.roots.keys() - certified
    machine.registry = replace(
        registry,
        frozen=False,
        checkpoints=tuple(one for one in registry.checkpoints if one.position not in forgotten),
        roots={position: named for position, named in registry.roots.items() if position in certified},
    )
    return ACCEPTED


ROLES = {RestoreReplica: (Role.OPERATOR,), ReleaseFreeze: (Role.OPERATOR,)}
HANDLERS = {RestoreReplica: restore_replica, ReleaseFreeze: release_freeze}
