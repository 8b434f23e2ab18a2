"""What a reconciliation found: breaks with a statement, and alarms of four kinds. Values for tables and JSON alike."""

import enum
from decimal import Decimal

import msgspec


class Label(enum.StrEnum):
    """What is wrong."""

    LEDGER = "ledger"
    REPLICA = "replica"
    FEED = "feed"
    PARAMETER = "parameter"
    BREAK = "break"


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a statement that is not what we have.

    Attributes:
        statement: In which it is stated.
        account: Whose.
        item: The asset or contract.
        what: "balance", "net balance", "position" or "cost".
        unit: What the figures are counted in.
        ours: Our figure, main units; None where there is no such account or item.
        theirs: Theirs.
        difference: Ours − theirs.
        dollars: Its size at the last mark; None where the item has no mark.
        position: Of our state that it was compared with.
        time: Logical time there, ns.
        code: What explains it (REC-10); empty where nothing does.
        explanation: The same in words.
        note: What to know of the comparison itself.
        first_position: Where it was first seen.
        first_time: Logical time there, ns.
    """

    label: Label = Label.BREAK
    statement: str
    account: str
    item: str
    what: str
    unit: str
    ours: Decimal | None
    theirs: Decimal
    difference: Decimal
    dollars: float | None
    position: int
    time: int
    code: str = ""
    explanation: str = ""
    note: str = ""
    first_position: int = 0
    first_time: int = 0

    @property
    def key(self) -> str:
        """By which it is known again."""
        return "\t".join((self.label, self.account, self.item, self.what))

    @property
    def figures(self) -> tuple[object, ...]:
        """What a change of is worth saying."""
        return self.ours, self.theirs, self.code


class Difference(msgspec.Struct, frozen=True):
    """A field of parameters that differs: its path, what the subject has, what it should be."""

    field: str
    found: object
    expected: object


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong in the engine, its replicas, its feeds or its parameters.

    Attributes:
        label: Of which kind.
        subject: Which item, account, replica, source or model.
        code: What about it.
        text: The same in a sentence.
        position: Where it was seen; of replicas, where their roots differ.
        time: Logical time of the look, ns.
        fields: Of parameters, what differs.
        first_position: Position of the look that saw it first.
        first_time: Logical time of that look, ns.
    """

    label: Label
    subject: str
    code: str
    text: str
    position: int
    time: int
    fields: tuple[Difference, ...] = ()
    first_position: int = 0
    first_time: int = 0

    @property
    def key(self) -> str:
        """By which it is known again."""
        return "\t".join((self.label, self.subject, self.code))

    @property
    def figures(self) -> tuple[object, ...]:
        """What a change of is worth saying: an alarm that stays is one, whatever its figures do meanwhile."""
        return ()


Finding = Break | Alarm
