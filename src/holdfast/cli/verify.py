"""`holdfast verify`: a proof checked as its reader will, or a whole log folded again with its signatures checked."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.prove import log_path
from holdfast.cli.terminal import output, reported, while_compiling
from holdfast.domain.errors import InputError

if TYPE_CHECKING:
    from holdfast.proof.verifier import Trust
    from holdfast.validate.proofs.audit import Audit, Kept

CONTRADICTED = 1
"""Exit status where a log contradicts itself, or what somebody kept of it."""

File = Annotated[Path | None, typer.Argument(help="A proof: a bundle, or a tlog-proof.", show_default=False)]
Log = Annotated[Path | None, typer.Option("--log", help="Check a whole log: an engine's folder, or its log file.")]
Trust_ = Annotated[Path | None, typer.Option("--trust", help="The replicas' keys that you trust.")]
Against = Annotated[Path | None, typer.Option("--against", help="A checkpoint that you kept.")]


@reported
def verify(file: File = None, *, log: Log = None, trust: Trust_ = None, against: Against = None) -> None:
    """Check a proof against keys that you trust, or a whole log; exit status 0 only if all of it holds."""
    if (file is None) == (log is None):
        raise InputError("malformed", "FILE", None, "name a proof, or a log with --log")
    if log is not None:
        _verify_log(log, trust, against)
        return
    if trust is None:
        raise InputError(
            "missing-field", "--trust", None, "give the replicas' keys that you trust (holdfast prove keys)"
        )
    from holdfast.proof import verifier

    given = [str(file), "--trust", str(trust)]
    raise typer.Exit(verifier.main([*given, *(["--against", str(against)] if against else [])]))


def _verify_log(folder: Path, trust: Path | None, against: Path | None) -> None:
    from holdfast.log.sqlite import SqliteLog
    from holdfast.validate.proofs.audit import ContradictionError, audit_log

    keys, kept = _keys(trust), _kept(against)
    console = output()
    try:
        with while_compiling(), SqliteLog(log_path(folder), writable=False) as log:
            audit = audit_log(log, keys, kept)
    except ContradictionError as contradiction:
        console.print(f"REFUSED {contradiction}", soft_wrap=True)
        raise typer.Exit(CONTRADICTED) from None
    for line in _lines(audit, kept):
        console.print(f"ok {line}", soft_wrap=True)
    console.print("the log holds")


def _lines(audit: "Audit", kept: "Kept | None") -> list[str]:
    from holdfast.proof.checkpoint import base64_of

    lines = [
        f"{audit.frames:,} frames fold; H {audit.chain.hex()}",
        f"state root {audit.state_root.hex()}, root of the frames {base64_of(audit.tree)}",
        f"{audit.roots:,} votes on the state roots of {audit.checkpoints:,} checkpoints: all name the root found here",
        f"{audit.cosignatures:,} cosignatures: all of trees found here, the largest of {audit.newest:,} frames",
        f"{len(audit.replicas)} replicas, {sum(one.suspended for one in audit.replicas)} of them suspended",
    ]
    if audit.strangers:
        lines.append(f"{audit.strangers:,} votes and cosignatures say otherwise, each against a majority that is right")
    if kept is not None:
        lines.append(f"the first {kept.size:,} frames are those of the checkpoint that was kept")
    if len(audit.replicas) <= 1:
        lines.append("a quorum of one: the signatures are one engine's word")
    return lines


def _keys(path: Path | None) -> "Trust | None":
    from holdfast.proof.verifier import Refused, read_trust

    if path is None:
        return None
    try:
        return read_trust(path.read_bytes())
    except Refused as error:
        raise InputError(
            "malformed", "--trust", str(path), "give a file of keys (holdfast prove keys)", str(error)
        ) from None


def _kept(path: Path | None) -> "Kept | None":
    import base64
    import binascii

    from holdfast.validate.proofs.audit import Kept

    if path is None:
        return None
    try:
        origin, size, root = path.read_text(encoding="utf-8").split("\n")[:3]
        return Kept(origin, int(size), base64.b64decode(root, validate=True))
    except (ValueError, binascii.Error):
        raise InputError("malformed", "--against", str(path), "give a checkpoint (holdfast prove checkpoint)") from None
