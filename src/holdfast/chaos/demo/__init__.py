"""`holdfast cluster demo`: a cluster under load, killed piece by piece, while the crash of March 2020 replays.

What lives here: `market` and `people` (what is traded, and by whom), `opening` (brings them to the log), `traffic`
(clients and price sources), `waits` (how long clients wait), `faults` (what is killed), `watch` (how servers and
engines are), `observer` (folds the log by itself, and judges what clients were told), `scene` and `view` (the picture
of it), `result`, and `run`, the flow of them all. What may not: anything that the cluster itself needs. Normative:
specs/demo.md.
"""
