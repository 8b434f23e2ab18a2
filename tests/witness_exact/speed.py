"""How long the exact engine takes: `python tests/witness_exact/speed.py`.

Prints the seconds of a table of 1,000 options × 32 scenarios with its certificate, and of an account of 20 lines on it.
"""

import sys
import time

from exact_worlds import NOW, preset

from holdfast.witness.exact import Asset, Inputs, certify, contract, margin, table

OPTIONS = 1_000
LINES = 20


def chain() -> Inputs:
    """Options of ten expiries on one coin."""
    expiries = [
        "29OCT21",
        "5NOV21",
        "12NOV21",
        "26NOV21",
        "31DEC21",
        "28JAN22",
        "25FEB22",
        "25MAR22",
        "24JUN22",
        "30SEP22",
    ]
    names = [
        f"BTC-{expiry}-{20_000 + 2_000 * step}-{kind}"
        for expiry in expiries
        for step in range(OPTIONS // 20)
        for kind in "CP"
    ]
    contracts = [contract(number, name, "0.1", 4) for number, name in enumerate(names)]
    frozen = {"BTC": 61_234_56789012, **{name: 600_000 + 37 * number for number, name in enumerate(names)}}
    assets = (Asset("USD", 6), Asset("BTC", 8))
    return Inputs(assets, contracts, {"portfolio": preset("portfolio")}, frozen, NOW)


def main() -> None:
    """Measure and print."""
    inputs = chain()
    start = time.perf_counter()
    exact = table(inputs, "portfolio")
    claims = {
        name: (float(line.v0.value), [float(each.value) for each in line.v]) for name, line in exact.lines.items()
    }
    built = time.perf_counter()
    certificate = certify(exact, claims)
    certified = time.perf_counter()
    names = [each.name for each in inputs.contracts[:: OPTIONS // LINES]]
    margin(exact, {"BTC": (10**9, 0), **{name: ((-1) ** number * 7, 0) for number, name in enumerate(names)}})
    done = time.perf_counter()
    sys.stdout.write(
        f"table of {OPTIONS} options × {exact.scenarios} scenarios: {built - start:.1f} s\n"
        f"certificate of {certificate.values} values: {certified - built:.2f} s, {certificate.ulps:.2f} ulps\n"
        f"margin of {len(names) + 1} lines: {done - certified:.3f} s\n"
    )


if __name__ == "__main__":
    main()
