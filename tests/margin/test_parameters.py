"""Parameters: rails refuse, digests tell every field apart, JSON comes back the same, errors name the field."""

import msgspec
import pytest
import worlds

from holdfast.domain.errors import InputError
from holdfast.domain.parameters import (
    Charge,
    Collateral,
    FutureRates,
    GuardRails,
    HaircutTier,
    Measure,
    OpenInterestScale,
    OptionRates,
    Parameters,
    Scenario,
    TailParameters,
    VolatilityRange,
    VolatilityShock,
)
from holdfast.margin import presets

EVERY = {**worlds.models(), "dydx": presets.dydx()}


def changed(value):
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, VolatilityShock):
        return VolatilityShock.DOWN if value is not VolatilityShock.DOWN else VolatilityShock.NONE
    if isinstance(value, Measure):
        return Measure.SHORT if value is not Measure.SHORT else Measure.GROSS
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * (1.0 + 2.0**-52) if value else 5e-324
    return value + "x"


def variants(value):
    """The value with one leaf changed, for each leaf. Nothing is validated: only digests are asked of the results."""
    if isinstance(value, Parameters):
        for field in value.__struct_fields__:
            for other in variants(getattr(value, field)):
                copy = msgspec.structs.replace(value)
                msgspec.structs.force_setattr(copy, field, other)
                yield copy
    elif isinstance(value, dict):
        for key in value:
            yield from (value | {key: other} for other in variants(value[key]))
    elif isinstance(value, tuple):
        for n in range(min(len(value), 3)):
            yield from ((*value[:n], other, *value[n + 1 :]) for other in variants(value[n]))
    elif value is not None:
        yield changed(value)


@pytest.mark.criterion("RES-1")
@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_change_of_any_field_changes_the_digest(name):
    parameters = EVERY[name]
    digests = [copy.digest for copy in variants(parameters)]
    assert len(digests) > 15
    assert len({parameters.digest, *digests}) == 1 + len(digests)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_json_comes_back_equal_and_with_the_same_digest(name):
    parameters = EVERY[name]
    again = presets.load_parameters(msgspec.json.encode(parameters))
    assert again == parameters
    assert type(again) is type(parameters)
    assert again.digest == parameters.digest
    shuffled = dict(reversed(msgspec.json.decode(msgspec.json.encode(parameters)).items()))
    assert presets.load_parameters(msgspec.json.encode(shuffled)).digest == parameters.digest


def test_the_digest_does_not_depend_on_the_order_of_names():
    parameters = worlds.busy_portfolio()
    turned = msgspec.structs.replace(parameters, collateral=dict(reversed(parameters.collateral.items())))
    assert turned.digest == parameters.digest


RAILS = GuardRails(
    "a regulator", confidence=0.99, offset_cap=0.8, minimum_rate=0.03, minimum_scan=0.1, minimum_scenarios=250
)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: _standard(maintenance=0.0299), "futures[BTC].maintenance"),
        (lambda: _scan(Scenario(0.91), Scenario(1.2)), "scenarios"),
        (lambda: _scan(Scenario(0.8), Scenario(1.09)), "scenarios"),
        (lambda: _scan(Scenario(0.5, weight=0.5), Scenario(1.5, weight=0.99)), "scenarios"),
        (lambda: _tail(confidence_level=0.98), "confidence_level"),
        (lambda: _tail(offset_cap=0.81), "offset_cap"),
        (lambda: _tail(count=249), "moves"),
    ],
)
def test_rails_refuse_what_is_under_them(make, field):
    with pytest.raises(InputError) as refused:
        make()
    assert refused.value.field == field


def test_rails_let_pass_what_is_on_them():
    assert _standard(maintenance=0.03).rails == RAILS
    assert _scan(Scenario(0.875), Scenario(1.125)).rails == RAILS
    assert _tail(count=250).rails == RAILS


def test_a_scan_exactly_as_wide_as_the_rails_ask_passes():
    assert _scan(Scenario(0.9), Scenario(1.1)).rails == RAILS


