"""Folds a log in a process of its own and prints what came out, as JSON: the child process of the determinism tests.

    python fold_log.py LOG SNAPSHOT POSITION
    python fold_log.py

It writes a snapshot of the state after the frame at POSITION; with −1 it goes on from that snapshot as well. Without
arguments it compiles first, and then reads them from its input, a line each; that way it can begin before there is a
log, and knows what its assembly contains, which of code out of a cache nobody can say.
Printed are the state root after every frame, the roots of the checkpoints, digests of the outcomes, for which processor
the fold was compiled, and of what it compiled itself what its assembly contains.
"""

import hashlib
import json
import sys
from pathlib import Path

from numba.core.registry import cpu_target

from holdfast.core import hot, margins
from holdfast.core.fold import Fold
from holdfast.core.snapshot import fold_from, snapshot_of
from holdfast.log.sqlite import SqliteLog
from holdfast.margin import kernel, option_values, orders
from holdfast.replica.warming import warm
from targets import assembly_facts

COMPILED = (hot.apply_hot, margins.sweep, kernel.account_totals, option_values.values_today, orders.orders_bound)


def folded(log, fold, snapshot=None, at=None):
    """What the frames from the fold's position on gave; a snapshot is written after that at `at`."""
    roots, checkpoints, outcomes = {}, {}, {}
    for position, frame in log.read(fold.position):
        applied = fold.apply(frame)
        roots[position] = fold.root().hex()
        outcomes[position] = hashlib.sha256(applied.outcomes.tobytes() + repr(applied.details).encode()).hexdigest()
        checkpoints |= {taken.position: taken.root.hex() for taken in fold.checkpoints}
        if position == at:
            snapshot.write_bytes(snapshot_of(fold))
    return {"roots": roots, "checkpoints": checkpoints, "outcomes": outcomes, "chain": fold.chain.hex()}


def main(path, snapshot, position):
    snapshot, position = Path(snapshot), int(position)
    with SqliteLog(path, writable=False) as log:
        found = {"whole": folded(log, Fold(), snapshot, position)}
        if position < 0:
            found["resumed"] = folded(log, fold_from(snapshot.read_bytes()))
    found["target"] = cpu_target.target_context.codegen().magic_tuple()
    if text := "".join(text for function in COMPILED for text in function.inspect_asm().values()):
        found["facts"] = assembly_facts(text)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        warm()
    main(*sys.argv[1:] or [sys.stdin.readline().rstrip("\n") for _ in range(3)])
