"""Definitions: assets, instruments, models, sources, replicas, rules, versions (specs/definitions.md)."""

from decimal import Decimal, InvalidOperation

import numpy as np
from msgspec.structs import replace

from holdfast.core import marks
from holdfast.core.machine import Machine
from holdfast.core.margins import margins_of_all
from holdfast.core.registry import LOGIC_VERSIONS, Alarm, Definition, Model, Replica, with_alarm
from holdfast.core.state import (
    ITEMS_MAXIMUM,
    MODELS_MAXIMUM,
    SOURCES_MAXIMUM,
    SYSTEM_ACCOUNTS,
    Counter,
    Counts,
    Form,
    Item,
    Price,
    Role,
    grown,
)
from holdfast.core.verdict import ACCEPTED, Sender, Verdict, refused
from holdfast.domain.commands import (
    ActivateVersion,
    DefineAsset,
    DefineInstrument,
    DefineModel,
    DefineReplica,
    DefineSource,
    SetRules,
)
from holdfast.domain.errors import InputError
from holdfast.domain.instruments import Kind
from holdfast.domain.names import is_asset_name, parse_instrument
from holdfast.domain.parameters import AnyParameters
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import KEY_LENGTH, is_usable_key
from holdfast.domain.units import LEDGER_MAXIMUM

MASK_BITS = 62
DECIMALS_MAXIMUM = 18
LOT_MANTISSA_MAXIMUM = 100
LOT_MAXIMUM = 10**8
NUMERATOR_MAXIMUM = 10**17
RULES_MAXIMUM = {"sources_minimum": SOURCES_MAXIMUM, "witness_shortfall_ppm": 1_000_000, "breach_checkpoints": 1}
"""Of rules that have another than LEDGER_MAXIMUM."""
RULES_FROM_0 = ("ahead_maximum", "checkpoint_frames", "breach_checkpoints", "tolerance_micros", "tolerance_ppb")
"""Rules that may be 0; all others are at least 1."""
LISTED_MAXIMUM = 1_000
"""Accounts listed in a refusal; how many there are is said besides."""


def define_asset(machine: Machine, command: DefineAsset, _sender: Sender) -> Verdict:
    """Define an asset."""
    if command.name in machine.registry.numbers:
        return refused(Reason.ALREADY_DEFINED, machine.registry.numbers[command.name])
    if not is_asset_name(command.name) or not 0 <= command.decimals <= DECIMALS_MAXIMUM:
        return refused(Reason.DEFINITION_INVALID)
    number = _new_item(machine)
    row = np.zeros(len(Item), np.int64)
    row[[Item.FORM, Item.SETTLEMENT, Item.UNDERLYING]] = Form.ASSET, number, number
    row[[Item.MULTIPLIER, Item.DIVISOR, Item.OPEN]] = 1, 10**command.decimals, 1
    row[Item.MASK] = _bit(number)
    return _enter_item(machine, Definition(command.name, command.decimals), row)


def define_instrument(machine: Machine, command: DefineInstrument, _sender: Sender) -> Verdict:
    """Define a contract."""
    registry = machine.registry
    try:
        instrument = parse_instrument(command.name)
        row = _contract_row(machine, command)
    except InputError as error:
        return refused(Reason.DEFINITION_INVALID, detail=str(error))
    if row is None:
        return refused(Reason.ITEM_UNKNOWN, detail="define its underlying and settlement assets first")
    if instrument.name in registry.numbers:
        return refused(Reason.ALREADY_DEFINED, registry.numbers[instrument.name])
    if instrument.expiry is not None and instrument.expiry <= int(machine.state.counters[Counter.TIME]):
        return refused(Reason.INSTRUMENT_CLOSED, detail="it has expired already")
    _new_item(machine)
    return _enter_item(machine, Definition(instrument.name, command.price_decimals, command.lot, instrument), row)


