"""Values: units, instruments, portfolios, markets, parameters, and the formats they are read from.

What lives here: immutable values that check themselves, and errors that name field, value and remedy. What may not: the
price of an option, a margin, a clock, a file.
"""
