"""The demonstration: its parts without processes, one short run with real ones, and an interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console, Group

from holdfast.chaos.demo import market as markets
from holdfast.chaos.demo import people as crowds
from holdfast.chaos.demo.faults import FAULTS
from holdfast.chaos.demo.market import LIE, Market, ether, market
from holdfast.chaos.demo.observer import Executions, Observer, Seen, Told, words, wrong_roots
from holdfast.chaos.demo.result import DemoResult, FaultResult
from holdfast.chaos.demo.run import Job, demonstrate
from holdfast.chaos.demo.scene import DONE, UNDER_WAY, Scene, schedule
from holdfast.chaos.demo.traffic import maker_orders
from holdfast.chaos.demo.view import checks, line, picture, shares, sparkline, summary
from holdfast.chaos.demo.waits import Longest, Meter, Waits
from holdfast.chaos.demo.watch import Row
from holdfast.client.contents import cold_content
from holdfast.core.fold import Fold
from holdfast.core.state import SYSTEM_ACCOUNTS, Account, Price, Status
from holdfast.domain import commands as c
from holdfast.domain.frames import RECORD, encode_frame
from holdfast.domain.outcomes import OUTCOME
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import public_key_of
from holdfast.stress.replay.audit import is_conserved
from holdfast.stress.sources import LIAR, SOURCES

START = 1_600_000_000 * 10**9
QUOTE_NS = 250_000_000
FINDINGS = {
    "minutes": 3.0,
    "seed": 1,
    "seconds": 180.0,
    "faults": (FaultResult("engine", "engine killed", "engine-a", 0.4, 0.1, 0.05, 3.0),),
    "acknowledged": 10,
    "unknown": 0,
    "acknowledged_lost": 0,
    "applied_twice": 0,
    "frames": 5,
    "root": "ab" * 32,
    "root_position": 4,
    "wrong_roots": (),
    "equal_roots": True,
    "equal_copies": True,
    "conserved": True,
    "accounts": 300,
    "liquidations": 3,
    "taken_over": 1,
    "insurance_fund_start": 20_000.0,
    "insurance_fund": 19_000.0,
    "bitcoin": (8_000.0, 4_000.0, 5_000.0),
    "market_time": ("2020-03-12T00:00:00Z", "2020-03-13T00:00:00Z"),
    "degraded": ("no second engine",),
    "notes": ("made up",),
}


class Desk:
    """A log of one gateway, folded at once; every frame is kept."""

    def __init__(self) -> None:
        self.fold, self.frames = Fold(), []
        self._numbers: dict[int, int] = {}

    def send(self, records, blob=b""):
        self.frames.append(encode_frame(0, len(self.frames) + 1, records, blob))
        return self.fold.apply(self.frames[-1]).outcomes

    def open(self, role: str, subject: int = 0) -> int:
        return int(self.send(*cold_content([c.OpenSession(role, subject, 64)]))["made"][0])

    def hot(self, session: int, records, blob=b""):
        first = self._numbers.get(session, 1)
        self._numbers[session] = first + len(records)
        records["session"], records["number"] = session, np.arange(first, first + len(records))
        return self.send(records, blob)

    def cold(self, session: int, commands):
        return self.hot(session, *cold_content(commands))


class Venue(Desk):
    """The demonstration's market and people on such a log, with three replicas that only tick."""

    def __init__(self, steps: int, seed: int = 1) -> None:
        super().__init__()
        self.market = market(steps)
        self.people = crowds.people(self.market.at(0), seed=seed)
        operator = self.open("operator")
        keys = [c.DefineReplica(name, public_key_of(bytes([n]) * 32), name) for n, name in enumerate("abc")]
        self.refused = [
            self.cold(operator, [*keys, *crowds.definitions()]),
            self.cold(operator, crowds.openings(self.people)),
        ]
        self.replicas = [self.open("replica", n) for n in range(3)]
        self.sources = [self.open("source", n) for n in range(len(SOURCES))]
        self.trader = self.open("client")
        self.tick(START)
        self.quote(0, START)
        self.tick(START + 10**9)
        self.refused.append(self.cold(operator, crowds.deposits(self.people)))
        self.refused.append(self.hot(self.trader, crowds.first_trades(self.people, self.market.at(0))))

    def tick(self, now: int) -> None:
        for number, session in enumerate(self.replicas):
            self.cold(session, [c.Tick(number, now)])

    def quote(self, number: int, now: int) -> None:
        for source, session in enumerate(self.sources):
            outcomes = self.hot(session, markets.quotes(self.market.at(number), source, 1, now, number + 1))
            assert not outcomes["reason"].any()

    def go_on(self, number: int) -> None:
        now = START + 2 * 10**9 + number * QUOTE_NS
        self.quote(number, now)
        self.tick(now)

    def statuses(self):
        return self.fold.machine.state.accounts[SYSTEM_ACCOUNTS:][: self.people.accounts, Account.STATUS]


