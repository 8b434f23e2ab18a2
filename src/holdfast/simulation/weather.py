"""How bad things are at the moment: shares of what gets lost or late, and links that are cut. Faults change it.

What may not live here: when it changes (`faults`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

BROKER = "broker"
"""What nodes are linked to, beside clients."""


@dataclass
class Weather:
    """The state of everything between processes; all shares are of 1.

    Attributes:
        lost_publish: Messages that never reach the broker.
        lost_acknowledgement: Answers of the broker that never arrive.
        late: Messages that are stored long after their sender gave them up.
        lost_request: Clients' requests that never arrive.
        lost_reply: Replies to clients that never arrive.
        failing_write: Snapshots that a disk or the store does not take.
        slow_disk: Writes to copies that take up to half a second.
    """

    lost_publish: float = 0.0
    lost_acknowledgement: float = 0.0
    late: float = 0.0
    lost_request: float = 0.0
    lost_reply: float = 0.0
    failing_write: float = 0.0
    slow_disk: float = 0.0
    _cut: dict[tuple[str, str], int] = field(default_factory=dict)
    _stalled: dict[str, float] = field(default_factory=dict)

    def cut(self, links: Iterable[tuple[str, str]]) -> None:
        """Cut links; a link that is cut twice must be mended twice."""
        for link in links:
            self._cut[link] = self._cut.get(link, 0) + 1

    def mend(self, links: Iterable[tuple[str, str]]) -> None:
        """Undo a `cut`."""
        for link in links:
            self._cut[link] = max(0, self._cut.get(link, 0) - 1)

    def reaches(self, one: str, other: str) -> bool:
        """Whether messages pass between two."""
        return not self._cut.get((one, other), 0)

    def stall(self, name: str, until: float) -> None:
        """Let the broker deliver nothing to a node for a while."""
        self._stalled[name] = max(until, self._stalled.get(name, 0.0))

    def stalled_until(self, name: str) -> float:
        """When the broker delivers to a node again."""
        return self._stalled.get(name, 0.0)

    def clear(self) -> None:
        """Heal everything."""
        self.__init__()  # type: ignore[misc]
