"""Who looks on and judges: what nodes fold and say, what clients are told, and where all of it ends.

Theory of operation. The oracle folds the broker's log by itself, at the moment at which the broker stores a frame
(`truth`), and holds every frame against the laws (`laws`). So it is always ahead of every node and client, and what
they say can be judged at once. Where the broker forgot frames that it had acknowledged, what was said of those before
is excused; what is said afterwards must be right by the log that there is.

What may not live here: anything that acts.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from holdfast.client.batches import Batch
from holdfast.client.protocol import Failed, Fate
from holdfast.core.state import NONE, Status
from holdfast.domain.commands import Tick
from holdfast.domain.messages import Found, Read, Reply, Told, Written
from holdfast.domain.outcomes import OUTCOME
from holdfast.domain.reasons import Reason
from holdfast.replica.node.outbox import Message
from holdfast.simulation.broker import Broker
from holdfast.simulation.engine import Engine, Observer, Stage
from holdfast.simulation.genesis import KEYS
from holdfast.simulation.laws import Laws, stages
from holdfast.simulation.scheduler import Scheduler, Violation
from holdfast.simulation.trader import Offer
from holdfast.simulation.truth import Place, Step, Truth, sums

_PLUG: Final = b"\xc1"
_CLIENTS: Final = ("client", "operator", "source")


class Intent:
    """A command that a client offered.

    Attributes:
        trader: Who.
        place: Where the log has it, None while it has not.
        is_denied: Whether the client was told that it was certainly not done.
        is_old: Whether it was offered before the broker forgot something.
        is_unknown: Whether the client was told that nobody knows.
        is_ambiguous: Whether another command says the same, as the fate of this one is unknown or was forgotten.
    """

    def __init__(self, trader: str) -> None:
        self.trader = trader
        self.place: Place | None = None
        self.is_denied = False
        self.is_old = self.is_unknown = self.is_ambiguous = False


class Oracle(Observer):
    """The judge of one simulation.

    Attributes:
        truth: The log as the broker has it, folded.
        engines: The nodes, once there are any.
        corrupted: Numbers of those whose memory was ever changed.
        ticks: Of each replica, accepted or not.
    """

    def __init__(self, scheduler: Scheduler, broker: Broker) -> None:
        self._scheduler, self._broker = scheduler, broker
        self._intents: list[Intent] = []
        self._serials: dict[bytes, int] = {}
        self._laws = Laws()
        self._last: dict[int, int] = {}
        self.truth = Truth(self._check)
        self.corrupted: set[int] = set()
        self.ticks = [0] * len(KEYS)
        self._heard_before: dict[str, int] = {}
        self.engines: Sequence[Engine] = ()
        self._lost: dict[str, set[int]] = {}
        self._positions: dict[str, int] = {}
        self._first = broker.end
        broker.on_stored(self.follow)
        broker.on_forgot(self._forgot)

    # The log.

    def register(self, trader: str, content: bytes) -> int:
        """A client is about to offer a command that says this; its serial number."""
        serial = len(self._intents)
        intent = Intent(trader)
        before = self._intents[self._serials[content]] if content in self._serials else None
        if before is not None and before.place is None:
            if self._broker.shortest is None and not (before.is_denied or before.is_unknown):
                raise Violation("the simulation errs", f"{trader} says the same twice")
            before.is_ambiguous = intent.is_ambiguous = not before.is_denied
        self._serials[content] = serial
        self._intents.append(intent)
        return serial

    def follow(self) -> None:
        """Fold what the broker has stored."""
        while len(self.truth.steps) < self._broker.end:
            self.truth.take(self._broker.messages[len(self.truth.steps)].frame)

    def _forgot(self, length: int) -> None:
        """Fold the shorter log again."""
        self._scheduler.note("broker", f"forgets all from {length} on")
        self._scheduler.count("frames forgotten", len(self.truth.steps) - length)
        self._heard_before = {engine.name: engine.heard for engine in self.engines}
        for intent in self._intents:
            intent.place = None
            intent.is_denied, intent.is_old = False, True
        self._laws, self._last = Laws(), {}
        self.truth.begin()
        self.follow()

    def _check(self, truth: Truth, step: Step) -> None:
        self._laws.check(truth, step)
        for command in self._laws.used:
            if command.role in _CLIENTS and step.applied.position >= self._first:
                self._applied(command.session, command.number)
            if isinstance(command.content, Tick):
                self.ticks[command.subject] += 1
        self._scheduler.count("liquidation stages", sum(1 for _ in stages(self._laws.used)))
        suspended = {n for n, replica in enumerate(truth.fold.machine.registry.replicas) if replica.suspended}
        if not suspended <= self.corrupted:
            raise Violation("suspension", f"replicas {sorted(suspended - self.corrupted)} were right")
        if truth.fold.machine.registry.frozen and not self.corrupted:
            raise Violation("suspension", "decisions are frozen though all replicas are right")

    def _applied(self, session: int, number: int) -> None:
        """A client's command used up its number."""
        place = self.truth.places[session, number]
        where = f"number {number} of session {session} in frame {place.position}"
        serial = self._serials.get(place.content)
        if serial is None:
            if not place.content.endswith(_PLUG):
                raise Violation("phantom", f"{where} was sent by no client")
            self._scheduler.count("plugs")
            return
        intent = self._intents[serial]
        if intent.is_ambiguous:
            return
        if intent.place is not None:
            raise Violation("applied twice", f"{where} was applied in frame {intent.place.position}")
        if intent.is_denied:
            raise Violation("denied", f"{where} is applied though {intent.trader} was told that it never will be")
        if serial < self._last.get(session, NONE):
            raise Violation("order", f"{where} comes after a later one")
        self._last[session] = serial
        intent.place = place
        self._scheduler.count("commands applied")

    # Nodes.

    def joined(self, engine: Engine, source: str) -> None:
        """A node's state at its start is the log's there."""
        if engine.node is not None:
            self._scheduler.count("joins from snapshots" if source else "joins from the beginning")
            self._compare(engine)

    def folded(self, engine: Engine) -> None:
        """A node's history and roots are those of the log."""
        self._compare(engine)

    def _compare(self, engine: Engine) -> None:
        fold = engine.node.fold if engine.node is not None else None
        if fold is None or not fold.position or engine.node is None or engine.node.halted:
            return
        position = fold.position - 1
        step = self.truth.steps[position] if position < len(self.truth.steps) else None
        if step is None or step.chain != fold.chain:
            if self._broker.shortest is None or position < self._broker.shortest:
                raise Violation("histories", f"{engine.name} has another history at {position}")
            return
        taken = fold.checkpoints[-1] if fold.checkpoints else None
        if taken is not None and taken.position == position and not engine.is_corrupt and taken.root != step.root:
            raise Violation("roots", f"{engine.name} has another root at {position}")

    def answering(self, engine: Engine, reply: Reply) -> None:
        """What a node acknowledges stands in the log and in its own copy."""
        if isinstance(reply, Written | Told):
            self._scheduler.count("acknowledgements")
            if engine.disk.copy.end <= reply.position:
                raise Violation("durability", f"{engine.name} acknowledges {reply.position}, which its copy has not")
            if reply.position < self._heard_before.get(engine.name, 0):
                return
            if reply.position >= self._broker.end:
                raise Violation("early answers", f"{engine.name} acknowledges {reply.position} of {self._broker.end}")
            if engine.disk.copy.hash_at(reply.position) != self.truth.steps[reply.position].chain:
                raise Violation("histories", f"{engine.name} acknowledges {reply.position} of another history")

    def publishing(self, engine: Engine, message: Message) -> None:
        """No frame overtakes an earlier one that is known to be lost (NOD-3)."""
        nonce, number, _ = message.id.rsplit(".", 2)
        outbox = None if engine.node is None else engine.node._outbox
        flights = {} if outbox is None else outbox._flights
        earlier = [lost for lost in self._lost.get(nonce, ()) if lost < int(number) and lost in flights]
        if earlier:
            raise Violation("overtaking", f"{engine.name} sends frame {number} though {min(earlier)} is lost")
        self._lost.setdefault(nonce, set()).discard(int(number))

    def told(self, engine: Engine, message: Message, position: int) -> None:
        """Remember what a node knows to be lost."""
        nonce, number, attempt = message.id.rsplit(".", 2)
        outbox = None if engine.node is None else engine.node._outbox
        flight = None if outbox is None else outbox._flights.get(int(number))
        if position == NONE and flight is not None and flight.attempt == int(attempt):
            self._lost.setdefault(nonce, set()).add(int(number))

    # Clients.

    def done(self, trader: str, offer: Offer, batch: Batch, session: int) -> None:
        """Every command is in the log with the outcome that the client got, and with no other ever."""
        self._scheduler.count("batches done")
        for index, serial in enumerate(offer.serials):
            intent, outcome = self._intents[serial], batch.outcomes[index]
            reason = Reason(int(outcome["reason"]))
            what = f"{trader} was told {reason.name} of number {batch.first + index} of session {session}"
            if batch.fenced[index] and reason is Reason.MALFORMED:
                self._deny(intent, what)
                continue
            place = intent.place
            if intent.is_ambiguous:
                continue
            if place is None:
                if self._is_excused(batch.position):
                    continue
                raise Violation("lost", f"{what}, which the log has not")
            if self.truth.places.get((session, batch.first + index)) is not place:
                raise Violation("numbers", f"{what}, which was applied under another number")
            self._compare_outcome(what, outcome, place, is_named=bool(batch.told))

    def _is_excused(self, position: int) -> bool:
        shortest = self._broker.shortest
        return shortest is not None and position >= shortest

    def _compare_outcome(self, what: str, outcome: Any, place: Place, *, is_named: bool) -> None:
        first = outcome_of(place.outcome)
        fields = ("reason", "made", "command") if is_named else OUTCOME.names or ()
        for field in fields:
            if field != "repeated" and outcome[field] != first[field]:
                raise Violation("outcomes", f"{what}: {field} {outcome[field]}, the log has {first[field]}")

    def failed(self, trader: str, offer: Offer, failed: Failed) -> None:
        """What is said to be certainly not done is not, and never will be."""
        self._scheduler.count(f"batches {failed.fate.value}")
        for serial in offer.serials:
            if failed.fate is Fate.UNKNOWN:
                self._intents[serial].is_unknown = True
            else:
                self._deny(self._intents[serial], f"{trader} was told {failed.fate.value} ({failed.problem})")

    def _deny(self, intent: Intent, what: str) -> None:
        if intent.is_old:
            return  # It may rest on an answer that was right by what the broker forgot.
        intent.is_denied = True
        if intent.place is not None:
            raise Violation("denied", f"{what} of a command that frame {intent.place.position} applied")

    def found(self, trader: str, question: Read, found: Found) -> None:
        """An answer is not older than was asked for, and is the log's at its position."""
        self._scheduler.count("reads")
        if found.position < question.minimum_position:
            raise Violation("reads", f"{trader} asked for {question.minimum_position} and got {found.position}")
        self._positions[trader] = max(self._positions.get(trader, NONE), found.position)
        if self._broker.shortest is not None and found.position >= self._broker.shortest:
            return
        problem = self._wrong_answer(question, found)
        if problem:
            raise Violation("reads", f"{trader} asked {question.what} at {found.position}: {problem}")

    def _wrong_answer(self, question: Read, found: Found) -> str:
        if question.what == "margin":
            status, version = self.truth.steps[found.position].accounts[question.arguments["account"]].tolist()
            said = found.content["status"], found.content["version"]
            expected = Status(status).name.lower().replace("_", " "), version
            return "" if said == expected else f"{said}, the log says {expected}"
        session = question.arguments["session"]
        expected_next = self.truth.next_number(session, found.position)
        if question.what == "session":
            given = found.content["next"]
            return "" if given == expected_next else f"next is {given}, the log says {expected_next}"
        return self._wrong_lookup(session, question.arguments["number"], expected_next, found)

    def _wrong_lookup(self, session: int, number: int, expected_next: int, found: Found) -> str:
        state = found.content["state"]
        expected = "applied" if number < expected_next else "not-applied"
        if state != expected:
            return f"number {number} is {state}, the log says {expected}"
        if "outcome" in found.content:
            given, first = outcome_of(found.content["outcome"]), outcome_of(self.truth.places[session, number].outcome)
            return "" if given["command"] == first["command"] else "another outcome than the log's"
        return ""

    # The end.

    def conclude(self, engines: list[Engine]) -> None:
        """What must hold at the end, whatever happened."""
        if any(sums(self.truth.fold.machine.state)):
            raise Violation("conservation", f"sums are {sums(self.truth.fold.machine.state)}")
        for engine in engines:
            node = engine.node
            if node is None or engine.stage is not Stage.SERVING or engine.is_corrupt:
                continue
            if any(sums(node.fold.machine.state)):
                raise Violation("conservation", f"of {engine.name}: {sums(node.fold.machine.state)}")
            chains = [step.chain for step in self.truth.steps]
            if node.fold.chain not in chains and not node.halted:
                raise Violation("histories", f"{engine.name} goes on with a history that the log has not")
        self._scheduler.count("liquidations", self._laws.votes.liquidations)
        self._scheduler.count("commands repeated", self._laws.turns.repeats)
        for reason, count in self._laws.turns.refused.items():
            self._scheduler.count(f"frames {reason}", count)

    def converged(self, engines: list[Engine]) -> bool:
        """Whether all nodes serve and have the log's state at its end."""
        fold = self.truth.fold
        for engine in engines:
            node = engine.node
            if node is None or not node.serving or node.fold.position != fold.position:
                return False
        return True

    def compare_roots(self, engines: list[Engine]) -> None:
        """All nodes have the state of the log where they are."""
        root = self.truth.fold.root()
        for engine in engines:
            if engine.node is not None and engine.node.fold.root() != root:
                raise Violation("roots", f"{engine.name} ends with another state")


def outcome_of(data: bytes) -> Any:
    """One outcome from its bytes."""
    return np.frombuffer(data, OUTCOME)[0]
