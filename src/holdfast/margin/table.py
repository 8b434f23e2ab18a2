"""The risk table: everything a margin needs that does not depend on the account, as a few contiguous arrays.

What lives here: the layout and its names. `build` fills a table, `kernel` and `twin` read it. The arrays are kept few
and flat because every array handed to a compiled kernel costs time on each call, and because the table is part of the
state that replicas hash. Layout and meaning follow specs/risk-table.md.
"""

import enum
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.domain.instruments import Instrument
from holdfast.domain.parameters import AnyParameters

Floats = NDArray[np.float64]
Integers = NDArray[np.int32]

CACHE_LINE_BYTES = 64


def cache_aligned(array: Floats) -> Floats:
    """A copy whose rows of whole registers never straddle two cache lines, for speed alone."""
    room = np.empty(array.nbytes + CACHE_LINE_BYTES, np.uint8)
    start = -room.ctypes.data % CACHE_LINE_BYTES
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class LineField(enum.IntEnum):
    """Columns of `Arrays.lines`, all per unit of quantity and in the numeraire unless said."""

    TODAY = 0
    IN_ASSET = 1  # value of one unit in its settlement asset; 1 for the asset's own line
    CHARGE_LONG_INITIAL = 2
    CHARGE_SHORT_INITIAL = 3
    CHARGE_LONG_MAINTENANCE = 4
    CHARGE_SHORT_MAINTENANCE = 5
    SLOPE_INITIAL = 6  # per unit of quantity squared
    SLOPE_MAINTENANCE = 7
    OPTION_LONG_INITIAL = 8  # isolated option requirement, which competes with the maximum loss
    OPTION_SHORT_INITIAL = 9
    OPTION_LONG_MAINTENANCE = 10
    OPTION_SHORT_MAINTENANCE = 11
    CONFIDENCE_LONG = 12  # per unit of quantity and of missing confidence
    CONFIDENCE_SHORT = 13
    CONFIDENCE = 14  # how sure what the line is valued from is, 0 to 1
    CONFIDENCE_THRESHOLD = 15  # nothing is charged from here on
    DEPEG_LONG = 16
    DEPEG_SHORT = 17
    OFFSET_NOTIONAL = 18
    STRIKE = 19  # quote currency; 0 for what has none
    OPTION_SIGN = 20  # +1 call, −1 put, 0 no option
    PAR = 21  # numeraire value of one unit of the currency the strike is in
    LENDS_CONFIDENCE = 22  # a perpetual's confidence, which counts for options of accounts that hold it; else 1
    TAKES_CONFIDENCE = 23  # 1 where the confidence of perpetuals held counts too


class LineTag(enum.IntEnum):
    """Columns of `Arrays.tags`."""

    GROUP = 0
    UNDERLYING = 1
    ASSET = 2  # settlement asset, or the asset itself
    RUN = 3  # lines that the scan sums before multipliers: the group; −2 − underlying where all multipliers are 1
    STRIKE = 4  # lines of one group and strike: what nets per strike; see `build.strikes_of`


class GroupField(enum.IntEnum):
    """Columns of `Arrays.groups`."""

    BASIS_FACTOR = 0
    MAXIMUM_LOSS = 1  # 1 where the isolated requirement competes with the maximum loss
    UNPAIRED_INITIAL = 2  # per net short call, in the currency of the strike
    UNPAIRED_MAINTENANCE = 3
    STRIKE_NET_INITIAL = 4  # on net short quantity per strike; these four are 0 in groups without options
    STRIKE_NET_MAINTENANCE = 5
    EXPIRY_NET_INITIAL = 6  # on net short quantity per expiry
    EXPIRY_NET_MAINTENANCE = 7


class UnderlyingField(enum.IntEnum):
    """Columns of `Arrays.underlyings`."""

    OFFSET_INITIAL = 0
    OFFSET_MAINTENANCE = 1


class AssetField(enum.IntEnum):
    """Columns of `Arrays.assets`; tiers follow from FIRST_TIER on, three columns each."""

    PRICE = 0  # numeraire value of one unit
    LIABILITY = 1
    CONFIDENCE = 2  # per unit of positive value
    FIRST_TIER = 3


