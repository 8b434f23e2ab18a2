"""The tree of frames as an engine keeps it beside its fold: followed frame by frame, kept beside snapshots, made anew.

What lives here: the tree's life. What may not: its hashes (`proof.frame_tree`), and what is signed of it (`decisions`).
"""

import contextlib
from pathlib import Path

from holdfast.core.fold import Fold
from holdfast.domain.errors import InputError
from holdfast.domain.units import NANOSECONDS_PER_SECOND
from holdfast.log.protocol import Log
from holdfast.proof.frame_tree import FrameTree
from holdfast.replica.folder import tree_path


def follow_frame(tree: FrameTree, fold: Fold, frame: bytes) -> None:
    """Add the frame that was folded last to the tree of frames, and remember the root where a checkpoint was taken."""
    tree.append(frame)
    if not tree.log and fold.machine.registry.replicas:
        tree.log = fold.chain
    if fold.checkpoints and fold.checkpoints[-1].position == fold.position - 1:
        tree.keep(fold.time // NANOSECONDS_PER_SECOND)


def tree_of(log: Log, folder: Path | None, end: int, chain: bytes) -> FrameTree:
    """The tree of the frames before `end`: as it was kept beside a snapshot, else made anew from the log.

    Args:
        log: The frames.
        folder: Of the engine; None where it has none.
        end: Position after the last frame of the tree.
        chain: H there.
    """
    if folder is not None and end:
        with contextlib.suppress(OSError, InputError):
            return FrameTree.decode(tree_path(folder, end - 1).read_bytes(), end, chain)
    tree, beginning = FrameTree(), Fold()
    for _, frame in log.read(0, end):
        if tree.log:
            tree.append(frame)
        else:
            beginning.apply(frame)
            follow_frame(tree, beginning, frame)
    return tree