def _contract_row(machine: Machine, command: DefineInstrument) -> Counts | None:
    """The numbers of a contract, None where an asset of it is not defined.

    A lot is a mantissa × 10**exponent. A linear contract's cost in settlement units is lots × price × mantissa ×
    10**(exponent + settlement decimals − price decimals); an inverse one's −lots × mantissa × 10**(exponent +
    settlement decimals + price decimals) ÷ price.
    """
    instrument = parse_instrument(command.name)
    numbers = machine.registry.numbers
    if instrument.underlying not in numbers or instrument.settlement not in numbers:
        return None
    mantissa, exponent = _lot(command.lot)
    decimals = machine.registry.items[numbers[instrument.settlement]].decimals
    _check("price_decimals", command.price_decimals, 0, DECIMALS_MAXIMUM)
    _check("fee_ppm", command.fee_ppm, 0, 1_000_000)
    _check("liquidation_fee_ppm", command.liquidation_fee_ppm, 0, 1_000_000)
    is_inverse = instrument.inverse and instrument.kind is not Kind.OPTION
    power = exponent + decimals + (command.price_decimals if is_inverse else -command.price_decimals)
    if is_inverse and power < 0:
        raise InputError("out-of-range", "lot", command.lot, "its cost would be less than a unit of its settlement")
    numerator, denominator = mantissa * 10 ** max(power, 0), 10 ** max(-power, 0)
    _check("lot", numerator, 1, NUMERATOR_MAXIMUM)
    _check("price_decimals", denominator, 1, NUMERATOR_MAXIMUM)
    row = np.zeros(len(Item), np.int64)
    row[Item.FORM] = Form.INVERSE if is_inverse else Form.LINEAR
    row[Item.SETTLEMENT], row[Item.UNDERLYING] = numbers[instrument.settlement], numbers[instrument.underlying]
    row[Item.MULTIPLIER] = mantissa * 10 ** max(exponent, 0)
    row[Item.DIVISOR] = 10 ** max(-exponent, 0)
    row[[Item.COST_NUMERATOR, Item.COST_DENOMINATOR]] = numerator, denominator
    row[[Item.FEE_PPM, Item.LIQUIDATION_FEE_PPM]] = command.fee_ppm, command.liquidation_fee_ppm
    row[Item.EXPIRY], row[Item.OPEN] = instrument.expiry or 0, 1
    row[Item.IS_OPTION] = instrument.kind is Kind.OPTION
    row[Item.MASK] = _bit(numbers[instrument.settlement]) | _bit(numbers[instrument.underlying])
    return row


def _lot(text: str) -> tuple[int, int]:
    try:
        lot = Decimal(text).normalize()
    except InvalidOperation:
        raise InputError("malformed", "lot", text, 'write it as a decimal, as in "0.1"') from None
    sign, digits, exponent = lot.as_tuple()
    mantissa = int("".join(map(str, digits)) or "0")
    if sign or not isinstance(exponent, int) or not 1 <= mantissa <= LOT_MANTISSA_MAXIMUM or not -15 <= exponent <= 8:
        advice = f"use 1 to {LOT_MANTISSA_MAXIMUM} times a power of ten from 1e-15 on"
        raise InputError("out-of-range", "lot", text, advice)
    if exponent > 0 and mantissa * 10**exponent > LOT_MAXIMUM:
        raise InputError("out-of-range", "lot", text, f"use at most {LOT_MAXIMUM}")
    return mantissa, exponent


