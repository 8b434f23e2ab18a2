"""One engine of a cluster: a node.

What lives here: the protocol of a node without clock and I/O (`outbox`, `node`, `voter`, `reads`), and the process
around it (`process`, `joining`). What may not: rules of the state (`core`), the broker (`log.jetstream`), deployment.
Normative: specs/cluster-node.md.
"""
