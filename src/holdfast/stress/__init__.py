"""Whole venues through real crashes: prices, a made-up population, what its accounts do, and the report of it.

What lives here: everything around the engine that a replay needs. Prices and how they move inside an hour, volatilities
and bases that follow from them, sources that quote them well or badly, accounts and their trades, orders, and a report.
All of it is a function of prices, rules and a seed: no clock, and no randomness that the seed does not give. What may
not live here: anything that a margin depends on, and the engine itself.
"""