class TierField(enum.IntEnum):
    """Columns of one haircut tier."""

    ABOVE = 0
    INITIAL = 1
    MAINTENANCE = 2


class ModelField(enum.IntEnum):
    """Elements of `Arrays.model`."""

    INITIAL_FACTOR = 0
    MAINTENANCE_FACTOR = 1
    TAIL_MASS = 2  # 0 for the worst reduction
    OFFSET_CAP = 3
    SCENARIOS = 4  # before padding
    HAS_OPTIONS = 5  # 1 where the table has a family of charges, 0 where all of it would be exact zeros
    HAS_NET_STRIKE = 6
    HAS_NET_EXPIRY = 7
    HAS_OFFSET = 8
    HAS_CONFIDENCE = 9  # of lines; that of collateral is always charged
    HAS_DEPEG = 10
    VALUES_ALIKE = 11  # 1 where the multipliers of a group's value are the same in every scenario


class Multiplier(enum.IntEnum):
    """Second axis of `Arrays.multipliers`."""

    VALUE_POSITIVE = 0
    VALUE_NEGATIVE = 1
    RESULT_POSITIVE = 2
    RESULT_NEGATIVE = 3


class Component(enum.IntEnum):
    """Parts of a requirement, in the order in which they are summed; all ≥ 0 but OPTIONS, which STD-8 explains."""

    SCAN = 0
    OPTIONS = 1
    CHARGES = 2
    NETTED = 3
    OFFSET = 4
    CONFIDENCE = 5
    DEPEG = 6
    COLLATERAL = 7
    ORDERS = 8

    @property
    def label(self) -> str:
        """The name in results and JSON."""
        return self.name.lower()


COMPONENTS = len(Component)
MARGIN_FIELDS = 1 + 2 * COMPONENTS
"""What the kernel writes per account: equity, then the initial and then the maintenance components."""


class Arrays(NamedTuple):
    """What the kernels read. L lines, G groups, U underlyings, A assets, S scenarios padded to whole registers.

    Attributes:
        values: [L, S] value of one unit per scenario, numeraire.
        basis: [L, 8] values for the second reduction, or [L, 0] where the model has none.
        multipliers: [G, 4, S] in the order of `Multiplier`.
        lines: [L, fields of LineField].
        tags: [L, fields of LineTag], int32, column by column: the scan reads one or two of them for every position.
        group_ends: [G] index after the last line of each group, int32.
        underlying_ends: [U] index after the last line of each underlying, int32. Lines after the last are cash.
        groups: [G, fields of GroupField].
        underlyings: [U, fields of UnderlyingField].
        assets: [A, FIRST_TIER + 3 × tiers].
        model: [fields of ModelField].
        today: [L] the column TODAY of `lines` again, close together, because the scan reads it for every position.
    """

    values: Floats
    basis: Floats
    multipliers: Floats
    lines: Floats
    tags: Integers
    group_ends: Integers
    underlying_ends: Integers
    groups: Floats
    underlyings: Floats
    assets: Floats
    model: Floats
    today: Floats


@dataclass(frozen=True)
class Group:
    """What one group of lines is."""

    underlying: str
    expiry: int | None
    options: bool


@dataclass(frozen=True)
class RiskTable:
    """A risk table with the names of its rows and columns.

    Attributes:
        arrays: What the kernels read.
        line_of_instrument: Line index by instrument.
        line_of_asset: Line index by asset name.
        instruments: The instrument of each line, None for assets.
        line_names: The name of each line.
        groups: What each group is.
        underlyings: Names of the underlyings, in table order.
        assets: Names of the settlement and collateral assets, in table order.
        scenarios: Labels of the scenarios, before padding.
        basis_scenarios: Labels of the second reduction's columns.
        parameters: The parameters it was built from.
        time: Time of the market it was built from, ns UTC.
    """

    arrays: Arrays
    line_of_instrument: dict[Instrument, int]
    line_of_asset: dict[str, int]
    instruments: tuple[Instrument | None, ...]
    line_names: tuple[str, ...]
    groups: tuple[Group, ...]
    underlyings: tuple[str, ...]
    assets: tuple[str, ...]
    scenarios: tuple[str, ...]
    basis_scenarios: tuple[str, ...]
    parameters: AnyParameters
    time: int
