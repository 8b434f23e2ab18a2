"""Compiling before the first command comes: a small world is folded once, so that every kernel is there.

What lives here: that world. What may not: anything that stays.
"""

import numpy as np

from holdfast.core.fold import Fold
from holdfast.core.margins import figures_of, margin_of, totals_on
from holdfast.core.snapshot import fold_from, snapshot_of
from holdfast.core.state import SYSTEM_ACCOUNTS, Role
from holdfast.domain import commands
from holdfast.domain.commands import ColdCommand
from holdfast.domain.errors import invariant
from holdfast.domain.outcomes import command_id
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import public_key_of
from holdfast.margin.presets import preset
from holdfast.replica.gateway import FIRST_GATEWAY, ClientSession, Gateway

_TIME = 1_583_971_200 * 10**9
_PRICE = 8_000
_FIRST, _SECOND = SYSTEM_ACCOUNTS, SYSTEM_ACCOUNTS + 1
_COIN, _PERPETUAL = 0, 1
_ROLES = (Role.OPERATOR, Role.REPLICA, Role.SOURCE, Role.CLIENT)
_DEFINITIONS: tuple[ColdCommand, ...] = (
    commands.DefineReplica("warm", public_key_of(bytes(32))),
    commands.DefineSource("warm"),
    commands.DefineAsset("BTC", 8),
    commands.DefineInstrument("BTC-PERPETUAL", "10", 2, fee_ppm=1),
    commands.DefineModel("portfolio", preset("portfolio")),
    commands.OpenAccount(0),
    commands.OpenAccount(0),
)
_MONEY: tuple[ColdCommand, ...] = (
    commands.Mark(_COIN),
    commands.Deposit(_FIRST, _COIN, 10**9),
    commands.Deposit(_SECOND, _COIN, 10**9),
)


def warm() -> None:
    """Fold a few commands of every hot kind, a mark and a refused trade; take a root and a snapshot."""
    fold, gateway = Fold(), Gateway(FIRST_GATEWAY, 1)
    operator = ClientSession(command_id(0, 0))
    gateway.add_cold(0, 0, commands.OpenSession("operator"))
    _apply(fold, gateway)
    for command in _DEFINITIONS:
        gateway.add_cold(operator.id, operator.next(), command)
    _apply(fold, gateway)
    opened = {role: ClientSession(command_id(fold.position, n)) for n, role in enumerate(_ROLES)}
    for role in _ROLES:
        gateway.add_cold(0, 0, commands.OpenSession(role.name.lower()))
    _apply(fold, gateway)
    replica, source, client = opened[Role.REPLICA], opened[Role.SOURCE], opened[Role.CLIENT]
    gateway.add_cold(replica.id, replica.next(), commands.Tick(0, _TIME))
    for item, price in ((_COIN, _PRICE * 10**8), (_PERPETUAL, _PRICE * 100)):
        gateway.add(commands.quote(source.id, source.next(), item, price, _TIME, 1))
    for command in _MONEY:
        gateway.add_cold(operator.id, operator.next(), command)
    _apply(fold, gateway)
    gateway.add(_hot(client))
    _apply(fold, gateway, refused=1)
    # A root, a snapshot, a state from it, and a margin of that state, as a start and a vote use them.
    again = fold_from(snapshot_of(fold))
    totals_on(again.machine.state, again.machine.marked.arrays, _FIRST)
    margin_of(again.machine.state, again.machine.marked.arrays, _FIRST)
    figures_of(again.machine.state, again.machine.marked.arrays, np.array([_FIRST], np.int64))


def _hot(client: ClientSession) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    price = _PRICE * 100
    commands_ = (
        commands.order(client.id, client.next(), _FIRST, _PERPETUAL, 100, price),
        commands.fill(client.id, client.next(), _FIRST, _SECOND, _PERPETUAL, 50, price, buy_order=1),
        commands.cancel(client.id, client.next(), _FIRST, 1),
        commands.trade(client.id, client.next(), _FIRST, _SECOND, _PERPETUAL, 100, price),
        commands.trade(client.id, client.next(), _FIRST, _SECOND, _PERPETUAL, 10**9, price),
        commands.transfer(client.id, client.next(), _FIRST, _SECOND, _COIN, 1),
    )
    return np.concatenate(commands_)


def _apply(fold: Fold, gateway: Gateway, *, refused: int = 0) -> None:
    reasons = [int(reason) for frame in gateway.frames() for reason in fold.apply(frame).outcomes["reason"]]
    found = sum(reason != Reason.ACCEPTED for reason in reasons)
    invariant(found == refused, f"the world that only compiles was refused: {reasons}")
