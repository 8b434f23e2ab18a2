"""One act of the drill on a small real cluster: the error in every first engine."""

import asyncio
import re
from pathlib import Path

import pytest

from holdfast.core.state import Status
from holdfast.log.sqlite import SqliteLog

pytest.importorskip("nats")
pytest.importorskip("scipy")

from holdfast.chaos.second_engine import acts
from holdfast.chaos.second_engine.judge import Judge
from holdfast.chaos.second_engine.result import GONE, IN_ALL, problems_of
from holdfast.chaos.second_engine.stage import staged
from holdfast.chaos.second_engine.tally import Clock, judged

PAGE = Path(__file__).parents[2] / "specs" / "drill.md"
ACCOUNTS = 300


@pytest.mark.criterion("DRL-3")
def test_the_page_says_how_far_prices_fall():
    rows = re.findall(r"^\| ([a-z ,]+?) \| ([0-9.]+) %", PAGE.read_text(), re.MULTILINE)
    assert {name: float(percent) / 100 for name, percent in rows} == pytest.approx(acts.FALLS)


@pytest.mark.criterion("DRL-2", "DRL-3", "DRL-4", "DRL-8")
def test_an_error_in_every_first_engine_liquidates_nobody_wrongly_and_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(acts, "QUIET_S", 2.5)

    async def live():
        async with staged(tmp_path / "cluster", ACCOUNTS, 1, lambda _line: None) as stage:
            drill = acts.Drill(stage, lambda _line: None)
            await drill.begin()
            monkeypatch.setitem(acts.FALLS, IN_ALL, 0.012)  # So few accounts lie further apart.
            await drill.error_in_all()
            first = drill.spans[0].first
            return drill, stage, Clock(first, await stage.stored_at(first, drill.spans[-1].end))

    drill, stage, clock = asyncio.run(live())
    names = [site.engine for site in stage.plan.sites]
    judge = Judge(drill.windows)
    with SqliteLog(stage.copy, writable=False) as log:
        wrong, gone = judged(drill.spans, (frame for _, frame in log.read(0)), judge, clock, names)
    assert (wrong.name, gone.name) == (IN_ALL, GONE)
    assert problems_of(wrong) == []
    assert wrong.by_error > 0
    assert wrong.begun == wrong.below > 0
    assert wrong.frozen >= wrong.by_error
    assert {text.split(":")[0] for text in wrong.named_by} >= set(names)
    assert any("engines differ on" in text for text in wrong.degraded)
    assert (gone.begun, gone.wrong) == (0, 0)
    assert judge.strange == []
    assert judge.certified
    assert judge.contradicted == []
    # A pass that does not know of the error is another fold than the engines'.
    ignorant = Judge()
    with SqliteLog(stage.copy, writable=False) as log:
        ignorant.follow(frame for _, frame in log.read(0))
    assert ignorant.strange
    assert drill.watch.judge.with_status(Status.FROZEN) == ()
