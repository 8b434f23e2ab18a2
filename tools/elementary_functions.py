"""Measures the error of the elementary functions against mpmath, and fits the coefficients of the Mills ratio.

    python tools/elementary_functions.py                  the table of docs/explanation/elementary-functions.md
    python tools/elementary_functions.py --coefficients   the constants of src/holdfast/pricing/elementary.py
    python tools/elementary_functions.py --speed          time per Black-76 value beside NumPy with SciPy's ndtr

An error is given in ulp: the distance from the exact result over the spacing of doubles at it.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np
import numpy.typing as npt

from holdfast.compilation import compiled
from holdfast.pricing import black76, elementary
from holdfast.pricing.vectors import LANES_NARROW, load, store

Floats = npt.NDArray[np.float64]
SEED = 20251205
DIGITS = 40


class Measurement(NamedTuple):
    """The largest error found of one function, and where."""

    function: str
    domain: str
    points: int
    error_ulp: float
    at: float


def exact_mills_ratio(x: Any) -> Any:
    """(1 − Φ(x))/φ(x) in the working precision of mpmath."""
    return mp.sqrt(mp.pi / 2) * mp.exp(x * x / 2) * mp.erfc(x / mp.sqrt(2))


def _dense(low: float, high: float, points: int, generator: np.random.Generator) -> Floats:
    """Even and random points of an interval, and every point's neighbour."""
    grid = np.r_[np.linspace(low, high, points // 2), generator.uniform(low, high, points // 2)]
    result: Floats = np.clip(np.r_[grid, np.nextafter(grid, high)], low, high)
    return result


def _near(centres: Floats, points: int, generator: np.random.Generator) -> Floats:
    """Points at distances from 1e-16 to 1e-1 of each centre, relative to the larger of it and 1, both sides."""
    distance = 10.0 ** generator.uniform(-16, -1, (points, 1)) * generator.choice([-1.0, 1.0], (points, 1))
    result: Floats = (centres + distance * np.maximum(np.abs(centres), 1.0)).ravel()
    return result


def worst(
    name: str, domain: str, function: Callable[..., Any], exact: Callable[..., Any], points: Floats
) -> Measurement:
    """The largest error of `function` over `points`."""
    mp.mp.dps = DIGITS
    found = Measurement(name, domain, points.size, 0.0, float("nan"))
    for x, y in zip(points, np.asarray(function(points)), strict=True):
        truth = exact(mp.mpf(float(x)))
        error = float(abs(mp.mpf(float(y)) - truth) / mp.mpf(float(np.spacing(abs(float(truth))))))
        if error > found.error_ulp:
            found = found._replace(error_ulp=error, at=float(x))
    return found


def measure(points: int) -> list[Measurement]:
    """The largest errors over about `points` points per function and domain, dense and adversarial; the same each run.

    The adversarial points crowd where a reduction changes: multiples of ln(2)/2 for exp, powers of two times 1 and √2
    for log, 0 and the multiples of 1/2048 for the density.
    """
    generator = np.random.default_rng(SEED)
    reduction_changes = (np.arange(-2041, 2045, 2) / 2.0) * np.log(2.0)
    exp_points = np.r_[
        _dense(-708, 709, points, generator),
        _dense(-1, 1, points, generator),
        reduction_changes[np.abs(reduction_changes) < 708],
        np.nextafter(reduction_changes, 0)[np.abs(reduction_changes) < 708],
    ]
    powers = 2.0 ** np.arange(-1021, 1023, 7)
    log_points = np.r_[
        2.0 ** _dense(-1022, 1023, points, generator),
        _dense(0.5, 2.0, points, generator),
        powers * np.sqrt(2.0),
        np.nextafter(powers, 0)[1:],
        powers,
        np.abs(_near(np.array([1.0]), points, generator)),
    ]
    halves = generator.integers(-75_000, 75_000, points) / 2048.0
    bell_points = np.r_[_dense(-37.6, 37.6, points, generator), _dense(-4, 4, points, generator), halves]
    tail_points = np.r_[
        _dense(-37, 0, points, generator), halves[halves >= -37.0], _near(np.array([0.0]), points, generator)
    ]
    upper_points = _dense(0, 9, points, generator)
    ratio_points = np.r_[
        _dense(0, 40, points, generator), _dense(0, 4, points, generator), 10.0 ** _dense(-12, 0, points, generator)
    ]
    return [
        worst("exp", "[−708, 709]", elementary.exp, mp.exp, exp_points),
        worst("log", "[2⁻¹⁰²², 2¹⁰²³]", elementary.log, mp.log, log_points),
        worst("mills_ratio", "[0, 40]", elementary.mills_ratio, exact_mills_ratio, ratio_points),
        worst("normal_density", "[−37.6, 37.6]", elementary.normal_density, mp.npdf, bell_points),
        worst("normal_cdf", "[−37, 0]", elementary.normal_cdf, mp.ncdf, tail_points),
        worst("normal_cdf", "[0, 9]", elementary.normal_cdf, mp.ncdf, upper_points),
    ]


def measure_log_ratio(points: int) -> float:
    """The largest relative error of `log_ratio` over ratios from e^−700 to e^700 and near 1."""
    mp.mp.dps = DIGITS
    generator = np.random.default_rng(SEED)
    numerator = 10.0 ** generator.uniform(-3, 6, 3 * points)
    logarithm = np.r_[
        generator.uniform(-650, 650, points),
        generator.uniform(-3, 3, points),
        10.0 ** generator.uniform(-15.5, 0, points) * generator.choice([-1.0, 1.0], points),
    ]
    denominator = numerator * np.exp(-logarithm)
    found = 0.0
    for result, a, b in zip(elementary.log_ratio(numerator, denominator), numerator, denominator, strict=True):
        truth = mp.log(mp.mpf(float(a)) / mp.mpf(float(b)))
        if truth != 0:
            found = max(found, float(abs(mp.mpf(float(result)) / truth - 1)))
    return found


def measure_power(points: int) -> float:
    """The largest relative error of `power` over (1 + |exponent · ln base|)."""
    mp.mp.dps = DIGITS
    generator = np.random.default_rng(SEED)
    base, exponent = 10.0 ** generator.uniform(-9, 9, points), generator.uniform(-5, 5, points)
    found = 0.0
    for result, b, e in zip(elementary.power(base, exponent), base, exponent, strict=True):
        truth = mp.power(mp.mpf(float(b)), mp.mpf(float(e)))
        size = 1.0 + abs(float(e) * np.log(b))
        found = max(found, float(abs(mp.mpf(float(result)) / truth - 1)) / size)
    return found


def mills_coefficients(degree: int = 11, upper: int = 40, centre: int = 4) -> tuple[list[float], list[float], float]:
    """Numerator and denominator, lowest power first, of the quotient that meets the ratio at Chebyshev points.

    The points are those of 1/(x + centre), in which the ratio is smooth; meeting it there makes the error almost as
    even as the best possible.

    Returns:
        `degree` coefficients, `degree` + 1 coefficients, and the largest relative error found between the points.
    """
    mp.mp.dps = 60
    low, high = mp.mpf(1) / (upper + centre), mp.mpf(1) / centre

    def place(u: Any) -> Any:
        return 1 / ((high + low) / 2 - (high - low) / 2 * u) - centre

    count = 2 * degree
    matrix, right = mp.matrix(count, count), mp.ones(count, 1)
    for i in range(count):
        x = place(mp.cos(mp.pi * (2 * i + 1) / (2 * count)))
        ratio = exact_mills_ratio(x)
        for k in range(degree):
            matrix[i, k] = x**k / ratio
            matrix[i, degree + k] = -(x ** (k + 1))
    solution = mp.lu_solve(matrix, right)
    numerator = [solution[k] for k in range(degree)]
    denominator = [mp.mpf(1), *(solution[degree + k] for k in range(degree))]
    error = mp.mpf(0)
    for i in range(2001):
        x = place(mp.cos(mp.pi * i / 2000))
        quotient = mp.fsum(c * x**k for k, c in enumerate(numerator)) / mp.fsum(
            c * x**k for k, c in enumerate(denominator)
        )
        error = max(error, abs(quotient / exact_mills_ratio(x) - 1))
    return [float(c) for c in numerator], [float(c) for c in denominator], float(error)


@compiled
def _scenario_values(
    forward: Floats, volatility: Floats, strike: Floats, years: Floats, sign: Floats, out: Floats
) -> None:
    """Each option in all scenarios, eight to a register, as a risk table is built."""
    count = forward.size
    for option in range(strike.size):
        k, t, w = strike[option], years[option], sign[option]
        for i in range(0, count, LANES_NARROW):
            f, v = load(forward, i, LANES_NARROW), load(volatility, i, LANES_NARROW)
            store(out, option * count + i, black76.value(f, k, t, v, 1.0, w))


def measure_speed(repeats: int = 20) -> tuple[float, float]:
    """Best nanoseconds per value over 1,000 options × 32 scenarios on one core: ours, and NumPy with SciPy's ndtr."""
    from scipy.special import ndtr  # noqa: PLC0415 (only this needs it)

    generator = np.random.default_rng(SEED)
    forward, volatility = 60_000.0 * np.linspace(0.3, 3.0, 32), np.linspace(0.3, 1.2, 32)
    strike, years = generator.uniform(2e4, 2e5, 1_000), generator.uniform(0.001, 1.0, 1_000)
    sign = generator.choice([1.0, -1.0], 1_000)
    out = np.empty(32_000)

    def ours() -> None:
        _scenario_values(forward, volatility, strike, years, sign, out)

    def peer() -> None:
        k, w = strike[:, None], sign[:, None]
        deviation = volatility * np.sqrt(years[:, None])
        d1 = np.log(forward / k) / deviation + 0.5 * deviation
        w * (forward * ndtr(w * d1) - k * ndtr(w * (d1 - deviation)))

    def best(work: Callable[[], None]) -> float:
        work()
        times = []
        for _ in range(repeats):
            start = time.perf_counter_ns()
            work()
            times.append(time.perf_counter_ns() - start)
        return min(times) / out.size

    return best(ours), best(peer)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coefficients", action="store_true", help="fit the Mills ratio instead of measuring")
    parser.add_argument("--speed", action="store_true", help="time Black-76 instead of measuring (needs SciPy)")
    parser.add_argument("--points", type=int, default=20_000, help="points per function and domain")
    options = parser.parse_args()
    if options.coefficients:
        numerator, denominator, error = mills_coefficients()
        print("numerator", *numerator, "denominator", *denominator, f"relative error {error:.2g}", sep="\n")
        return
    if options.speed:
        print("ns per value: ours {:.1f}, NumPy with scipy.special.ndtr {:.1f}".format(*measure_speed()))
        return
    print("| function | domain | points | largest error, ulp | at |\n|---|---|--:|--:|--:|")
    for m in measure(options.points):
        print(f"| `{m.function}` | {m.domain} | {m.points:,} | {m.error_ulp:.2f} | {m.at!r} |")
    print(f"\nlog_ratio: relative error at most {measure_log_ratio(options.points):.2g}")
    print(f"power: relative error at most {measure_power(options.points):.2g} · (1 + |exponent · ln base|)")


if __name__ == "__main__":
    main()
