"""The log: frames in one order, kept.

What lives here: one protocol, an adapter per file (the distributed one is the folder `jetstream`), the errors of
keeping bytes. What may not: what the bytes mean. Every adapter passes the same conformance suite
(`tests/log/conformance.py`). Normative: `specs/log.md`.
"""
