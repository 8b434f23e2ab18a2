"""Requests of clients to nodes and the replies, as bytes. What may not live here: what they say."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from holdfast.core.state import Role
from holdfast.simulation.scheduler import Scheduler
from holdfast.simulation.weather import Weather

DELAY_S: Final = (0.0005, 0.003)

Reply = Callable[[bytes], None]


class Hearer(Protocol):
    """A node as its clients see it."""

    def is_there(self) -> bool:
        """Whether a process has subscribed."""

    def is_serving(self) -> bool:
        """What it would answer to a question for its status."""

    def hear(self, role: Role, data: bytes, reply: Reply) -> None:
        """Take a request."""


class Network:
    """The links between clients and nodes."""

    def __init__(self, scheduler: Scheduler, weather: Weather) -> None:
        self._scheduler, self._weather = scheduler, weather
        self._hearers: dict[str, Hearer] = {}

    def join(self, hearers: Mapping[str, Hearer]) -> None:
        """Connect nodes by their names."""
        self._hearers.update(hearers)

    def request(
        self, sender: str, role: Role, node: str, data: bytes, reply: Reply, nobody: Callable[[], None]
    ) -> None:
        """Send a request.

        Args:
            sender: Name of the client.
            role: Of its credentials.
            node: To whom.
            data: The request.
            reply: Called at most once with the reply.
            nobody: Called instead where the servers know that nobody hears.
        """
        if self._passes(sender, node, self._weather.lost_request):
            self._scheduler.after(self._delay(), self._arrive, sender, role, node, data, reply, nobody)

    def probe(self, sender: str, node: str, told: Callable[[bool], None]) -> None:
        """Ask a node whether it serves."""
        if self._passes(sender, node, self._weather.lost_request):
            self._scheduler.after(2 * self._delay(), self._probed, node, told)

    def _delay(self) -> float:
        return self._scheduler.between(*DELAY_S)

    def _passes(self, sender: str, node: str, lost: float) -> bool:
        return self._weather.reaches(sender, node) and not self._scheduler.chance(lost)

    def _arrive(
        self, sender: str, role: Role, node: str, data: bytes, reply: Reply, nobody: Callable[[], None]
    ) -> None:
        hearer = self._hearers[node]
        if not hearer.is_there():
            if self._scheduler.chance(0.7):  # Else the servers have not noticed yet.
                self._scheduler.after(self._delay(), nobody)
            return

        def back(answer: bytes) -> None:
            if self._passes(sender, node, self._weather.lost_reply):
                self._scheduler.after(self._delay(), reply, answer)

        hearer.hear(role, data, back)

    def _probed(self, node: str, told: Callable[[bool], None]) -> None:
        told(self._hearers[node].is_serving())
