"""The layout of `table.Arrays` as plain integers, which is how compiled code names columns.

Numba treats members of an IntEnum as constants only through plain integers. Nothing else lives here.
"""

from holdfast.margin.table import (
    COMPONENTS,
    AssetField,
    Component,
    GroupField,
    LineField,
    LineTag,
    ModelField,
    Multiplier,
    TierField,
    UnderlyingField,
)

LINE_FIELDS, GROUP_FIELDS, UNDERLYING_FIELDS = len(LineField), len(GroupField), len(UnderlyingField)
TODAY, IN_ASSET = int(LineField.TODAY), int(LineField.IN_ASSET)
CHARGE, SLOPE = int(LineField.CHARGE_LONG_INITIAL), int(LineField.SLOPE_INITIAL)
OPTION = int(LineField.OPTION_LONG_INITIAL)
CONFIDENCE_RATE, DEPEG = int(LineField.CONFIDENCE_LONG), int(LineField.DEPEG_LONG)
CONFIDENCE, THRESHOLD = int(LineField.CONFIDENCE), int(LineField.CONFIDENCE_THRESHOLD)
LENDS, TAKES = int(LineField.LENDS_CONFIDENCE), int(LineField.TAKES_CONFIDENCE)
OFFSET_NOTIONAL, STRIKE, OPTION_SIGN = int(LineField.OFFSET_NOTIONAL), int(LineField.STRIKE), int(LineField.OPTION_SIGN)
PAR = int(LineField.PAR)

GROUP, UNDERLYING, ASSET, RUN = int(LineTag.GROUP), int(LineTag.UNDERLYING), int(LineTag.ASSET), int(LineTag.RUN)
STRIKE_TAG = int(LineTag.STRIKE)
"""The tag; STRIKE is the field, the price."""

BASIS_FACTOR, MAXIMUM_LOSS = int(GroupField.BASIS_FACTOR), int(GroupField.MAXIMUM_LOSS)
UNPAIRED = int(GroupField.UNPAIRED_INITIAL)
STRIKE_NET, EXPIRY_NET = int(GroupField.STRIKE_NET_INITIAL), int(GroupField.EXPIRY_NET_INITIAL)

OFFSET_RATE = int(UnderlyingField.OFFSET_INITIAL)

PRICE, LIABILITY = int(AssetField.PRICE), int(AssetField.LIABILITY)
ASSET_CONFIDENCE, FIRST_TIER = int(AssetField.CONFIDENCE), int(AssetField.FIRST_TIER)
ABOVE, TIER_INITIAL, TIER_FIELDS = int(TierField.ABOVE), int(TierField.INITIAL), len(TierField)

INITIAL_FACTOR, MAINTENANCE_FACTOR = int(ModelField.INITIAL_FACTOR), int(ModelField.MAINTENANCE_FACTOR)
TAIL_MASS, OFFSET_CAP, SCENARIOS = int(ModelField.TAIL_MASS), int(ModelField.OFFSET_CAP), int(ModelField.SCENARIOS)
HAS_OPTIONS, HAS_OFFSET = int(ModelField.HAS_OPTIONS), int(ModelField.HAS_OFFSET)
HAS_NET_STRIKE, HAS_NET_EXPIRY = int(ModelField.HAS_NET_STRIKE), int(ModelField.HAS_NET_EXPIRY)
HAS_CONFIDENCE, HAS_DEPEG = int(ModelField.HAS_CONFIDENCE), int(ModelField.HAS_DEPEG)
VALUES_ALIKE = int(ModelField.VALUES_ALIKE)

MULTIPLIERS = len(Multiplier)

INITIAL, MAINTENANCE = 1, 1 + COMPONENTS
"""Where the two runs of components start in an account's output row; element 0 is equity."""
SCAN = int(Component.SCAN)
OPTIONS, CHARGES, NETTED, OFFSET = (
    int(Component.OPTIONS),
    int(Component.CHARGES),
    int(Component.NETTED),
    int(Component.OFFSET),
)
CONFIDENCES, DEPEGS, COLLATERAL = int(Component.CONFIDENCE), int(Component.DEPEG), int(Component.COLLATERAL)
