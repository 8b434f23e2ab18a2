"""How frames reach a node: in order, late, sometimes not for a while; and the watch that sees a log that forgot.

Theory of operation. The model does what `log.jetstream.follower` does with its two read paths, as one. A consumer that
is new, after a start or because the servers lost messages, shows the last frame known before it adds to it; another
frame there is a fault. Each second the end of the stream is judged by the real `Watch`. After a fault nothing is
delivered.
"""

from collections.abc import Callable
from typing import Final

from holdfast.log.jetstream.follower import WATCH_INTERVAL_S
from holdfast.log.jetstream.stream import StreamState
from holdfast.log.jetstream.watch import Saying, Watch
from holdfast.simulation.broker import Broker
from holdfast.simulation.scheduler import Scheduler
from holdfast.simulation.weather import BROKER, Weather

LAG_S: Final = (0.001, 0.006)
RETRY_S: Final = 0.2
"""After which a consumer that cannot be reached is made again."""
CREATED: Final = "2024-01-01T00:00:00.000000001Z"
SERVERS: Final = ("east", "west")


class Following:
    """The read paths of one node, from a start until it is closed.

    Attributes:
        next: The position to be delivered next.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        weather: Weather,
        broker: Broker,
        name: str,
        *,
        start: int,
        known: bytes | None,
        deliver: Callable[[int, bytes, str], None],
        fault: Callable[[str], None],
    ) -> None:
        self._scheduler, self._weather, self._broker, self._name = scheduler, weather, broker, name
        self.next, self._known = start, known
        self._deliver, self._fault = deliver, fault
        self._is_new, self._is_due, self._is_over = True, False, False
        self._watch = Watch(CREATED)
        broker.on_stored(self.wake)
        broker.on_forgot(self._forgot)
        scheduler.after(WATCH_INTERVAL_S, self._look)
        self.wake()

    def wake(self) -> None:
        """There may be something to deliver."""
        if not self._is_due and not self._is_over:
            self._is_due = True
            self._scheduler.after(self._scheduler.between(*LAG_S), self._read)

    def stored(self, position: int, frame: bytes, message_id: str) -> None:
        """The node's own frame is acknowledged: it counts as read where everything before it was read."""
        shown = self._known is None or not self._is_new
        if position == self.next and shown and not self._is_over:
            self.next, self._known = position + 1, frame
            self._deliver(position, frame, message_id)

    def close(self) -> None:
        """Deliver nothing more."""
        self._is_over = True

    def _forgot(self, _length: int) -> None:
        """The servers went down and came back: every consumer is made anew."""
        self._is_new = True
        self.wake()

    def _read(self) -> None:
        self._is_due = False
        wait = self._weather.stalled_until(self._name) - self._scheduler.now
        if not self._weather.reaches(self._name, BROKER):
            wait, self._is_new = max(wait, RETRY_S), True
        if wait > 0.0 and not self._is_over:
            self._is_due = True
            self._scheduler.after(wait, self._read)
            return
        messages = self._broker.messages
        if self._is_new and self._known is not None and len(messages) >= self.next:
            if messages[self.next - 1].frame != self._known:
                self._end(f"the stream has another frame at position {self.next - 1}")
            self._is_new = False
        while not self._is_over and self.next < len(messages):
            position, self._is_new = self.next, False
            self.next, self._known = position + 1, messages[position].frame
            self._deliver(position, messages[position].frame, messages[position].id)

    def _look(self) -> None:
        if self._is_over:
            return
        self._scheduler.after(WATCH_INTERVAL_S, self._look)
        if self._weather.reaches(self._name, BROKER):
            state = StreamState(CREATED, 0, self._broker.end, SERVERS[0], CREATED, 0, ())
            fault = self._watch.judge(self.next, [Saying(server, state) for server in SERVERS])
            if fault is not None:
                self._end(str(fault))

    def _end(self, problem: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._fault(problem)
