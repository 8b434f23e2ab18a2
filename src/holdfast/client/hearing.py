"""What is heard of a request. Apart from `links`, so that nothing else needs the library that connects."""

import enum
from collections.abc import Callable
from typing import NamedTuple


class Way(enum.Enum):
    """What became of a request."""

    ANSWERED = "answered"
    ABSENT = "nobody listens"
    UNSENT = "there is no connection"
    LOST = "the connection broke"


class Heard(NamedTuple):
    """An event of a request; after LOST an answer may still come."""

    way: Way
    data: bytes = b""


Listener = Callable[[Heard], None]
