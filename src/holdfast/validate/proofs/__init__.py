"""Proofs from a log: what a reader of it collects, cuts out and states, so that others need not have it.

What lives here: reading a log, folding it, and putting proofs together. What may not: how a proof is checked; that is
`proof.verifier`, which checks each proof that is made here before anybody gets it. Normative: specs/proofs.md.
"""