# The market.


@pytest.mark.criterion("DEM-1")
def test_quotes_lie_on_the_line_between_steps():
    path = Market(np.array([0, 900]) * 10**9, np.array([8_000.0, 7_000.0]), np.array([0.0, -0.1]))
    assert path.quotes == 3
    assert [path.at(n).index[0] for n in range(5)] == [8_000.0, 7_500.0, 7_000.0, 7_000.0, 7_000.0]
    assert [path.at(n).time_ns for n in range(4)] == [0, 450 * 10**9, 900 * 10**9, 900 * 10**9]
    assert path.at(2).number == 2
    assert path.at(4).number == 4


@pytest.mark.criterion("DEM-1")
@pytest.mark.parametrize(("steps", "low"), [(360, 162), (60, 27), (2_000, 900)])
def test_the_lowest_price_of_the_month_comes_at_its_place(steps, low):
    path = market(steps)
    assert path.bitcoin.size == steps
    assert int(np.argmin(path.bitcoin)) == low
    assert path.bitcoin.min() == 3_782.13


@pytest.mark.criterion("DEM-1")
def test_more_steps_than_the_month_has():
    path = market(10_000)
    assert path.bitcoin.size == 743 * 4
    assert path.bitcoin.min() == 3_782.13


@pytest.mark.criterion("DEM-2")
def test_ether_follows_bitcoin():
    assert ether(8_000.0, 8_000.0) == pytest.approx(196.0, abs=1e-9)
    assert ether(4_000.0, 8_000.0) == pytest.approx(91.438, abs=1e-3)
    step = market(360).at(0)
    assert step.price[0] == step.price[1] == pytest.approx(step.index[0], rel=0.01)
    assert step.price[2] / step.index[1] == pytest.approx(step.price[0] / step.index[0], rel=1e-12)


@pytest.mark.criterion("DEM-3")
def test_one_source_lies_and_the_others_hardly_differ():
    path = market(360)
    honest = [markets.said(path.at(5), source, 1) for source in range(len(SOURCES)) if source != LIAR]
    true = np.median(honest, axis=0)
    for said in honest:
        assert np.abs(said / true - 1).max() < 0.0013
    assert markets.said(path.at(5), LIAR, 1) / true == pytest.approx(LIE, rel=0.001)
    assert markets.said(path.at(16), LIAR, 1) / markets.said(path.at(16), 0, 1) == pytest.approx(1.0, rel=0.0013)


# The people, and the log that they make.


@pytest.fixture(scope="module")
def venue():
    return Venue(360)


@pytest.mark.criterion("DEM-4")
def test_everything_before_the_market_moves_is_accepted(venue):
    assert [int(np.count_nonzero(outcomes["reason"])) for outcomes in venue.refused] == [0, 0, 0, 0]
    assert venue.people.accounts == 300
    assert [venue.people.name(n) for n in (0, 5, 6, 299)] == ["maker-1", "maker-6", "user-001", "user-294"]
    assert not venue.people.lots[:6].any()
    assert venue.people.lots[6:].all()
    assert is_conserved(venue.fold)


@pytest.mark.criterion("DEM-3", "DEM-4")
def test_the_crash_reaches_a_part_of_the_users(venue):
    below = np.zeros(300, bool)
    for number in range(1, 2 * 180):
        venue.go_on(number)
        below |= venue.statuses() == Status.BREACH_PENDING
        price = venue.fold.machine.state.prices[1, Price.CURRENT] / 1e8
        assert price == pytest.approx(venue.market.at(number).index[0], rel=0.001)
    assert not below[:6].any(), "a market maker came to harm"
    assert 40 < int(below.sum()) < 200
    assert is_conserved(venue.fold)


