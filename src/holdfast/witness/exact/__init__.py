"""The exact engine: margin in rational numbers, with proven bounds where a number is not rational.

What lives here: a third implementation of the margin, written from the pages of `specs/` alone. It is slow; it
certifies a risk table of floats, checks accounts, and tests laws that hold whatever the numbers. What may not: anything
of the other engines, floats on the way to a result, clocks, I/O.

`table` builds the exact risk table of a model from `Inputs`; `certify` compares claimed values with it; `margin` gives
an account's figures as intervals, `check` says what disagrees with them; `laws` names the laws that an account breaks.
"""

from holdfast.witness.exact.certificate import Certificate, certify
from holdfast.witness.exact.inputs import Asset, Contract, Expiry, Inputs, Order, contract
from holdfast.witness.exact.intervals import Interval, Number
from holdfast.witness.exact.laws import laws
from holdfast.witness.exact.margin import Exact, check, margin
from holdfast.witness.exact.table import Group, Line, Table, table

__all__ = [
    "Asset",
    "Certificate",
    "Contract",
    "Exact",
    "Expiry",
    "Group",
    "Inputs",
    "Interval",
    "Line",
    "Number",
    "Order",
    "Table",
    "certify",
    "check",
    "contract",
    "laws",
    "margin",
    "table",
]
