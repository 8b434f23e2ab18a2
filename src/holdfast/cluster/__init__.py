"""A cluster on machines: its folder, its certificates and users, its processes.

What lives here: `plan` and `files` (what a cluster is, written down), `permissions`, `certificates` and `server_file`
(who may do what), `processes` and `supervisor` (how programs are started, watched and ended), `operations` (up,
restart, down), `status`. What may not: the log's protocol (`log.jetstream`) and the work of an engine
(`replica.node`). Normative: specs/cluster.md.
"""