@pytest.mark.criterion("DEM-4")
def test_the_makers_quotes_are_accepted(venue):
    step, interest = venue.market.at(0), venue.people.open_interest()
    orders = np.concatenate(list(maker_orders(step, range(6), interest, 6)))
    assert len(orders) == 6 * 2 * 3 * 2
    fresh = Venue(360)
    assert not fresh.hot(fresh.trader, orders)["reason"].any()
    calm = orders[0]["quantity"]
    wild = next(iter(maker_orders(venue.market.at(330), [0], interest, 6)))
    assert 0 < wild["quantity"][0] < calm, "books are thinner in the crash"
    for item in range(4, 8):
        mine = orders[orders["instrument"] == item]
        assert mine[mine["quantity"] > 0]["price"].max() < mine[mine["quantity"] < 0]["price"].min()


# The verdict.


def outcome_rows(*rows):
    found = np.zeros(len(rows), OUTCOME)
    for place, (command, reason) in enumerate(rows):
        found[place]["command"], found[place]["reason"] = command, reason
    return found


def records_of(session, *numbers):
    records = np.zeros(len(numbers), RECORD)
    records["session"], records["number"] = session, numbers
    return records


@pytest.mark.criterion("DEM-7")
@pytest.mark.parametrize(
    ("told", "lost"),
    [
        ((50, Reason.ACCEPTED), 0),
        ((51, Reason.ACCEPTED), 1),
        ((50, Reason.INITIAL_MARGIN), 1),
        ((0, Reason.ALREADY_APPLIED), 0),
    ],
)
def test_what_was_told_is_looked_up(told, lost):
    executions = Executions()
    executions.take(records_of(3, 7), outcome_rows((50, Reason.ACCEPTED)))
    assert executions.judge([Told(3, 7, outcome_rows(told))]) == (1, lost, 0)
    assert executions.judge([Told(3, 8, outcome_rows(told))]) == (1, 1, 0)
    assert executions.judge([Told(4, 7, outcome_rows(told))]) == (1, 1, 0)


@pytest.mark.criterion("DEM-7")
def test_a_number_that_is_used_up_twice():
    executions = Executions()
    executions.take(records_of(3, 7, 8), outcome_rows((50, Reason.ACCEPTED), (51, Reason.SESSION_GAP)))
    repeated = outcome_rows((50, Reason.ACCEPTED))
    repeated["repeated"] = 1
    executions.take(records_of(3, 7), repeated)
    executions.take(records_of(3, 8), outcome_rows((60, Reason.ACCEPTED)))
    assert executions.judge([]) == (0, 0, 0)
    executions.take(records_of(3, 8), outcome_rows((70, Reason.ACCEPTED)))
    assert executions.judge([]) == (0, 0, 1)


@pytest.mark.criterion("DEM-8")
def test_roots_are_compared_where_the_log_was_folded():
    roots = {127: "aa", 255: "bb"}
    assert wrong_roots(roots, {"a": {127: "aa", 255: "bb", 383: "cc"}, "b": {255: "bb"}}) == []
    assert len(wrong_roots(roots, {"a": {127: "ab"}, "b": {200: "bb"}})) == 2


@pytest.mark.criterion("DEM-7", "DEM-8")
def test_an_observer_finds_the_same_state_and_what_happened(venue, tmp_path):
    observer = Observer({"a": tmp_path / "none.db"})
    empty = observer.look()
    assert (empty.position, sum(empty.statuses)) == (-1, 0)
    for frame in venue.frames:
        observer.take(frame)
    seen = observer.look()
    assert seen.position == len(venue.frames) - 1
    assert sum(seen.statuses) == 300
    assert observer.fold.root() == venue.fold.root()
    assert observer.roots == {p: r for p, r in observer.roots.items() if (p + 1) % crowds.CHECKPOINT_FRAMES == 0}
    assert observer.roots
    assert observer.is_conserved()
    assert not observer.are_copies_equal(), "there is no copy"


def test_what_happened_to_many_accounts_is_one_line():
    happened = [(n, "liquidation begins") for n in range(6)] + [(7, "restored")]
    assert list(words(happened, str)) == ["liquidation begins: 0, 1, 2, 3 and 2 more", "restored: 7"]


