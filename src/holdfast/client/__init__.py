"""Clients of a cluster: `AsyncClient` and `Client`.

What lives here: numbering, retrying and failing over (`protocol`, without I/O), asking (`questions`), and the programs'
faces. What may not: rules of the state, of margin or of the log; a client knows the messages of `domain.messages` and
nothing else of a replica. Normative: specs/client.md.
"""
