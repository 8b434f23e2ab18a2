"""A made-up result of a replay on real prices, for the report's tests and for looking at it."""

import math

from holdfast.stress.history import load_window
from holdfast.stress.market import market_path
from holdfast.stress.result import Kill, ReplayResult, ReplaySeries, SweepTimes
from holdfast.stress.venue import venue_for

ROOT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def made_up(**changes: object) -> ReplayResult:
    history = load_window("2020-03")
    venue = venue_for(int(history.time_ns[0]), history.end_ns, float(history.open[0]))
    path = market_path(history, venue)
    hours = history.bars
    falls = [max(0.0, math.log(o / low) - 0.012) for o, low in zip(history.open, history.low, strict=True)]
    liquidations = tuple(int(4_500 * fall) for fall in falls)
    fund, left = [], 1_694_422.5
    for fall in falls:
        left = max(0.0, left + 900.0 - 11e6 * fall * fall)
        fund.append(left)
    beyond = tuple(0.0 if f else 2_000_000.0 * d for f, d in zip(fund, falls, strict=True))
    base = [18.0 * float(p / history.open[0]) ** 1.5 for p in history.close]
    p99 = tuple(2.0 + 0.3 * (i % 7) + 60.0 * fall for i, fall in enumerate(falls))
    series = ReplaySeries(
        time_ns=tuple(history.time_ns.tolist()),
        price=tuple(history.close.tolist()),
        low=tuple(history.low.tolist()),
        high=tuple(history.high.tolist()),
        volatility=tuple((path.variance[3::4] ** 0.5).tolist()),
        commands=tuple(1_500 + 4 * n for n in liquidations),
        margin_calls=tuple(int(1.4 * n) for n in liquidations),
        liquidations=liquidations,
        bankruptcies=tuple(n // 9 for n in liquidations),
        ratio_p05=tuple(max(0.7, 0.08 * b) for b in base),
        ratio_p25=tuple(0.28 * b for b in base),
        ratio_p50=tuple(0.40 * b for b in base),
        ratio_p75=tuple(1.5 * b for b in base),
        ratio_p95=tuple(6.0 * b for b in base),
        insurance_fund=tuple(fund),
        deleveraged=beyond,
        shared_loss=tuple(0.03 * b for b in beyond),
        sweep_p50_ms=tuple(1.6 + 0.05 * (i % 5) for i in range(hours)),
        sweep_p99_ms=p99,
        sweep_max_ms=tuple(2.2 * p for p in p99),
        log_bytes=tuple(3_000_000 + 130_000 * i for i in range(hours)),
    )
    worst = max(range(hours), key=lambda i: liquidations[i])
    fields: dict[str, object] = {
        "window": history.name,
        "source": history.source,
        "start_ns": int(history.time_ns[0]),
        "end_ns": history.end_ns,
        "seed": 1,
        "rerun": "holdfast replay crash-2020-03 --accounts 20000 --seed 1",
        "accounts": 20_000,
        "instruments": 85,
        "commands": sum(series.commands) + 46_000,
        "refused": 312,
        "trades": 61_234,
        "margin_calls": 4_120,
        "liquidations": 2_960,
        "bankruptcies": 417,
        "insurance_fund_start": 1_694_422.5,
        "insurance_fund": fund[-1],
        "deleveraged": math.fsum(beyond),
        "shared_loss": 0.03 * math.fsum(beyond),
        "shortfall": 0.05 * math.fsum(beyond),
        "sweep_ms": SweepTimes(p50=1.71, p99=6.92, max=19.4),
        "log_bytes": series.log_bytes[-1],
        "acknowledged_lost": 0,
        "applied_twice": 0,
        "state_root": ROOT,
        "replayed_identical": True,
        "conserved": True,
        "kill": Kill(
            time_ns=series.time_ns[worst],
            reason="the hour with most liquidations",
            position=48_211,
            root_before=ROOT[::-1],
            root_after=ROOT[::-1],
            replayed_commands=198_044,
            recovery_ms=1_840.0,
        ),
        "degraded": ("Quorum of one: this engine alone decided liquidations; no second engine confirmed them.",),
        "gaps": ("1 bar missing between 2020-03-04T09:00:00Z and 2020-03-04T11:00:00Z",),
        "notes": ("Volatilities and bases follow from prices by a stated rule; they are not quotes of that time.",),
        "series": series,
    }
    return ReplayResult(**(fields | changes))  # type: ignore[arg-type]
