"""One running engine: framing, sessions, the order append → fold → answer, snapshots, and the library's face.

What lives here: `gateway` (framing without I/O), `embedded` (one engine over one log), `engine` (names and plain
numbers for notebooks and back-tests). What may not: a rule of the state, which is the fold's, and a formula of margin.
Normative: specs/replica.md and specs/engine.md.
"""