def _check(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InputError("out-of-range", field, value, f"give a number from {least} to {most}")


def _bit(number: int) -> int:
    return 1 << number % MASK_BITS


def _new_item(machine: Machine) -> int:
    number = len(machine.registry.items)
    if number == len(machine.state.items):
        machine.state = grown(machine.state, "items", number + 1)
    return number


def _enter_item(machine: Machine, definition: Definition, row: Counts) -> Verdict:
    registry = machine.registry
    number = len(registry.items)
    if number >= ITEMS_MAXIMUM:
        return refused(Reason.LEDGER_LIMIT, ITEMS_MAXIMUM)
    machine.state.items[number] = row
    machine.state.counters[Counter.ITEMS] = number + 1
    machine.registry = replace(
        registry, items=(*registry.items, definition), numbers=registry.numbers | {definition.name: number}
    )
    # What needs no quote of its own (a dollar, a perpetual on a marked underlying) has a line at once.
    underlying = int(row[Item.UNDERLYING])
    try:
        if underlying == number or machine.state.prices[underlying, Price.MARKED]:
            machine.refresh()
    except InputError as error:
        machine.registry = registry
        machine.state.items[number] = 0
        machine.state.counters[Counter.ITEMS] = number
        return refused(Reason.DEFINITION_INVALID, detail=str(error))
    return Verdict(made=number)


def define_model(machine: Machine, command: DefineModel, _sender: Sender) -> Verdict:
    """Define a model, or the next version of one."""
    names = [model.name for model in machine.registry.models]
    if command.name not in names:
        return _first_version(machine, command)
    number = names.index(command.name)
    try:
        under = accounts_below(machine, {number: command.parameters})
    except InputError as error:
        return refused(Reason.DEFINITION_INVALID, detail=str(error))
    if under and not command.force:
        return refused(Reason.WOULD_BREACH, len(under), detail=under[:LISTED_MAXIMUM])
    model = machine.registry.models[number]
    if command.effective > int(machine.state.counters[Counter.TIME]):
        changed = replace(model, pending=(command.effective, command.parameters))
        return _with_model(machine, number, changed, under)
    changed = Model(model.name, command.parameters, model.version + 1)
    return _with_model(machine, number, changed, under)


def _first_version(machine: Machine, command: DefineModel) -> Verdict:
    number = len(machine.registry.models)
    if number == MODELS_MAXIMUM:
        return refused(Reason.DEFINITION_INVALID, MODELS_MAXIMUM, detail="too many models")
    model = Model(command.name, command.parameters)
    before = machine.registry
    machine.registry = replace(before, models=(*before.models, model))
    try:
        machine.refresh()
    except InputError as error:
        machine.registry = before
        return refused(Reason.DEFINITION_INVALID, detail=str(error))
    return Verdict(made=number)


def _with_model(machine: Machine, number: int, model: Model, under: list[tuple[int, float, float]]) -> Verdict:
    before = machine.registry
    models = (*before.models[:number], model, *before.models[number + 1 :])
    machine.registry = replace(before, models=models)
    try:
        machine.refresh()
    except InputError as error:
        machine.registry = before
        return refused(Reason.DEFINITION_INVALID, detail=str(error))
    return Verdict(made=number, limit=len(under), detail=under[:LISTED_MAXIMUM])


def accounts_below(machine: Machine, parameters: dict[int, AnyParameters]) -> list[tuple[int, float, float]]:
    """Accounts (number, equity, initial margin) that are above initial margin now and would not be under `parameters`.

    The state is as before afterwards.
    """
    state = machine.state
    now = margins_of_all(state, machine.marked.arrays)
    tried = marks.build(state, machine.registry, parameters)
    marks.set_lines(state, machine.registry, tried.tables)
    then = margins_of_all(state, tried.arrays)
    marks.set_lines(state, machine.registry, machine.marked.tables)
    below = (now[:, 0] >= now[:, 1]) & ~(then[:, 0] >= then[:, 1])
    below[:SYSTEM_ACCOUNTS] = False
    return [(int(a), float(then[a, 0]), float(then[a, 1])) for a in np.flatnonzero(below)]


def activate_pending(machine: Machine) -> None:
    """Let the model versions hold whose time has come; one that no table can be built from is dropped with an alarm."""
    now = int(machine.state.counters[Counter.TIME])
    for number, model in enumerate(machine.registry.models):
        if model.pending is None or model.pending[0] > now:
            continue
        changed = Model(model.name, model.pending[1], model.version + 1)
        verdict = _with_model(machine, number, changed, [])
        if verdict.reason is not Reason.ACCEPTED:
            _with_model(machine, number, replace(model, pending=None), [])
            alarm = Alarm(0, f"version {changed.version} of model {model.name}", str(verdict.detail))
            machine.registry = with_alarm(machine.registry, alarm)


def define_source(machine: Machine, command: DefineSource, _sender: Sender) -> Verdict:
    """Define a price source."""
    sources = machine.registry.sources
    if command.name in sources:
        return refused(Reason.ALREADY_DEFINED, sources.index(command.name))
    if len(sources) == SOURCES_MAXIMUM:
        return refused(Reason.DEFINITION_INVALID, SOURCES_MAXIMUM, detail="too many sources")
    machine.registry = replace(machine.registry, sources=(*sources, command.name))
    return Verdict(made=len(sources))


def define_replica(machine: Machine, command: DefineReplica, _sender: Sender) -> Verdict:
    """Define a replica, or give a known one another key or region."""
    if not is_usable_key(command.public_key):
        detail = f"give an Ed25519 public key: {KEY_LENGTH} bytes, canonical, not of small order"
        return refused(Reason.DEFINITION_INVALID, len(command.public_key), KEY_LENGTH, detail)
    replicas = list(machine.registry.replicas)
    for number, known in enumerate(replicas):
        if known.name == command.name:
            replicas[number] = replace(known, public_key=command.public_key, region=command.region)
            machine.registry = replace(machine.registry, replicas=tuple(replicas))
            return Verdict(made=number)
    new = Replica(command.name, command.public_key, command.region)
    machine.registry = replace(machine.registry, replicas=(*replicas, new))
    return Verdict(made=len(replicas))


def set_rules(machine: Machine, command: SetRules, _sender: Sender) -> Verdict:
    """Change how quotes become prices and clocks time."""
    for field in command.__struct_fields__:
        least = 0 if field in RULES_FROM_0 else 1
        if not least <= getattr(command, field) <= RULES_MAXIMUM.get(field, LEDGER_MAXIMUM):
            return refused(Reason.DEFINITION_INVALID)
    machine.registry = replace(machine.registry, rules=command)
    copy_rules(machine)
    return ACCEPTED


def copy_rules(machine: Machine) -> None:
    """Put the rules that the hot loop needs where it reads them."""
    rules, counters = machine.registry.rules, machine.state.counters
    counters[Counter.AGE_MAXIMUM], counters[Counter.AHEAD_MAXIMUM] = rules.age_maximum, rules.ahead_maximum
    counters[Counter.SOURCES_MINIMUM], counters[Counter.OUTLIER_PPM] = rules.sources_minimum, rules.outlier_ppm
    counters[Counter.THRESHOLD_PPM] = rules.mark_threshold_ppm


def activate_version(machine: Machine, command: ActivateVersion, _sender: Sender) -> Verdict:
    """Fold by another version of the logic from the next command on."""
    if command.logic not in LOGIC_VERSIONS:
        return refused(Reason.VERSION_UNKNOWN, command.logic, LOGIC_VERSIONS[-1])
    machine.registry = replace(machine.registry, logic=command.logic)
    return ACCEPTED


ROLES = {
    DefineAsset: (Role.OPERATOR,),
    DefineInstrument: (Role.OPERATOR,),
    DefineModel: (Role.OPERATOR,),
    DefineSource: (Role.OPERATOR,),
    DefineReplica: (Role.OPERATOR,),
    SetRules: (Role.OPERATOR,),
    ActivateVersion: (Role.OPERATOR,),
}
HANDLERS = {
    DefineAsset: define_asset,
    DefineInstrument: define_instrument,
    DefineModel: define_model,
    DefineSource: define_source,
    DefineReplica: define_replica,
    SetRules: set_rules,
    ActivateVersion: activate_version,
}
