"""Proof: Merkle trees over the state, and what an outsider checks with them.

What lives here: hashing and comparing of bytes that somebody else laid out. What may not: what a leaf means, a clock, a
file, a key; of libraries only NumPy, and in `inclusion.py` none at all.
"""
