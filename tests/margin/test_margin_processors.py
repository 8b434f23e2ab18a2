"""One set of bits of margin on every processor target: options valued, tables built, accounts swept."""

import json

import pytest

import targets

SCRIPT = """
import hashlib, json, sys
import numpy as np
sys.path.insert(0, {folder!r})
import worlds
from holdfast.domain.portfolio import Order, Portfolio, Position
from holdfast.margin import kernel, option_values, orders
from holdfast.margin.account import account_of
from holdfast.margin.build import build_table
from holdfast.margin.calculation import calculate
from targets import assembly_facts

generator = np.random.default_rng(11)
digest, facts = hashlib.sha256(), []
for parameters in (worlds.busy_portfolio(40), worlds.busy_standard(), worlds.busy_tail()):
    table = build_table(parameters, worlds.MARKETS["off its peg"], worlds.INSTRUMENTS, ("BTC", "ETH", "USD", "USDC"))
    for array in table.arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    lines, quantities, pointer = [], [], [0]
    for _ in range(60):
        held = np.sort(generator.choice(len(table.line_names), generator.integers(1, 20), replace=False))
        lines.append(held.astype(np.int32))
        quantities.append(generator.standard_normal(len(held)) * 3.0)
        pointer.append(pointer[-1] + len(held))
    out = np.empty((60, 3))
    kernel.sweep(table.arrays, np.array(pointer, np.int64), np.concatenate(lines), np.concatenate(quantities), out)
    assert np.isfinite(out).all()
    digest.update(out.tobytes())
    positions = tuple(Position(i, float(q), 0.01) for i, q in zip(worlds.INSTRUMENTS[::5], (3, -2, 1, -1, 2, -4, 1)))
    some = enumerate(zip(worlds.INSTRUMENTS[::7], (3, -2, 1, -1)))
    waiting = tuple(Order(i, float(q), 0.02 * k + 1.0) for k, (i, q) in some)
    margin = calculate(Portfolio({{"USDC": 1e4, "BTC": 0.3}}, positions, waiting), worlds.CALM, parameters)
    figures = [margin.equity, *margin.figures.initial.values(), *margin.figures.maintenance.values()]
    digest.update(np.array(figures).tobytes())
compiled = (kernel.sweep, option_values.values_in_scenarios, option_values.values_today, orders.orders_bound)
facts = assembly_facts("".join(text for function in compiled for text in function.inspect_asm().values()))
print(json.dumps({{"digest": digest.hexdigest(), "facts": facts}}))
"""


@pytest.mark.criterion("CON-5", "TAB-17")
def test_every_processor_target_gives_the_same_margins():
    folder = __file__.rsplit("/", 1)[0]
    outputs = {t: json.loads(text) for t, text in targets.run_for_targets(SCRIPT.format(folder=folder)).items()}
    for target, output in outputs.items():
        targets.check_assembly(target, output["facts"])
    assert len({output["digest"] for output in outputs.values()}) == 1, outputs
