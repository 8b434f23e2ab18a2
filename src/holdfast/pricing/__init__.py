"""Black-76, greeks, implied volatility and volatility surfaces, on elementary functions that agree on every machine.

What lives here: compiled array code made only of operations that IEEE 754 fixes exactly, in a fixed order. What may
not: a library's exp or log, fast-math, anything that knows of accounts.
"""
