"""One set of bits on every processor target: prices, greeks and elementary functions through an 8-lane kernel."""

import json

import pytest

import targets

SCRIPT = """
import hashlib, json
import numpy as np
from holdfast.compilation import compiled
from holdfast.pricing import black76, elementary, surfaces
from holdfast.pricing.vectors import load, store
from targets import assembly_facts

@compiled
def kernel(forward, volatility, strike, years, sign, out):
    count = forward.size
    at = 0
    for o in range(strike.size):
        for i in range(0, count, 8):
            f, v = load(forward, i, 8), load(volatility, i, 8)
            g = black76.greeks(f, strike[o], years[o], v, 0.98, sign[o])
            depth = elementary.log_ratio(f, strike[o])
            store(out, at, black76.value(f, strike[o], years[o], v, 0.98, sign[o]))
            store(out, at + 8, g.delta)
            store(out, at + 16, g.gamma)
            store(out, at + 24, g.vega)
            store(out, at + 32, g.theta)
            store(out, at + 40, g.rho)
            store(out, at + 48, elementary.exp(depth * 50.0))
            store(out, at + 56, elementary.log(f))
            store(out, at + 64, elementary.normal_cdf(depth * 10.0))
            store(out, at + 72, surfaces.svi_volatility(f, strike[o], 0.05, 0.2, -0.3, -0.1, 0.4, 0.25))
            at += 80

forward = 60000.0 * np.linspace(0.05, 3.0, 64)
volatility = np.linspace(0.0, 2.5, 64)
strike = np.tile(60000.0 * np.linspace(0.2, 2.5, 20), 6)
years = np.repeat([0.0, 1e-7, 1e-4, 0.01, 0.3, 2.0], 20)
sign = np.where(np.arange(120) % 2 == 0, 1.0, -1.0)
out = np.empty(120 * 64 * 10)
kernel(forward, volatility, strike, years, sign, out)
assert np.isfinite(out).all()
assert not np.signbit(out[out == 0.0]).any()
assembly = "".join(kernel.inspect_asm().values())
print(json.dumps({"digest": hashlib.sha256(out.tobytes()).hexdigest(), "facts": assembly_facts(assembly)}))
"""


@pytest.mark.criterion("PRC-3")
def test_every_processor_target_gives_the_same_bits():
    outputs = {target: json.loads(text) for target, text in targets.run_for_targets(SCRIPT).items()}
    for target, output in outputs.items():
        targets.check_assembly(target, output["facts"])
    assert len({output["digest"] for output in outputs.values()}) == 1, outputs


def test_the_check_of_the_assembly_can_fail():
    for text in ("vfmadd231pd %zmm0, %zmm1, %zmm2", "vfnmsub132sd %xmm0, %xmm1, %xmm2"):
        with pytest.raises(AssertionError, match="contracts"):
            targets.check_assembly(targets.HOST, targets.assembly_facts(text))
    with pytest.raises(AssertionError, match="AVX registers"):
        targets.check_assembly(targets.SSE2, targets.assembly_facts("vmulpd %ymm0, %ymm1, %ymm2"))
    with pytest.raises(AssertionError, match="AVX-512"):
        targets.check_assembly(targets.AVX2, targets.assembly_facts("vmulpd %ymm0, %ymm1, %ymm2; vaddpd %zmm0"))
