"""Deribit's answers about an account: get_positions beside get_account_summaries, as one statement.

Deribit moves the profit of perpetuals and futures into the balance every day; so a balance of theirs is compared with
cash less costs (REC-7). What may not live here: how a position's cost follows from its row, which the portfolio formats
know.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from holdfast.domain.errors import InputError
from holdfast.domain.instruments import Kind, unit_value
from holdfast.domain.names import asset_name
from holdfast.domain.portfolio_formats import from_deribit
from holdfast.domain.reading import located, number, rows_of, text
from holdfast.domain.units import check_time
from holdfast.validate.reconcile.lines import NET_BALANCE, POSITION, Stated, Statement

PRINTED: Final = Decimal("1e-8")
"""How exactly balances and profits are printed, in coins."""
_MARK_PRINTED: Final = Decimal("0.005")
"""Half of the last digit of a mark price."""
_NANOSECONDS_PER_MICROSECOND: Final = 1_000


def is_answer(value: Any) -> bool:
    """Whether a JSON value is an answer of Deribit, or several."""
    if isinstance(value, Mapping):
        return "summaries" in value or "result" in value or "get_positions" in value or _is_summary(value)
    if not isinstance(value, list):
        return False
    return all(isinstance(one, Mapping) and ("instrument_name" in one or is_answer(one)) for one in value)


def statement_of(answers: Sequence[tuple[str, Any]], account: str) -> Statement:
    """The statement that some answers make together.

    Args:
        answers: What to call each file, and its JSON value.
        account: Whose it is.

    Raises:
        InputError: They are no such answers, state something twice, or balances without positions.
    """
    positions: list[Mapping[str, Any]] = []
    summaries: list[Mapping[str, Any]] = []
    times: list[int] = []
    covers: set[str] = set()
    for label, value in answers:
        with located(label):
            for kind, found, is_whole in _parts(value, times):
                covers |= {kind} if is_whole else set()
                (positions if kind == POSITION else summaries).extend(found)
    label = " + ".join(label for label, _ in answers)
    with located(label):
        if summaries and POSITION not in covers:
            advice = "add the answer to get_positions, an empty one too: balances are compared together with them"
            raise InputError("missing-field", "positions", None, advice)
        lines = _position_lines(positions)
        lines |= _balance_lines(positions, summaries)
    return Statement(label, {account: lines}, frozenset(covers), time=max(times, default=None))


def _is_summary(value: Mapping[str, Any]) -> bool:
    return {"currency", "balance"} <= value.keys()


def _parts(value: Any, times: list[int]) -> Iterator[tuple[str, list[Mapping[str, Any]], bool]]:
    """POSITION or NET_BALANCE, its rows, and whether they are all, for each answer in a value; times are added."""
    if isinstance(value, Mapping):
        if "usOut" in value:
            microseconds = int(number(value["usOut"], "usOut"))
            times.append(check_time(microseconds * _NANOSECONDS_PER_MICROSECOND, "usOut"))
        if "result" in value:
            yield from _parts(value["result"], times)
        elif _is_summary(value):
            yield NET_BALANCE, [value], False
        elif "summaries" in value and not isinstance(value["summaries"], Mapping):
            yield NET_BALANCE, list(rows_of(value["summaries"], "summaries")), True
            yield from _parts(value["positions"], times) if "positions" in value else ()
        else:
            for name in ("positions", "get_positions", "summaries", "get_account_summaries"):
                yield from _parts(value[name], times) if name in value else ()
    elif isinstance(value, list) and all(isinstance(one, Mapping) and "instrument_name" in one for one in value):
        yield POSITION, list(value), True
    elif isinstance(value, list):
        for one in value:
            yield from _parts(one, times)
    else:
        advice = "give the answers to get_positions and get_account_summaries"
        raise InputError("malformed", "statement", type(value).__name__, advice)


def _position_lines(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Stated]:
    held = from_deribit(rows).positions
    return {(POSITION, one.instrument.name): Stated(Decimal(repr(one.quantity))) for one in held}


def _balance_lines(
    positions: Sequence[Mapping[str, Any]], summaries: Sequence[Mapping[str, Any]]
) -> dict[tuple[str, str], Stated]:
    costs, open_by = dict[str, Decimal](), dict[str, Decimal]()
    for place, row in enumerate(positions):
        with located(f"positions[{place}]"):
            for asset, cost, resolution in _cost(row):
                costs[asset] = costs.get(asset, Decimal(0)) + cost
                open_by[asset] = open_by.get(asset, Decimal(0)) + resolution
    lines: dict[tuple[str, str], Stated] = {}
    for place, summary in enumerate(summaries):
        with located(f"summaries[{place}]"):
            asset = asset_name(text(summary.get("currency"), "currency"))
            if (NET_BALANCE, asset) in lines:
                raise InputError("duplicate-line", "currency", asset, "give each currency once")
            balance = Decimal(repr(number(summary.get("balance"), "balance")))
            amount = balance - costs.get(asset, Decimal(0))
            lines[NET_BALANCE, asset] = Stated(amount, None, PRINTED + open_by.get(asset, Decimal(0)))
    return lines


def _cost(row: Mapping[str, Any]) -> Iterator[tuple[str, Decimal, Decimal]]:
    """Settlement asset, cost and resolution of a perpetual's or future's row; nothing for options and flat rows."""
    (position, *_) = from_deribit([row], profit_since="settlement").positions or (None,)
    if position is None or position.instrument.kind is Kind.OPTION:
        return
    mark = number(row.get("mark_price"), "mark_price")
    value = Decimal(repr(abs(position.quantity * unit_value(position.instrument, mark))))
    yield (
        position.instrument.settlement,
        Decimal(repr(position.cost)),
        PRINTED + value * _MARK_PRINTED / Decimal(repr(mark)),
    )
