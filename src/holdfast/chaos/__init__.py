"""Real processes under real faults: a cluster behind relays, clients that keep journals, and a checker.

What lives here: `relays` and `wiring` (connections that can be delayed, frozen, dropped and cut), `journal`, `workload`
and `client` (what clients do, and what they were told), `faults` (what is done to the cluster), `history`, `truth` and
`checks` (whether it kept its promises), `gaps` and `report`, and `run`, the flow of them all. What may not: anything
that the cluster itself needs. Normative: specs/chaos.md.
"""
