"""The broker as a model: one stream, with what JetStream does to those who publish to it.

Theory of operation. A message that arrives is stored, or known by its id as a repeat, and answered. On the way it may
be lost; so may the answer; or the message arrives long after its sender gave it up, and after others. While the servers
elect a leader, messages are refused, lost, or kept until there is one. Ids are remembered for two minutes of the
broker's own clock, which may jump. And the newest messages may be forgotten although they were answered, which is what
the broker promises not to do.

What may not live here: what the frames say, delivery (`following`).
"""

from collections.abc import Callable
from typing import Final

from holdfast.core.state import NONE
from holdfast.log.jetstream.stream import DUPLICATE_WINDOW_S
from holdfast.replica.node.outbox import Message
from holdfast.simulation.scheduler import Scheduler
from holdfast.simulation.weather import BROKER, Weather

PUBLISH_S: Final = 1.0
"""How long an answer is awaited; shorter than a node's own patience, so that more happens in a short run."""
LATE_S: Final = 6.0
"""How late a message may be stored."""

Answer = Callable[[int, bool], None]
"""Called once with the position and whether the id was known; NONE where the message was refused, or nobody knows."""


class _Attempt:
    """One publishing of a message, until its sender is told something or gives up."""

    def __init__(self, answer: Answer) -> None:
        self._answer: Answer | None = answer

    def end(self, position: int, *, repeated: bool = False) -> None:
        """Tell the sender, unless it was told."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer(position, repeated)


class Broker:
    """The stream.

    Attributes:
        messages: As stored, by position.
        shortest: The least length that forgetting ever left; the frames before were there for ever.
    """

    def __init__(self, scheduler: Scheduler, weather: Weather, frames: list[bytes]) -> None:
        self.messages = [Message(f"genesis.{number}.0", frame) for number, frame in enumerate(frames)]
        self.shortest: int | None = None
        self._scheduler, self._weather = scheduler, weather
        self._known: dict[str, tuple[int, float]] = {}
        self._arrivals: dict[str, float] = {}
        self._clock_ahead_s = 0.0
        self._leaderless_until = 0.0
        self._stored: list[Callable[[], None]] = []
        self._forgot: list[Callable[[int], None]] = []

    @property
    def end(self) -> int:
        """The position that the next message gets."""
        return len(self.messages)

    def on_stored(self, tell: Callable[[], None]) -> None:
        """Have somebody told of every message that was stored, in the order in which they asked."""
        self._stored.append(tell)

    def on_forgot(self, tell: Callable[[int], None]) -> None:
        """Have somebody told the new length when messages were forgotten."""
        self._forgot.append(tell)

    def publish(self, sender: str, message: Message, answer: Answer) -> None:
        """Try once to have a message stored."""
        attempt, weather, scheduler = _Attempt(answer), self._weather, self._scheduler
        scheduler.after(PUBLISH_S, attempt.end, NONE)
        if not weather.reaches(sender, BROKER):
            scheduler.count("messages without a link")
            if scheduler.chance(0.5):  # The sender's library knows that there is no connection.
                scheduler.after(0.001, attempt.end, NONE)
        elif scheduler.chance(weather.late):
            scheduler.count("messages late")
            scheduler.after(scheduler.between(0.2, LATE_S), self._arrive, sender, message, attempt)
        elif scheduler.chance(weather.lost_publish):
            scheduler.count("messages lost")
        else:
            # One connection keeps the order of what it carries.
            arrival = max(scheduler.now + scheduler.between(0.001, 0.004), self._arrivals.get(sender, 0.0))
            self._arrivals[sender] = arrival
            scheduler.after(arrival - scheduler.now, self._arrive, sender, message, attempt)

    def elect(self, seconds: float) -> None:
        """Be without a leader for a while."""
        self._leaderless_until = max(self._leaderless_until, self._scheduler.now + seconds)

    def jump(self, seconds: float) -> None:
        """Set the clock forward, by which ids are forgotten."""
        self._clock_ahead_s += seconds

    def forget(self, count: int) -> None:
        """Lose the newest messages, as servers that lost power before their disks had them."""
        length = max(1, self.end - count)
        del self.messages[length:]
        self._known = {name: known for name, known in self._known.items() if known[0] < length}
        self.shortest = length if self.shortest is None else min(self.shortest, length)
        for tell in self._forgot:
            tell(length)

    def _arrive(self, sender: str, message: Message, attempt: _Attempt) -> None:
        wait = self._leaderless_until - self._scheduler.now
        if wait <= 0.0:
            self._store(sender, message, attempt)
            return
        self._scheduler.count("messages without a leader")
        fate = self._scheduler.random.random()
        if fate < 0.5:
            attempt.end(NONE)  # Nobody responds.
        elif fate < 0.75:
            self._scheduler.after(wait + self._scheduler.between(0.001, 0.1), self._arrive, sender, message, attempt)

    def _store(self, sender: str, message: Message, attempt: _Attempt) -> None:
        clock = self._scheduler.now + self._clock_ahead_s
        position, since = self._known.get(message.id, (NONE, float("-inf")))
        repeated = clock - since < DUPLICATE_WINDOW_S
        if repeated:
            self._scheduler.count("repeats known by their id")
        else:
            self._scheduler.count("frames stored again", int(position != NONE))
            position = self.end
            self.messages.append(message)
            self._known[message.id] = position, clock
            self._scheduler.note("broker", f"stores {message.id} at {position}")
            for tell in self._stored:
                tell()
        if not self._weather.reaches(sender, BROKER) or self._scheduler.chance(self._weather.lost_acknowledgement):
            self._scheduler.count("acknowledgements lost")
        else:
            self._scheduler.after(self._scheduler.between(0.001, 0.003), self._end, attempt, position, repeated)

    @staticmethod
    def _end(attempt: _Attempt, position: int, repeated: bool) -> None:  # noqa: FBT001 (an event's arguments)
        attempt.end(position, repeated=repeated)
