"""The beginning that all simulated logs share: a venue with a contract, accounts, and three replicas that have voted.

What may not live here: anything that hangs on a seed.
"""

import functools
from typing import Final, NamedTuple

from holdfast.core.fold import Fold
from holdfast.core.snapshot import snapshot_of
from holdfast.domain import commands as c
from holdfast.domain.errors import invariant
from holdfast.domain.frames import Records
from holdfast.domain.signatures import public_key_of
from holdfast.margin.presets import preset
from holdfast.replica.decisions import root_vote
from holdfast.replica.gateway import FIRST_GATEWAY, ClientSession, Gateway
from holdfast.replica.names import AccountNames
from holdfast.replica.node.joining import Candidate

SECOND: Final = 10**9
START: Final = 1_700_000_000 * SECOND
"""The clocks' time at which a simulation starts, ns."""
KEYS: Final = tuple(bytes([number + 1]) * 32 for number in range(3))
PUBLIC_KEYS: Final = tuple(public_key_of(key) for key in KEYS)
REGIONS: Final = ("engine-a", "engine-b", "engine-c")

USD, BTC, PERPETUAL = range(3)
"""Items."""
PERPETUAL_NAME: Final = "BTC_USD-PERPETUAL"
ACCOUNTS: Final = ("ann", "amy", "bob", "ben", "weak", "maker", "idle")
"""Their numbers follow the system's. Weak is long on credit, maker has the other side, nobody touches idle."""
ANN, AMY, BOB, BEN, WEAK, MAKER, IDLE = range(4, 11)
PRICE: Final = 10_000
"""Of a coin at the start, dollars."""
CHECKPOINT_FRAMES: Final = 16
RULES: Final = c.SetRules(
    age_maximum=3_600 * SECOND,
    ahead_maximum=7_200 * SECOND,
    mark_interval=5 * SECOND,
    mark_threshold_ppm=20_000,
    live_ticks=6,
    checkpoint_frames=CHECKPOINT_FRAMES,
)


class Genesis(NamedTuple):
    """The beginning.

    Attributes:
        frames: Of the log.
        snapshot: Of its checkpoint, which the frames after it certify.
    """

    frames: list[bytes]
    snapshot: Candidate


class _Founder:
    """Sends frames of the first gateway to a fold."""

    def __init__(self) -> None:
        self.fold, self.names = Fold(), AccountNames()
        self.frames: list[bytes] = []
        self._gateway = Gateway(FIRST_GATEWAY, 1)

    def send(self, session: ClientSession | None, *commands: c.ColdCommand | Records) -> int:
        """Send commands that must be accepted; `made` of the last."""
        for command in commands:
            number = 0 if session is None else session.next()
            if isinstance(command, c.Cold):
                self._gateway.add_cold(0 if session is None else session.id, number, command)
            else:
                command["session"], command["number"] = 0 if session is None else session.id, number
                self._gateway.add(command)
        made = 0
        for frame in self._gateway.frames():
            applied = self.fold.apply(frame)
            self.names.learn(frame, applied)
            self.frames.append(frame)
            invariant(not applied.outcomes["reason"].any(), f"the beginning is refused: {applied}")
            made = int(applied.outcomes["made"][-1])
        return made

    def open(self, role: str, subject: int = 0) -> ClientSession:
        """Open a session."""
        return ClientSession(self.send(None, c.OpenSession(role, subject)))


@functools.cache
def genesis() -> Genesis:
    """The beginning, made once."""
    founder = _Founder()
    operator = founder.open("operator")
    founder.send(
        operator,
        RULES,
        c.DefineAsset("USD", 6),
        c.DefineAsset("BTC", 8),
        c.DefineInstrument(PERPETUAL_NAME, "0.001", 2),
        c.DefineModel("portfolio", preset("portfolio")),
        c.DefineSource("prices"),
        *(c.DefineReplica(f"engine-{'abc'[n]}", PUBLIC_KEYS[n], REGIONS[n]) for n in range(3)),
    )
    replicas = [founder.open("replica", number) for number in range(3)]
    source = founder.open("source")
    for number, session in enumerate(replicas):
        founder.send(session, c.Tick(number, START - SECOND))
    founder.send(source, c.quote(0, 0, BTC, PRICE * 10**8, START - SECOND, 1))
    _fund(founder, operator)
    _certify(founder, replicas)
    return Genesis(founder.frames, _snapshot_of_checkpoint(founder))


def _fund(founder: _Founder, operator: ClientSession) -> None:
    founder.send(operator, c.Mark(BTC), *(c.OpenAccount(0, name) for name in ACCOUNTS))
    dollars = {ANN: 200_000, AMY: 200_000, BOB: 200_000, BEN: 200_000, WEAK: 3_100, MAKER: 2_000_000, IDLE: 1_000}
    founder.send(operator, *(c.Deposit(account, USD, amount * 10**6) for account, amount in dollars.items()))
    client = founder.open("client")
    founder.send(
        client,
        c.trade(0, 0, WEAK, MAKER, PERPETUAL, 1_000, PRICE * 100),
        *(c.order(0, 0, MAKER, PERPETUAL, 400, PRICE * n) for n in range(40, 96, 5)),
    )


def _certify(founder: _Founder, replicas: list[ClientSession]) -> None:
    """Go on until a state root was taken, and have a majority vote on it."""
    clock = START - SECOND
    while not founder.fold.checkpoints:
        clock += 1
        founder.send(replicas[0], c.Tick(0, clock))
    for number in (0, 1):
        founder.send(replicas[number], root_vote(founder.fold, number, KEYS[number], founder.fold.checkpoints[-1]))


def _snapshot_of_checkpoint(founder: _Founder) -> Candidate:
    taken = founder.fold.checkpoints[-1]
    fold, names = Fold(), AccountNames()
    for frame in founder.frames[: taken.position + 1]:
        names.learn(frame, fold.apply(frame))
    return Candidate("the beginning's", snapshot_of(fold), names.encode(taken.position, fold.chain))
