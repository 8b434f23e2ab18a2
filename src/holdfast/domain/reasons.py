"""Reasons: why a command was refused, one number each, in the field's words.

Append-only: a number is never reused and never changes its meaning, because logs and clients keep it. Ranges group what
belongs together, and a client that meets a number it does not know can still tell the kind of refusal from its range.
What may not live here: exceptions. A refusal is a value. Precedence, where several apply: specs/commands.md.
"""

import enum


class Reason(enum.IntEnum):
    """Why a command did not take effect; ACCEPTED where it did."""

    ACCEPTED = 0

    # 1–99: who sent it, and in which order. Nothing was consumed, unless said.
    ALREADY_APPLIED = 1
    SESSION_UNKNOWN = 2
    SESSION_GAP = 3
    SESSION_ROLE = 4
    FRAME_REPEATED = 5
    FRAME_GAP = 6
    GATEWAY_UNKNOWN = 7
    QUARANTINED = 8
    MALFORMED = 9

    # 100–199: something it names is not there or cannot be used.
    ACCOUNT_UNKNOWN = 100
    ACCOUNT_SYSTEM = 101
    ACCOUNT_SAME = 102
    ITEM_UNKNOWN = 103
    NOT_AN_INSTRUMENT = 104
    NOT_AN_ASSET = 105
    INSTRUMENT_CLOSED = 106
    ORDER_UNKNOWN = 107
    MODEL_UNKNOWN = 108
    SOURCE_UNKNOWN = 109
    WITHDRAWAL_UNKNOWN = 110
    REPLICA_UNKNOWN = 111
    VERSION_UNKNOWN = 112
    LEASE_HELD = 113
    REPLICA_SUSPENDED = 114

    # 200–299: a number of it is impossible.
    QUANTITY_INVALID = 200
    PRICE_INVALID = 201
    LEDGER_LIMIT = 202
    ORDERS_LIMIT = 203
    ROWS_LIMIT = 204
    FILL_BEYOND_ORDER = 205
    FILL_BEYOND_LIMIT = 206
    VALUE_INVALID = 207

    # 300–399: margin and the state of an account.
    NO_PRICE = 300
    INITIAL_MARGIN = 301
    INITIAL_MARGIN_OTHER = 302
    BALANCE = 303
    ACCOUNT_FROZEN = 304
    ACCOUNT_FROZEN_OTHER = 305
    WOULD_BREACH = 306

    # 400–499: quotes and time.
    QUOTE_OLD = 400
    QUOTE_FUTURE = 401
    CLOCK_BACKWARDS = 402
    TOO_EARLY = 403
    PRICES_STALE = 404
    TABLE_IMPOSSIBLE = 405

    # 500–599: definitions.
    ALREADY_DEFINED = 500
    DEFINITION_INVALID = 501

    # 600–699: votes, plans, the life cycle of a liquidation.
    VOTE_INVALID = 600
    VOTE_MISMATCH = 601
    NOT_LIQUIDATING = 602
    PLAN_OUTDATED = 603
    PLAN_INCREASES = 604
    NOT_RESERVED = 605
    NOTHING_FILLED = 606
    DECISIONS_FROZEN = 607

    # 900: the engine's own error. The command was undone.
    INTERNAL = 900