def _standard(*, maintenance):
    return msgspec.structs.replace(worlds.busy_standard(), futures={"BTC": FutureRates(0.1, maintenance)}, rails=RAILS)


def _scan(*scenarios):
    return msgspec.structs.replace(worlds.busy_portfolio(), scenarios=scenarios, rails=RAILS)


def _tail(*, confidence_level=0.99, offset_cap=0.8, count=300):
    return TailParameters(
        name="rails",
        confidence_level=confidence_level,
        moves={u: m[:count] for u, m in worlds.moves().items()},
        offset_cap=offset_cap,
        rails=RAILS,
    )


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: HaircutTier(-1.0, 0.0, 0.0), "haircut.above"),
        (lambda: HaircutTier(0.0, 2.1, 0.0), "haircut.initial"),
        (lambda: HaircutTier(0.0, 1.0, 1.1), "haircut.maintenance"),
        (lambda: Collateral((HaircutTier(1.0, 0.1, 0.1),)), "collateral.tiers"),
        (lambda: Collateral((HaircutTier(0.0, 0.1, 0.1),) * 2), "collateral.tiers"),
        (lambda: Collateral(scanned=True), "collateral.underlying"),
        (lambda: Collateral(liability=float("nan")), "collateral.liability"),
        (lambda: OpenInterestScale(2.0, 2.0), "open_interest.upper"),
        (lambda: FutureRates(0.01, 0.02), "futures.initial"),
        (lambda: FutureRates(-0.01, -0.02), "futures.initial"),
        (lambda: OptionRates(0.1, float("inf"), 0.1, 0.1, 0.1), "options.initial_minimum"),
        (lambda: Charge("perpetual", Measure.NET_SHORT_PER_STRIKE, 0.1, 0.1), "charges.measure"),
        (lambda: Charge("option", Measure.OFFSET, 0.1, 0.1), "charges.measure"),
        (lambda: Charge("perpetual", Measure.SHORT, 0.1, 0.1, 0.1), "charges.initial_slope"),
        (lambda: Scenario(-0.1), "scenario.price"),
        (lambda: Scenario(1.0, weight=-1.0), "scenario.weight"),
        (lambda: VolatilityRange(-0.1, 0.0, 0.0, 0.0), "volatility_range.up"),
        (lambda: msgspec.structs.replace(worlds.busy_portfolio(), scenarios=()), "scenarios"),
        (lambda: msgspec.structs.replace(worlds.busy_portfolio(), skew=None), "skew"),
        (lambda: msgspec.structs.replace(worlds.busy_tail(), confidence_level=0.9999), "confidence_level"),
        (lambda: TailParameters(name="t", confidence_level=0.0, moves={"BTC": (-1.1,)}), "moves[BTC][0]"),
        (lambda: TailParameters(name="t", confidence_level=0.0, moves={"A": (0.0,), "B": (0.0, 0.0)}), "moves"),
        (lambda: TailParameters(name="t", confidence_level=0.0, moves={}), "moves"),
        (lambda: presets.preset("no such model"), "model"),
        (lambda: presets.load_parameters('{"type": "tail"}'), "parameters"),
        (
            lambda: presets.load_parameters('{"type": "standard", "name": "x", "futures": {}, "options": {}, "x": 1}'),
            "parameters",
        ),
        (lambda: presets.load_parameters(b"\xff"), "parameters"),
    ],
)
def test_misuse_names_the_field(make, field):
    with pytest.raises(InputError) as refused:
        make()
    assert refused.value.field == field
    assert field in str(refused.value)


@pytest.mark.criterion("TAIL-2")
@pytest.mark.parametrize(
    ("level", "count"),
    [
        (0.9, 10),
        (0.99, 100),
        (0.975, 40),
        (0.999, 1000),
    ],
)
def test_a_tail_of_exactly_one_scenario_is_allowed(level, count):
    """(1 − 0.9) × 10 is 1, though a double of it falls short."""
    parameters = TailParameters(name="one", confidence_level=level, moves={"BTC": (0.0,) * count})
    assert parameters.tail_mass == pytest.approx(1.0, rel=1e-12)
