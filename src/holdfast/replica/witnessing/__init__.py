"""The second engine beside a node: a process of its own that follows the same frames and is asked for margins.

What lives here: what is said over the pipe (`messages`), the process itself (`child`), and the node's end of the pipe
(`link`). What may not: the second engine (`witness`), and what follows from its numbers (`node.comparison`).
"""
