"""Writes the golden snapshot of a state, tests/golden/state-1-roots.bin, from a small log and what it says here.

    python tools/golden_state.py [FOLDER]

A file is made once: a snapshot of layout `state-1` stays readable for ever, and so this program is for reading how the
file came to be. Its name carries the layout; another layout gets another file and leaves this one alone. So it was with
`state-1.bin`, which is of the same log before the registry had checkpoints and what replicas say of roots. What few
commands can bring about (alarms, ballots, a quarantine) is put into the registry at the end.
"""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from holdfast.core.fold import Fold
from holdfast.core.registry import Alarm, Ballot, CertifiedCheckpoint, OpenQuarantine
from holdfast.core.snapshot import snapshot_of
from holdfast.domain import commands as c
from holdfast.domain.frames import Records, encode_frame
from holdfast.domain.outcomes import command_id
from holdfast.margin.presets import preset

FOLDER = Path(__file__).parents[1] / "tests" / "golden"
NAME = "state-1-roots.bin"

SECOND = 10**9
START = 1_600_000_000 * SECOND
USD, BTC, PERPETUAL, LINEAR, FUTURE, CALL = range(6)
ALICE, BOB = 4, 5
OPERATOR, CLIENT, SOURCE = (command_id(position, 0) for position in (0, 1, 3))
REPLICA = command_id(4, 1)

Sent = list[tuple[Records, bytes]]
"""Records and cold bytes of frames."""


def cold(session: int, number: int, command: c.ColdCommand) -> tuple[Records, bytes]:
    """One cold command with its bytes."""
    data = c.encode_cold(command)
    return c.cold_record(session, number, 0, len(data)), data


def commands() -> Sent:
    """The log, a command in each frame."""
    numbers: dict[int, int] = {}

    def number(session: int) -> int:
        numbers[session] = numbers.get(session, 0) + 1
        return numbers[session]

    def sent(session: int, *those: c.ColdCommand) -> Sent:
        return [cold(session, number(session), one) for one in those]

    def hot(records: Records) -> Sent:
        return [(records, b"")]

    def quotes(*prices: tuple[int, int], time: int) -> Sent:
        made = []
        for item, price in prices:
            sequence = number(SOURCE)
            made += hot(c.quote(SOURCE, sequence, item, price, time, sequence))
        return made

    return [
        cold(0, 0, c.OpenSession("operator", kept=3)),
        cold(0, 0, c.OpenSession("client", kept=4)),
        *sent(OPERATOR, c.DefineSource("first")),
        cold(0, 0, c.OpenSession("source", kept=1)),
        *_replica(number),
        *sent(
            OPERATOR,
            c.DefineAsset("USD", 6),
            c.DefineAsset("BTC", 8),
            c.DefineInstrument("BTC-PERPETUAL", "10", 2, fee_ppm=500, liquidation_fee_ppm=2_000),
            c.DefineInstrument("BTC_USD-PERPETUAL", "0.001", 2),
            c.DefineInstrument("BTC-25SEP20", "10", 2),
            c.DefineInstrument("BTC-25SEP20-10000-C", "0.1", 4),
            c.DefineModel("portfolio", preset("portfolio")),
            c.DefineModel("standard", preset("standard")),
            c.SetRules(checkpoint_frames=16, mark_interval=60 * SECOND),
        ),
        *sent(REPLICA, c.Tick(0, START)),
        *quotes((BTC, 10_000 * 10**8), (CALL, 800_000), time=START),
        *sent(OPERATOR, c.Mark(BTC), c.OpenAccount(0), c.OpenAccount(1)),
        *sent(OPERATOR, c.Deposit(ALICE, USD, 200_000 * 10**6), c.Deposit(BOB, USD, 300_000 * 10**6)),
        *sent(OPERATOR, c.Deposit(ALICE, BTC, 10**9), c.Deposit(BOB, BTC, 2 * 10**9)),
        *hot(c.trade(CLIENT, number(CLIENT), ALICE, BOB, PERPETUAL, 1_000, 1_001_000)),
        *hot(c.trade(CLIENT, number(CLIENT), BOB, ALICE, LINEAR, 500, 1_000_050)),
        *hot(c.trade(CLIENT, number(CLIENT), ALICE, BOB, CALL, 7, 620)),
        *hot(c.trade(CLIENT, number(CLIENT), ALICE, BOB, FUTURE, -30, 1_003_000)),
        *hot(c.order(CLIENT, number(CLIENT), ALICE, LINEAR, 40, 990_000)),
        *hot(c.order(CLIENT, number(CLIENT), BOB, PERPETUAL, -20, 1_020_000)),
        *hot(c.order(CLIENT, number(CLIENT), ALICE, PERPETUAL, 10, 980_000)),
        *sent(CLIENT, c.RequestWithdrawal(BOB, USD, 10**9, "bc1q-somewhere")),
        *sent(REPLICA, c.TakeLease("router", 0, 90 * SECOND)),
        *sent(OPERATOR, c.DefineModel("standard", preset("standard"), effective=START + 3_600 * SECOND)),
        # A tick that marks nothing, and a quote that no mark has seen: the tables are older than both.
        *sent(REPLICA, c.Tick(0, START + 7 * SECOND)),
        *quotes((BTC, 10_010 * 10**8), time=START + 6 * SECOND),
    ]


def _replica(number: Callable[[int], int]) -> Sent:
    """The replica and its session, in one frame."""
    definition, session = c.DefineReplica("north", bytes(range(32)), "eu"), c.OpenSession("replica", kept=2)
    first, second = c.encode_cold(definition), c.encode_cold(session)
    records = [c.cold_record(OPERATOR, number(OPERATOR), 0, len(first))]
    records.append(c.cold_record(0, 0, len(first), len(second)))
    return [(np.concatenate(records), first + second)]


def golden() -> Fold:
    """The fold that the file is a snapshot of."""
    fold = Fold()
    for position, (records, blob) in enumerate(commands()):
        applied = fold.apply(encode_frame(0, position + 1, records, blob))
        refused = applied.outcomes["reason"] != 0
        assert not refused.any(), (position, applied.outcomes, applied.details)
    place = fold.machine.registry.checkpoints[0]
    ballot = Ballot(version=7, position=20, price_id=1, time=START, with_b=True)
    fold.machine.registry = replace(
        fold.machine.registry,
        alarms=(Alarm(5, "Settle", "InputError(…)"),),
        ballots={BOB: {0: ballot}},
        releases={1: {0: ballot}},
        quarantined=frozenset({command_id(90, 3), command_id(17, 0)}),
        quarantines=(OpenQuarantine(hashlib.sha256(b"statement").digest(), (0,)),),
        roots={place.position: {0: hashlib.sha256(b"root").digest()}},
        certified=(CertifiedCheckpoint(place.position, place.chain, hashlib.sha256(b"root").digest()),),
        frozen=True,
    )
    return fold


def main() -> None:
    """Write the file and print its root."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    fold = golden()
    data = snapshot_of(fold)
    (folder / NAME).write_bytes(data)
    print(f"{NAME}  {len(data)} bytes  sha256 {hashlib.sha256(data).hexdigest()}")
    print(f"position {fold.position - 1}  root {fold.root().hex()}")


if __name__ == "__main__":
    main()
