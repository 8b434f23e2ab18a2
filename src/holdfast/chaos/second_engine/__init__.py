"""The drill with a planted error: a real cluster with second engines, and an error in the first one's numbers.

What lives here: the made-up venue (`venue`), the error and the engine that has it (`error`, `program`), the cluster and
hands to reach it (`stage`), what is done (`acts`), the pass over the log that judges it (`judge`, `tally`), the
evidence of one liquidation checked away from here (`evidence`), and the flow and its words (`run`, `result`, `report`).
What may not: anything that the cluster itself needs. Normative: specs/drill.md.
"""
