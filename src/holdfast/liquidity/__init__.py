"""Liquidity: how an account's positions are reduced when its margin is not met.

What lives here: the liquidation plan (`plan.cheapest_plan`), as pure functions of a risk table, an account and books.
What may not: a clock, I/O, a decision to liquidate, or a second formula for a requirement: the margin kernel judges
every plan. Normative: specs/liquidation-plan.md.
"""
