"""Rules of liquidation, one venue to a module: prices, payments and new balances as functions of what is given.

What lives here: arithmetic. What may not: the state of an engine, and when a rule is applied (the fold).
"""
