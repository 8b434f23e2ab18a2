"""Each check on journals with one lie planted in them: it finds that, and nothing without it."""

import asyncio

import pytest

from holdfast.chaos import checks
from holdfast.chaos.checks import Evidence, Sight, judge
from holdfast.chaos.gaps import Window, gaps, longest
from holdfast.chaos.history import Command, Fate, History, Question, history_of
from holdfast.chaos.journal import (
    Acknowledged,
    Answered,
    Asked,
    Failed,
    Invoked,
    Journal,
    Unanswered,
    Unknown,
    encode,
    read_journal,
)
from holdfast.chaos.truth import Place, Truth, truth_of
from holdfast.chaos.workload import Workload, World, said_of
from holdfast.core.fold import Fold
from holdfast.domain import commands as c
from holdfast.domain.reasons import Reason
from holdfast.margin.presets import preset
from holdfast.replica.gateway import FIRST_GATEWAY, ClientSession, Gateway
from holdfast.replica.node.audit import named_roots

S = 10**9


def said(number: int):
    return (5, 4, 5, 0, number, 0, 0)


def told(call, place, *, client="a", at=None, took=S // 10, **more):
    """A command acknowledged with the outcome of its place."""
    begin = (call if at is None else at) * S
    fields = {"fate": Fate.OK, "ended_at": int(begin + took), "reason": place.reason, "command": place.command}
    return Command(client, call, said(place.number), int(begin), session=place.session, **{**fields, **more})


def place(number, position, record=0, reason=Reason.ACCEPTED):
    return Place(position, record, int(reason), 1 + position * 16_384 + record, 9, number)


def truth(*places, **more):
    found: dict = {}
    for one in places:
        found.setdefault(said(one.number), []).append(one)
    fields = {"roots": {}, "wrong": [], "unconserved": [], "clocks": [], "repeats": 0, "refused_frames": 0, "root": ""}
    return Truth(end=100, places=found, **{**fields, **more})


def evidence(commands=(), questions=(), log=None, **more):
    return Evidence(History(tuple(commands), tuple(questions)), truth() if log is None else log, **more)


def found(given: Evidence) -> dict[str, int]:
    """How many findings each check that found something has."""
    return {name: len(lines) for name, lines in judge(given).items() if lines}


ONE, TWO, THREE = place(1, 3), place(2, 4), place(3, 4, 1)
SOUND = (told(1, ONE), told(2, TWO), told(3, THREE))


def test_a_sound_history_has_no_finding():
    unknown = Command("a", 4, said(7), 4 * S)
    failed = Command("a", 5, said(8), 5 * S, fate=Fate.FAIL, ended_at=6 * S)
    assert found(evidence([*SOUND, unknown, failed], log=truth(ONE, TWO, THREE))) == {}
    done_unknown = Command("a", 4, said(4), 4 * S)
    assert found(evidence([*SOUND, done_unknown], log=truth(ONE, TWO, THREE, place(4, 5)))) == {}


@pytest.mark.criterion("CHA-5")
def test_lost_commands_and_other_outcomes_are_found():
    assert found(evidence(SOUND, log=truth(ONE, TWO))) == {"lost": 1}
    other = told(3, THREE, reason=int(Reason.BALANCE))
    assert found(evidence([*SOUND[:2], other], log=truth(ONE, TWO, THREE))) == {"lost": 1}
    elsewhere = told(3, THREE, command=THREE.command + 1)
    assert found(evidence([*SOUND[:2], elsewhere], log=truth(ONE, TWO, THREE))) == {"lost": 1}
    forgotten = told(3, THREE, reason=int(Reason.ALREADY_APPLIED), command=0)
    assert found(evidence([*SOUND[:2], forgotten], log=truth(ONE, TWO, THREE))) == {}
    assert found(evidence([*SOUND[:2], forgotten], log=truth(ONE, TWO))) == {"lost": 1}


@pytest.mark.criterion("CHA-6")
def test_a_command_that_took_effect_twice_is_found():
    assert found(evidence(SOUND, log=truth(ONE, TWO, THREE, place(2, 9)))) == {"duplicated": 1}


@pytest.mark.criterion("CHA-7")
def test_commands_that_nobody_gave_and_failed_ones_in_the_log_are_found():
    assert found(evidence(SOUND, log=truth(ONE, TWO, THREE, place(8, 9)))) == {"phantom": 1}
    failed = Command("a", 4, said(8), 4 * S, fate=Fate.FAIL, ended_at=5 * S)
    assert found(evidence([*SOUND, failed], log=truth(ONE, TWO, THREE, place(8, 9)))) == {"phantom": 1}


@pytest.mark.criterion("CHA-8")
def test_a_clients_commands_in_another_order_are_found():
    together = [told(1, TWO, at=1), told(2, ONE, at=1)]
    assert found(evidence(together, log=truth(ONE, TWO))) == {"reordered": 1}
    within_a_frame = [told(1, THREE, at=1), told(2, TWO, at=1)]
    assert found(evidence(within_a_frame, log=truth(TWO, THREE))) == {"reordered": 1}


@pytest.mark.criterion("CHA-9")
def test_a_command_before_one_acknowledged_earlier_is_found():
    of_two = [told(1, TWO, client="a", at=1), told(1, ONE, client="b", at=2)]
    assert found(evidence(of_two, log=truth(ONE, TWO))) == {"against time": 1}
    at_once = [told(1, TWO, client="a", at=1), told(1, ONE, client="b", at=1)]
    assert found(evidence(at_once, log=truth(ONE, TWO))) == {}
    unknown = Command("b", 1, said(1), 2 * S)
    assert found(evidence([of_two[0], unknown], log=truth(ONE, TWO))) == {"against time": 1}


def question(call, position, *, asked=None, answered=None, minimum=-1, staleness_ms=-1, client="a", **more):
    asked_at = call * S if asked is None else round(asked * S)
    answered_at = asked_at + S // 10 if answered is None else round(answered * S)
    return Question(
        client, call, asked_at, "margin", {}, minimum, staleness_ms, answered_at, position, 0, "engine-b", b"{}", **more
    )


@pytest.mark.criterion("CHA-10")
def test_reads_that_go_back_are_found():
    assert found(evidence(questions=[question(1, 5), question(2, 6), question(3, 6)])) == {}
    assert found(evidence(questions=[question(1, 5), question(2, 6), question(3, 5)])) == {"reads backwards": 1}
    assert found(evidence(questions=[question(1, 5, minimum=6)])) == {"reads backwards": 1}
    overlapping = [question(1, 6, asked=1, answered=3), question(2, 5, asked=2, answered=4)]
    assert found(evidence(questions=overlapping)) == {}
    others = [question(1, 6, client="a"), question(2, 5, client="b")]
    assert found(evidence(questions=others)) == {}


@pytest.mark.criterion("CHA-11")
def test_answers_older_than_allowed_are_found():
    seventh = place(1, 7)
    commands = [told(1, seventh, at=9.9)]
    for asked, position, count in ((12.4, 6, 0), (12.6, 6, 1), (12.6, 7, 0)):
        asked_for = question(1, position, asked=asked, staleness_ms=1_500)
        given = evidence(commands, [asked_for], truth(seventh))
        assert len(checks.stale(given)) == count
        unbounded = asked_for._replace(staleness_ms=-1)
        assert checks.stale(evidence(commands, [unbounded], truth(seventh))) == []


@pytest.mark.criterion("CHA-13")
def test_sums_that_are_not_zero_are_found():
    assert found(evidence(log=truth(unconserved=[12]))) == {"conservation": 1}


def sight(at, engine, *, halted=False, checkpoint=-1, root=""):
    return Sight(at * S, engine, 10, not halted, halted, checkpoint, root, at * S + 1)


@pytest.mark.criterion("CHA-14")
def test_other_roots_and_copies_are_found():
    log = truth(roots={63: ("c", "aa")})
    sights = [sight(1, "a", checkpoint=63, root="aa"), sight(1, "b")]
    snapshots = [("a", 63, "aa")]
    assert found(evidence(log=log, sights=sights, snapshots=snapshots, copies=[("a", "")])) == {}
    assert found(evidence(log=log, sights=[sight(1, "a", checkpoint=63, root="bb")])) == {"roots": 1}
    assert found(evidence(log=log, sights=[sight(1, "a", checkpoint=62, root="aa")])) == {"roots": 1}
    assert found(evidence(log=log, snapshots=[("a", 63, "bb")])) == {"roots": 1}
    assert found(evidence(log=log, copies=[("a", "differs")])) == {"roots": 1}


@pytest.mark.criterion("CHA-15")
def test_acknowledgements_of_halted_engines_are_found():
    log = truth(ONE)
    assert found(evidence([told(1, ONE, halted=True)], log=log)) == {"halted": 1}
    both = [sight(t, engine, halted=True) for t in (1, 5) for engine in ("a", "b")]
    assert found(evidence([told(1, ONE, at=3)], log=log, sights=both)) == {"halted": 1}
    assert found(evidence([told(1, ONE, at=6)], log=log, sights=both)) == {}
    one_serves = [both[0], sight(1, "b"), both[2], sight(5, "b")]
    assert found(evidence([told(1, ONE, at=3)], log=log, sights=one_serves)) == {}
    between = [*both[:2], sight(2, "b"), *both[2:]]
    assert found(evidence([told(1, ONE, at=3)], log=log, sights=between)) == {}


# The log itself.

WORLD = World((4, 5, 6), ("ann", "bob", "cy"), 0, 2)


class Log:
    """A log with two accounts, by its frames."""

    def __init__(self) -> None:
        self.gateway, self.frames, self.fold = Gateway(FIRST_GATEWAY, 1), [], Fold()
        self.outcomes: list = []
        operator = ClientSession(self.send([(0, 0, c.OpenSession("operator"))]))
        beginning = [
            c.SetRules(checkpoint_frames=4, age_maximum=86_400 * S),
            c.DefineAsset("USD", 6),
            c.DefineAsset("BTC", 8),
            c.DefineInstrument("BTC_USD-PERPETUAL", "0.001", 5),
            c.DefineModel("portfolio", preset("portfolio")),
            c.DefineSource("prices"),
            *(c.OpenAccount(0, name) for name in WORLD.names),
            *(c.Deposit(account, 0, 10**12) for account in WORLD.accounts),
        ]
        self.send([(operator.id, operator.next(), one) for one in beginning])
        source = ClientSession(self.send([(0, 0, c.OpenSession("source"))]))
        self.send([(source.id, source.next(), c.quote(0, 0, 1, 10_000 * 10**8, S, 1))])
        self.send([(operator.id, operator.next(), c.Mark(1))])
        self.session = ClientSession(self.send([(0, 0, c.OpenSession("client"))]))

    def send(self, commands) -> int:
        for session, number, command in commands:
            if isinstance(command, c.Cold):
                self.gateway.add_cold(session, number, command)
            else:
                command["session"], command["number"] = session, number
                self.gateway.add(command)
        for frame in self.gateway.frames():
            self.frames.append(frame)
            self.outcomes = self.fold.apply(frame).outcomes
        return int(self.outcomes["made"][-1])

    def client(self, *commands) -> None:
        self.send([(self.session.id, self.session.next(), one) for one in commands])


@pytest.mark.criterion("CHA-4", "CHA-6")
def test_the_log_says_where_each_command_took_effect():
    log, workload = Log(), Workload(WORLD, 0, 1)
    start = len(log.frames)
    bursts = [workload.burst() for _ in range(30)]
    for burst in bursts:
        log.client(*burst)
    again = bursts[3][0].copy()
    again["number"] = 1 + sum(map(len, bursts[:3]))
    log.send([(log.session.id, int(again["number"][0]), again)])
    log.send([(log.session.id, 10_000, workload.burst()[0])])
    seen = truth_of(log.frames)
    given = [said_of(record[0]) for burst in bursts for record in burst]
    assert len(set(given)) == len(given)
    assert set(seen.places) == set(given)
    assert all(len(places) == 1 for places in seen.places.values())
    assert [seen.places[one][0].number for one in given] == list(range(1, len(given) + 1))
    assert {seen.places[said_of(record[0])][0].position - start for record in bursts[7]} == {7}
    assert (seen.end, seen.repeats, seen.unconserved) == (len(log.frames), 1, [])
    assert seen.root == log.fold.root().hex()
    reasons = {seen.places[one][0].reason for one in given}
    assert Reason.ACCEPTED in reasons
    log.client(bursts[5][0].copy())  # Under a new number: a second effect.
    assert found(evidence(log=truth_of(log.frames)))["duplicated"] == 1


@pytest.mark.criterion("CHA-4")
def test_no_two_commands_of_any_clients_say_the_same_and_names_mean_their_record():
    workloads = [Workload(WORLD, client, 5) for client in range(3)]
    given = []
    for workload in workloads:
        for _ in range(500):
            records = [workload.named()[1]] if workload.is_named() else workload.burst()
            given += [said_of(record[0]) for record in records]
    assert len(set(given)) == len(given)
    fields, record = workloads[0].named()
    assert fields["account"] == WORLD.names[WORLD.accounts.index(int(record["account"][0]))]
    assert round(float(fields["amount"]) * 10**6) == int(record["quantity"][0])


@pytest.mark.criterion("CHA-12")
def test_answers_that_the_state_does_not_give_are_found():
    log = Log()
    log.client(c.transfer(0, 0, 4, 5, 0, 7))
    position = len(log.frames) - 1
    sums = {"USD": "0.000000", "BTC": "0E-8", "BTC_USD-PERPETUAL": "0.000"}
    right = question(1, position)._replace(what="conservation", content=encode(sums), time=log.fold.time)
    assert truth_of(log.frames, [right]).wrong == []
    lies = [
        right._replace(content=encode({**sums, "USD": "1"})),
        right._replace(time=right.time + 1),
        right._replace(position=position + 1),
        right._replace(what="margin", arguments={"account": "nobody"}),
    ]
    for lie in lies:
        assert len(checks.wrong(evidence(log=truth_of(log.frames, [lie])))) == 1
    roots = {"root": log.fold.root().hex(), "chain": log.fold.chain.hex(), **named_roots(log.fold)}
    known = [[one.position, one.chain.hex(), one.root.hex()] for one in log.fold.checkpoints]
    assert known
    for checkpoints, count in (([], 0), (known, 0), ([[known[0][0], known[0][1], "00"]], 1), ([[5, "", ""]], 0)):
        answer = encode({**roots, "checkpoints": checkpoints})
        asked = right._replace(what="root", content=answer)
        assert len(truth_of(log.frames, [asked]).wrong) == count


# Journals.


@pytest.mark.criterion("CHA-3")
def test_a_journal_is_read_as_it_was_written_without_a_torn_line(tmp_path):
    path = tmp_path / "journal"
    entries = [
        Invoked(1, 1, said(1)),
        Invoked(1, 2, said(2)),
        Invoked(1, 3, said(3)),
        Invoked(1, 4, said(4)),
        Acknowledged(2, 1, 9, 1, 0, 77, halted=True),
        Failed(3, 2, "busy"),
        Unknown(4, 3, 9, 3, "time"),
        Asked(5, 5, "margin", {"account": "ann"}, 3, 500),
        Answered(6, 5, 4, 8, "engine-b", {"equity": 1.5}),
        Asked(7, 6, "root", {}, -1, -1),
        Unanswered(8, 6, "nobody"),
    ]

    async def write() -> None:
        journal = Journal(path)
        writing = asyncio.create_task(journal.run())
        order = []

        async def one(entry) -> None:
            journal.put(entry)
            await journal.force()
            order.append(entry)
            assert encode(entry) in path.read_bytes()

        await asyncio.gather(*map(one, entries))
        assert order == entries
        writing.cancel()
        journal.close()

    asyncio.run(write())
    assert list(read_journal(path)) == entries
    with path.open("ab") as file:
        file.write(b'["ok",9')
    assert list(read_journal(path)) == entries
    history = history_of({"a": read_journal(path)})
    assert [command.fate for command in history.commands] == [Fate.OK, Fate.FAIL, Fate.UNKNOWN, Fate.UNKNOWN]
    first = history.commands[0]
    assert (first.ended_at, first.session, first.number, first.command, first.halted) == (2, 9, 1, 77, True)
    assert [question.answered_at for question in history.questions] == [6, -1]
    assert history.questions[0].content == b'{"equity":1.5}'


# Gaps.


@pytest.mark.criterion("CHA-18")
def test_gaps_are_those_that_touch_the_faults_time():
    times = [1 * S, 2 * S, round(5.5 * S), 6 * S]
    assert longest(times, round(2.5 * S), 5 * S) == 3.5
    assert longest(times, round(5.6 * S), 9 * S) == 3.0
    assert longest(times, round(0.2 * S), round(0.9 * S)) == 0.8
    assert longest([], 1 * S, 3 * S) == 2.0


@pytest.mark.criterion("CHA-18")
def test_gaps_of_clients_that_are_hit_and_of_others():
    commands = [told(call, place(call, call), client="a", at=call, took=0) for call in (1, 2, 6, 7)]
    commands += [told(call, place(call, call), client="b", at=call, took=0) for call in range(1, 8)]
    commands.append(Command("a", 9, said(9), 4 * S))
    questions = [question(call, 1, asked=call, answered=call) for call in (1, 3, 7)]
    questions.append(question(4, 1, asked=5, answered=5, staleness_ms=500))
    questions.append(Question("b", 5, 4 * S, "margin", {}, -1, -1))
    window = Window("x", ("east",), 3 * S, 5 * S, ())
    (gap,) = gaps(History(tuple(commands), tuple(questions)), {"a": "east", "b": "west"}, [window])
    assert (gap.hit, gap.others, gap.reads, gap.silent, gap.unknown) == (4.0, 1.0, 4.0, 1, 1)
