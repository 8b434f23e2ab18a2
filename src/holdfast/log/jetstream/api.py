"""One question to JetStream and its answer. What may not live here: what is asked."""

from typing import Any, Final, TypeVar

import msgspec
import nats.errors
from nats.aio.client import Client

from holdfast.domain.errors import HoldfastError

PREFIX: Final = "$JS.API"
NO_MESSAGE: Final = 10037
STREAM_NOT_FOUND: Final = 10059
MESSAGE_TOO_LONG: Final = 10054
INSUFFICIENT_RESOURCES: Final = 10023
TOO_MANY_REQUESTS: Final = 10167
STORE_FAILED: Final = 10077

_T = TypeVar("_T", bound="Answer")


class Problem(msgspec.Struct, frozen=True):
    """What JetStream says when it does not do what it was asked.

    Attributes:
        err_code: JetStream's own number of the error; 0 where it gives none.
        description: In its words.
    """

    code: int = 0
    err_code: int = 0
    description: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer may have."""

    error: Problem | None = None


class RefusedError(HoldfastError):
    """JetStream answered that it will not.

    Attributes:
        code: JetStream's number of the error.
    """

    def __init__(self, problem: Problem) -> None:
        self.code = problem.err_code
        super().__init__(f"{problem.description} ({problem.err_code})")


class SilenceError(HoldfastError):
    """No answer came, because nobody was there or the time was over. Whether it was done is unknown."""


async def ask(client: Client, question: str, body: object, answer: type[_T], timeout_s: float) -> _T:
    """Ask JetStream something.

    Args:
        client: A connected client; asking through one that is not fails at once.
        question: The subject after the prefix of the API, such as `STREAM.INFO.HOLDFAST`.
        body: What becomes the JSON of the question; None asks without.
        answer: What the JSON of the answer is read as.
        timeout_s: How long to wait for it.

    Raises:
        RefusedError: JetStream will not.
        SilenceError: No answer came in time.
    """
    if not client.is_connected:
        raise SilenceError("there is no connection")
    payload = b"" if body is None else msgspec.json.encode(body)
    try:
        message = await client.request(f"{PREFIX}.{question}", payload, timeout=timeout_s)
    except nats.errors.NoRespondersError as error:
        raise SilenceError("nobody is there to answer") from error
    except nats.errors.TimeoutError as error:
        raise SilenceError(f"no answer within {timeout_s} s") from error
    except nats.errors.Error as error:
        raise SilenceError(str(error)) from error
    return read(message.data, answer)


def read(data: bytes, answer: type[_T]) -> _T:
    """Read an answer.

    Raises:
        RefusedError: It says that JetStream will not.
        SilenceError: It cannot be read.
    """
    try:
        decoded: Any = msgspec.json.decode(data, type=answer)
    except msgspec.DecodeError as error:
        raise SilenceError(f"an answer that cannot be read ({error})") from error
    if decoded.error is not None:
        raise RefusedError(decoded.error)
    return decoded  # type: ignore[no-any-return]