@pytest.mark.criterion("DEM-9")
@pytest.mark.parametrize(
    "wrong",
    [
        {"acknowledged": 0},
        {"acknowledged_lost": 1},
        {"applied_twice": 1},
        {"equal_roots": False},
        {"equal_copies": False},
        {"conserved": False},
    ],
)
def test_one_broken_promise_is_enough(wrong):
    result = DemoResult(**{**FINDINGS, **wrong})
    assert DemoResult(**FINDINGS).is_kept
    assert not result.is_kept
    assert [right for _, _, right in checks(result)].count(False) == 1
    assert json.loads(result.as_json())["faults"][0]["hit_s"] == 0.4


# Waits, the schedule, the picture.


@pytest.mark.criterion("DEM-6")
def test_waits_are_counted_from_the_last_answer_before_the_fault():
    waits = Waits(["a", "b"], 0.0)
    for at in (1.0, 1.2):
        waits.acknowledged("a", at)
        waits.acknowledged("b", at)
        waits.answered("a", at)
    waits.begin(["a"])
    assert waits.longest(3.0) == pytest.approx((1.8, 1.8, 3.0))
    waits.acknowledged("a", 3.0)
    waits.acknowledged("b", 1.4)
    assert waits.longest(3.0) == pytest.approx((1.8, 1.6, 3.0))
    waits.begin([])
    assert waits.longest(3.0).hit is None
    assert waits.longest(3.0).others == pytest.approx(1.6)


@pytest.mark.criterion("DEM-5")
def test_a_client_with_a_pause_is_not_served():
    waits = Waits(["a"], 0.0)
    for n in range(20):
        waits.acknowledged("a", 0.1 * n)
        waits.answered("a", 0.1 * n)
    assert waits.are_served(1.95)
    assert not waits.are_served(2.8)


def test_the_meter_counts_whole_seconds():
    meter = Meter(10.0)
    for at in (10.1, 10.9, 11.5, 13.2):
        meter.note(2, at)
    assert meter.history(13.9) == [4, 2, 0]
    assert meter.rate(13.9) == pytest.approx(2.0)
    assert meter.total == 8
    meter.note(1, 100.0)
    assert len(meter.history(101.0)) == 60


@pytest.mark.criterion("DEM-5")
def test_the_schedule():
    assert [fault.kind for fault in FAULTS] == ["engine", "stop", "follower", "leader", "step-down", "all"]
    assert [act.due_s for act in schedule(FAULTS, 180.0)] == [5.0, 35.0, 65.0, 95.0, 125.0, 155.0]
    assert [act.due_s for act in schedule(FAULTS, 20.0)] == [5.0] * 6
    assert [act.due_s for act in schedule(FAULTS[:1], 60.0)] == [5.0]


def test_blocks_and_bars():
    assert sparkline([0.0, 3.0, 6.0], 10) == "▁▄▇"
    assert sparkline([1.0] * 8, 4) == "▁▁▁▁"
    assert sparkline([7.0, 7.0], 4, least=0.0) == "▇▇"
    assert sparkline([], 4) == ""
    cells = shares({Status.HEALTHY: 298, Status.LIQUIDATING: 2, Status.FROZEN: 0}, 50)
    assert cells == {Status.HEALTHY: 49, Status.LIQUIDATING: 1}


