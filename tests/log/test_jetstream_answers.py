"""What answers of the servers mean: the fate of a frame, and what the stream says about itself."""

import asyncio

import pytest

pytest.importorskip("nats")

import nats.errors

from holdfast.domain.errors import InputError
from holdfast.domain.frames import FRAME_LENGTH_MAXIMUM
from holdfast.log import errors
from holdfast.log.jetstream.connection import ConnectionLostError
from holdfast.log.jetstream.publisher import Fate, Published, publish
from holdfast.log.jetstream.stream import MESSAGE_LENGTH_MAXIMUM, StreamState, create_stream, message_at, stream_state


class Answers:
    """A client whose servers answer what a test says."""

    is_connected = True
    last_error = None
    max_payload = MESSAGE_LENGTH_MAXIMUM

    def __init__(self, *answers, **settings):
        self.answers = list(answers)
        self.asked = []
        vars(self).update(settings)

    async def request(self, subject, payload, timeout=None, headers=None):
        self.asked.append((subject, headers))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return type("Message", (), {"data": answer})


def refusal(code, text="words"):
    return b'{"error": {"code": 400, "err_code": %d, "description": "%b"}}' % (code, text.encode())


FATES = {
    "stored": (b'{"stream":"HOLDFAST","seq":8}', Published(Fate.STORED, 7)),
    "repeated": (b'{"stream":"HOLDFAST","seq":8,"duplicate":true}', Published(Fate.STORED, 7, repeated=True)),
    "repeated, place unknown": (b'{"seq":0,"duplicate":true}', Fate.UNKNOWN),
    "no time": (nats.errors.TimeoutError(), Fate.UNKNOWN),
    "broken": (ConnectionLostError("x"), Fate.UNKNOWN),
    "in process": (refusal(10158), Fate.UNKNOWN),
    "unreadable": (b"<html>", Fate.UNKNOWN),
    "not stored, whyever": (refusal(10077, "disk broke"), Fate.UNKNOWN),
    "unavailable": (refusal(10008), Fate.UNKNOWN),
    "full": (refusal(10077, "maximum bytes exceeded"), Fate.REFUSED),
    "no resources": (refusal(10023), Fate.REFUSED),
    "too many": (refusal(10167), Fate.REFUSED),
    "nobody": (nats.errors.NoRespondersError(), Fate.REFUSED),
    "no connection": (nats.errors.OutboundBufferLimitError(), Fate.REFUSED),
    "closed": (nats.errors.ConnectionClosedError(), Fate.REFUSED),
}


@pytest.mark.criterion("LOG-19")
@pytest.mark.parametrize(("answer", "meant"), FATES.values(), ids=FATES)
def test_fates(answer, meant):
    client = Answers(answer)
    published = asyncio.run(publish(client, b"frame", "boot.7.0", 1.0))
    if isinstance(meant, Fate):
        assert (published.fate, published.position, published.again) == (meant, -1, True)
        assert published.problem
    else:
        assert published == meant
    assert client.asked == [("holdfast.log", {"Nats-Msg-Id": "boot.7.0"})]


@pytest.mark.criterion("LOG-17", "LOG-19")
def test_what_no_repeat_can_mend():
    for client, frame in (
        (Answers(refusal(10054)), b"frame"),
        (Answers(), b""),
        (Answers(), bytes(FRAME_LENGTH_MAXIMUM + 1)),
        (Answers(max_payload=1 << 20), bytes(FRAME_LENGTH_MAXIMUM)),
    ):
        published = asyncio.run(publish(client, frame, "x", 1.0))
        assert (published.fate, published.again) == (Fate.REFUSED, False)
    longest = asyncio.run(publish(Answers(FATES["stored"][0]), bytes(FRAME_LENGTH_MAXIMUM), "x", 1.0))
    assert longest.fate is Fate.STORED
    unconnected = asyncio.run(publish(Answers(is_connected=False), b"x", "x", 1.0))
    assert (unconnected.fate, unconnected.again) == (Fate.REFUSED, True)


@pytest.mark.criterion("LOG-18")
def test_servers_that_take_no_frame_of_full_length():
    with pytest.raises(InputError, match=r"max_payload.*1052672"):
        asyncio.run(create_stream(Answers(max_payload=1 << 20)))


@pytest.mark.criterion("LOG-18")
def test_what_the_stream_says():
    said = (
        b'{"config":{},"created":"2026-01-01T00:00:00.123456789Z","state":{"first_seq":1,"last_seq":42},'
        b'"cluster":{"leader":"b","leader_since":"now","replicas":[{"name":"a","current":true},{"name":"c"}]}}'
    )
    assert asyncio.run(stream_state(Answers(said))) == StreamState(
        "2026-01-01T00:00:00.123456789Z", 0, 42, "b", "now", 0, (("a", True), ("c", False))
    )
    with pytest.raises(errors.MissingLogError):
        asyncio.run(stream_state(Answers(refusal(10059))))
    found = b'{"message":{"seq":8,"data":"YWJj","hdrs":"TkFUUy8xLjANCk5hdHMtTXNnLUlkOiB4LjcuMA0KDQo="}}'
    assert asyncio.run(message_at(Answers(found), 7)) == (b"abc", "x.7.0")
    assert asyncio.run(message_at(Answers(refusal(10037)), 7)) is None
