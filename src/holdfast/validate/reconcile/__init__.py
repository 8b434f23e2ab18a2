"""Reconciliation: what an engine says of itself, against itself, an outside statement, other replicas, other sources.

Theory of operation. Whoever looks (`cli`) asks an engine's folder or a cluster the same questions and hands over the
answers as they came (`picture`), with the statements as texts (`statement`) and what is known of the past (`history`).
Everything else is arithmetic on values: `breaks` compares and `explanations` says why, `replicas`, `feeds` and
`approval` find the three kinds of wrong (a replica, a feed, a parameter), `ages` says since when, `run` puts it
together. What may not live here: connections, clocks, and anything that is shown. Specification: specs/reconcile.md.
"""
