"""Which lines a risk table has, and in which order (TAB-1, TAB-3).

The plan names rows; it holds no numbers. `build` fills them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.domain.errors import InputError
from holdfast.domain.instruments import Instrument, Kind
from holdfast.domain.market import Market
from holdfast.domain.parameters import AnyParameters, StandardParameters
from holdfast.domain.units import NANOSECONDS_PER_SECOND
from holdfast.margin.table import Group

NO_GROUP = -1
"""Group and underlying of lines that no scenario moves."""


@dataclass
class Plan:
    """What the rows of the table will be, filled in table order.

    Attributes:
        parameters: The model.
        market: What the lines are worth.
        instruments: The contract of each line, None for assets.
        assets_of_lines: The settlement asset of each line, or the asset itself.
        names: The name of each line.
        groups: The groups, in order.
        group_of_line: Index of each line's group, NO_GROUP for cash.
        underlyings: The underlyings, in order.
        assets: All assets, in alphabetical order.
    """

    parameters: AnyParameters
    market: Market
    instruments: list[Instrument | None] = field(default_factory=list)
    assets_of_lines: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    group_of_line: list[int] = field(default_factory=list)
    underlyings: list[str] = field(default_factory=list)
    assets: list[str] = field(default_factory=list)

    def underlying_of_group(self, group: int) -> int:
        """Index of the underlying of a group, NO_GROUP for none."""
        return self.underlyings.index(self.groups[group].underlying) if group >= 0 else NO_GROUP

    def follows(self, asset: str) -> str | None:
        """The underlying whose price an asset's line follows in the scan, if any."""
        if isinstance(self.parameters, StandardParameters):
            return None
        rule = self.parameters.collateral_of(asset)
        return rule.underlying if rule.scanned else None

    def add(self, line: Instrument | None, asset: str, group: Group | None) -> None:
        """Append a line; its group must be the last one or a new one."""
        if group is not None and (not self.groups or self.groups[-1] != group):
            self.groups.append(group)
            if group.underlying not in self.underlyings:
                self.underlyings.append(group.underlying)
        self.instruments.append(line)
        self.assets_of_lines.append(asset)
        self.names.append(line.name if line is not None else asset)
        self.group_of_line.append(len(self.groups) - 1 if group is not None else NO_GROUP)


def plan_lines(
    parameters: AnyParameters, market: Market, instruments: Iterable[Instrument], assets: Iterable[str]
) -> Plan:
    """Order the lines: by underlying its coin's assets, then perpetuals, futures and options by expiry; cash last."""
    plan = Plan(parameters, market)
    unique = sorted(set(instruments))
    plan.assets = sorted({*assets, *(i.settlement for i in unique)})
    following: dict[str, list[str]] = {}
    for asset in plan.assets:
        underlying = plan.follows(asset)
        if underlying is not None:
            following.setdefault(underlying, []).append(asset)
    for underlying in sorted({i.underlying for i in unique} | set(following)):
        market.underlying(underlying)
        for asset in following.get(underlying, ()):
            plan.add(None, asset, Group(underlying, None, options=False))
        for instrument in sorted((i for i in unique if i.underlying == underlying), key=_line_order):
            _check_not_expired(instrument, market)
            _check_coin_is_scanned(plan, instrument)
            options = instrument.kind is Kind.OPTION
            plan.add(instrument, instrument.settlement, Group(underlying, instrument.expiry, options=options))
    for asset in plan.assets:
        if plan.follows(asset) is None:
            plan.add(None, asset, None)
    return plan


def _check_coin_is_scanned(plan: Plan, instrument: Instrument) -> None:
    """Refuse an inverse contract whose price risk no line would carry: it lies in the coin's line (TAB-18)."""
    if isinstance(plan.parameters, StandardParameters) or not instrument.inverse:
        return
    coin = instrument.settlement
    if plan.follows(coin) != instrument.underlying:
        advice = (
            f"mark {coin} as scanned with underlying {instrument.underlying}: the risk of {instrument.name} is there"
        )
        raise InputError("missing-field", f"collateral[{coin}].scanned", plan.follows(coin), advice)


def _line_order(instrument: Instrument) -> tuple[int, bool, float, bool, str]:
    """Expiry, futures before options, strike, calls before puts (TAB-3), then settlement."""
    return (
        instrument.expiry or 0,
        instrument.kind is Kind.OPTION,
        instrument.strike or 0.0,
        not instrument.is_call,
        instrument.name,
    )


def _check_not_expired(instrument: Instrument, market: Market) -> None:
    if instrument.expiry is not None and instrument.expiry < market.time:
        late = (market.time - instrument.expiry) / NANOSECONDS_PER_SECOND
        advice = f"settle it first: the market's time is {late:.0f} s later"
        raise InputError(f"expired-{instrument.kind}", instrument.name, instrument.expiry, advice)
