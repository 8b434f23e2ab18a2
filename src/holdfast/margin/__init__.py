"""Margin: risk tables, the kernel that evaluates them, its NumPy twin, explanations and solutions.

What lives here: `calculation.calculate`, the one call that users, the command line and the conformance runner make, and
what it stands on. What may not: a clock, randomness, a file, or a second formula for a number that the kernel gives.
"""