def drawn(what, width=100, height=35) -> str:
    console = Console(width=width, height=height, record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
    console.print(what)
    console.file.close()
    return console.export_text()


def scene_of(now: float) -> Scene:
    scene = Scene(now - 100.0, 180.0)
    assert "starting" in drawn(picture(scene, now))
    scene.load_began, scene.meter, scene.waits = now - 60.0, Meter(now - 60.0), Waits(["a"], now - 60.0)
    scene.acts = schedule(FAULTS, 180.0)
    scene.acts[0].state, scene.acts[0].target = DONE, "engine-amsterdam"
    scene.acts[0].longest = Longest(0.45, 0.1, 0.06)
    scene.acts[1].state, scene.acts[1].target = UNDER_WAY, "engine-frankfurt"
    scene.engines = [
        Row("engine-amsterdam", "well", 4_000, 2),
        Row("engine-frankfurt", "stopped"),
        Row("engine-london", "dead"),
    ]
    scene.servers = [
        Row("nats-amsterdam", "well", leads=True),
        Row("nats-frankfurt", "catching up"),
        Row("nats-london", "well"),
    ]
    scene.degraded = ["no second engine"]
    scene.meter.note(500, now - 1.5)
    scene.show(market(10).at(0))
    scene.seen = Seen(4_000, START, (250, 20, 20, 10, 0, 0, 0), 31, 4, 12_345.0, ())
    scene.turn("kill -STOP engine-frankfurt", now - 2.0)
    return scene


def test_the_picture_shows_everything_within_its_frame():
    text = drawn(picture(scene_of(1_000.0), 1_000.0))
    lines = text.rstrip("\n").split("\n")
    assert len(lines) == 35
    assert max(map(len, lines)) == 100
    for words_shown in (
        "kill -STOP engine-frankfurt",
        "2.0 s",
        "1:00 of 3:00",
        "0.45 s",
        "in 95 s",
        "leads the log",
        "stopped",
        "dead",
        "breach pending 20",
        "liquidating 10",
        "31 liquidations begun, 4 taken over",
        "12,345 USD",
        "degraded: no second engine",
        "quoted as the present",
        "2020-09-13 12:26:40 UTC",
    ):
        assert words_shown in text, words_shown


def test_the_line_where_nobody_watches_a_picture():
    text = line(scene_of(1_000.0), 1_000.0)
    assert "31 liquidations begun" in text
    assert "engine-frankfurt stopped, engine-london dead" in text


def test_the_tables_at_the_end_say_what_is_wrong():
    good, bad = DemoResult(**FINDINGS), DemoResult(**{**FINDINGS, "conserved": False})
    assert "NO" not in drawn(Group(*summary(good)))
    assert "NO" in drawn(Group(*summary(bad)))
    assert "20,000 → 19,000 USD" in drawn(Group(*summary(good)))


# Real processes.


def processes_of(folder: Path) -> list[int]:
    """Numbers of processes whose command names a folder, or that were started in it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace") if entry.name.isdigit() else ""
            place = os.readlink(entry / "cwd") if command else ""
        except OSError:
            continue
        if entry.name != str(os.getpid()) and (place.startswith(str(folder)) or f"{folder}/" in command):
            found.append(int(entry.name))
    return found


@pytest.mark.criterion("DEM-5", "DEM-7", "DEM-8", "DEM-9", "DEM-10")
def test_a_short_run_keeps_every_promise(tmp_path):
    scene = Scene(time.monotonic(), 0.0)
    kinds = ("engine", "step-down", "all")
    job = Job(minutes=0.2, faults=tuple(fault for fault in FAULTS if fault.kind in kinds))
    result = demonstrate(job, tmp_path / "cluster", scene)
    assert result.is_kept, result
    assert [fault.kind for fault in result.faults] == list(kinds)
    assert [fault.target for fault in result.faults][::2] == ["engine-amsterdam", "all servers and engines"]
    assert result.faults[1].target.startswith("nats-")
    engine, step_down, everything = result.faults
    assert None not in (engine.hit_s, engine.others_s, step_down.others_s, everything.hit_s)
    assert step_down.hit_s is None
    assert everything.others_s is None
    assert result.acknowledged > 1_000
    assert result.acknowledged >= scene.meter.total
    assert result.liquidations > 0
    assert result.degraded == ("no second engine: liquidations only beyond a wider shortfall",)
    assert processes_of(tmp_path) == []


@pytest.mark.criterion("DEM-10")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_everything_that_was_started(tmp_path, number):
    command = [sys.executable, "-m", "holdfast.cli.main", "cluster", "demo", "--minutes", "1"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    told = tmp_path / "told.txt"
    with told.open("wb") as file:
        demo = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=file, env=environment, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 120
        while b"engine-london starts" not in told.read_bytes() and demo.poll() is None:
            assert time.monotonic() < deadline, told.read_text()
            time.sleep(0.05)
        assert len(processes_of(tmp_path)) > 3
        demo.send_signal(number)
        assert demo.wait(120) == 130, told.read_text()
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait(10)
    assert processes_of(tmp_path) == []
    assert list(tmp_path.glob("holdfast-demo-*")) == []


@pytest.mark.criterion("DEM-10")
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [(["--minutes", "0.1"], "--minutes"), (["--minutes", "16"], "--minutes"), (["--folder", "FULL"], "--folder")],
)
def test_what_is_refused_before_anything_starts(tmp_path, arguments, problem):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("kept")
    given = [str(tmp_path / "full") if one == "FULL" else one for one in arguments]
    command = [sys.executable, "-m", "holdfast.cli.main", "cluster", "demo", *given]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 2
    assert problem in found.stderr
    assert (tmp_path / "full" / "file").read_text() == "kept"
