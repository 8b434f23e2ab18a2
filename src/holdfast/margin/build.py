"""Building a risk table from parameters, a market and the lines that somebody holds.

The steps, each in its own module: name and order the lines (`plan`), see what scenarios do to expiries (`scenarios`,
`expiries`), value the lines today and in every scenario (`values`), and put charges and haircuts in place (`fields`).
Prices are checked by the market; nothing here guesses a missing one.
"""

from collections.abc import Iterable

import numpy as np

from holdfast.domain.errors import InputError
from holdfast.domain.instruments import Instrument
from holdfast.domain.market import Market
from holdfast.domain.parameters import AnyParameters
from holdfast.margin import fields
from holdfast.margin.charges import empty_fields
from holdfast.margin.expiries import basis_columns_of, columns_of, expiry_rows, group_multipliers, terms_of
from holdfast.margin.plan import NO_GROUP, Plan, plan_lines
from holdfast.margin.table import Arrays, Floats, Integers, LineField, LineTag, RiskTable, cache_aligned
from holdfast.margin.values import fill_today, option_columns, scenario_values


def build_table(
    parameters: AnyParameters, market: Market, instruments: Iterable[Instrument], assets: Iterable[str] = ()
) -> RiskTable:
    """The risk table of a set of lines.

    Args:
        parameters: The model.
        market: Prices, volatilities and confidences.
        instruments: The contracts to have lines for; repeated ones count once.
        assets: Assets to have lines for besides those that the instruments settle in.

    Returns:
        The table; its lines are in the order of TAB-3.

    Raises:
        InputError: A price, volatility or parameter is missing, or an option has expired.
    """
    with np.errstate(all="ignore"):  # What overflows is found, and refused by name, at the end.
        return _build(plan_lines(parameters, market, instruments, assets))


def _build(plan: Plan) -> RiskTable:
    parameters, market = plan.parameters, plan.market
    terms = terms_of(plan)
    columns, basis = columns_of(parameters, plan.underlyings), basis_columns_of(parameters, plan.underlyings)
    expiries, options = expiry_rows(plan, terms, columns), option_columns(plan, terms)
    lines = empty_fields(len(plan.names))
    fill_today(plan, lines, options, expiries)
    fields.fill_line_charges(plan, lines)
    basis_values = np.zeros((len(plan.names), 0))
    if basis is not None:
        basis_values = scenario_values(plan, basis, lines, options, expiry_rows(plan, terms, basis))
    multipliers = group_multipliers(plan, terms, columns)
    tags = _tags(plan, multipliers, lines)
    groups, underlyings = fields.group_fields(plan), fields.underlying_fields(plan)
    model = fields.model_fields(parameters, market)
    fields.mark_shortcuts(model, multipliers, lines, groups, underlyings)
    arrays = Arrays(
        values=cache_aligned(scenario_values(plan, columns, lines, options, expiries)),
        basis=cache_aligned(basis_values),
        multipliers=cache_aligned(multipliers),
        lines=cache_aligned(lines),
        tags=tags,
        group_ends=_ends(tags[:, LineTag.GROUP], len(plan.groups)),
        underlying_ends=_ends(tags[:, LineTag.UNDERLYING], len(plan.underlyings)),
        groups=groups,
        underlyings=underlyings,
        assets=fields.asset_fields(plan),
        model=model,
        today=lines[:, LineField.TODAY].copy(),
    )
    _check_finite(plan, arrays)
    return RiskTable(
        arrays=arrays,
        line_of_instrument={i: n for n, i in enumerate(plan.instruments) if i is not None},
        line_of_asset={plan.names[n]: n for n, i in enumerate(plan.instruments) if i is None},
        instruments=tuple(plan.instruments),
        line_names=tuple(plan.names),
        groups=tuple(plan.groups),
        underlyings=tuple(plan.underlyings),
        assets=tuple(plan.assets),
        scenarios=columns.labels,
        basis_scenarios=basis.labels if basis is not None else (),
        parameters=parameters,
        time=market.time,
    )


def _check_finite(plan: Plan, arrays: Arrays) -> None:
    """Refuse a table with a number that is none: a margin of it would look like an answer."""
    for n, name in enumerate(plan.names):
        for what, row in (
            ("value", arrays.lines[n]),
            ("value in scenarios", arrays.values[n]),
            ("basis", arrays.basis[n]),
        ):
            if not np.isfinite(row).all():
                advice = (
                    "check its price, forward, volatility and rate, and the scenarios, for numbers out of proportion"
                )
                raise InputError("out-of-range", f"{name}.{what}", float(row[~np.isfinite(row)][0]), advice)
    for what, array in (("multipliers", arrays.multipliers), ("factors", arrays.model), ("assets", arrays.assets)):
        if not np.isfinite(array).all():
            raise InputError(
                "out-of-range", what, None, "check the model's numbers and rates for some out of all proportion"
            )


def _tags(plan: Plan, multipliers: Floats, lines: Floats) -> Integers:
    # With one row, "column by column" would be "row by row" too, and compiled callers would be compiled for both.
    padded = np.full((max(2, len(plan.names)), len(LineTag)), NO_GROUP, np.int32, order="F")
    tags = padded[: len(plan.names)]
    tags[:, LineTag.GROUP] = plan.group_of_line
    tags[:, LineTag.UNDERLYING] = [plan.underlying_of_group(g) for g in plan.group_of_line]
    tags[:, LineTag.ASSET] = [plan.assets.index(a) for a in plan.assets_of_lines]
    tags[:, LineTag.RUN] = runs_of(tags[:, LineTag.GROUP], tags[:, LineTag.UNDERLYING], multipliers)
    tags[:, LineTag.STRIKE] = strikes_of(tags[:, LineTag.GROUP], lines[:, LineField.STRIKE])
    return padded


def runs_of(group: Integers, underlying: Integers, multipliers: Floats) -> Integers:
    """[L] the tag RUN: the group, or −2 − underlying where every multiplier of every group of the underlying is 1.

    Args:
        group: [L] group of each line; −1 for lines of none.
        underlying: [L] underlying of each line; −1 likewise.
        multipliers: [G, 4, S] as in `Arrays`.
    """
    group_is_plain = (multipliers == 1.0).all(axis=(1, 2))
    runs = group.copy()
    for u in range(int(underlying.max(initial=-1)) + 1):
        lines = underlying == u
        if group_is_plain[group[lines]].all():
            runs[lines] = -2 - u
    return runs


def strikes_of(group: Integers, strike: Floats) -> Integers:
    """[L] the tag STRIKE: how many times the group or the strike has changed from line to line.

    Args:
        group: [L] group of each line.
        strike: [L] strike of each line, ascending within a group.
    """
    changes = (group[1:] != group[:-1]) | (strike[1:] != strike[:-1])
    return np.concatenate([[0], changes.cumsum()])[: len(group)].astype(np.int32)


def _ends(tag: Integers, count: int) -> Integers:
    """Index after the last line of each tag 0 … count − 1; lines of one tag are consecutive."""
    return np.array([int(np.flatnonzero(tag == t)[-1]) + 1 for t in range(count)], np.int32)
