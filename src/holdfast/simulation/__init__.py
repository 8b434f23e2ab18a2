"""The cluster simulated: real folds, nodes and clients in one thread, over a broker, disks and clocks that misbehave.

What lives here: models of what surrounds a node (`broker`, `following`, `disk`, `network`), who acts (`engine`,
`trader`), what goes wrong (`faults`), and what must hold (`truth`, `laws`, `oracle`). What may not: threads, clocks,
files, `hash`, the order of sets, and any randomness but that of the scheduler's seed. Normative: specs/simulation.md.
"""
