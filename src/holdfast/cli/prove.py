"""`holdfast prove`: proofs from a log, for people who do not have it."""

import json
import secrets
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.terminal import note, reported, while_compiling
from holdfast.domain.errors import InputError

if TYPE_CHECKING:
    from holdfast.domain.commands import PublishLiabilities
    from holdfast.validate.proofs.bundles import Prover

LOG_NAME = "log.sqlite"
SECRET_LENGTH = 32

app = typer.Typer(no_args_is_help=True, help="Prove something from an engine's log to somebody who has only its keys.")

Folder = Annotated[Path, typer.Argument(help="An engine's folder, or its log file.", show_default=False)]
Account = Annotated[str, typer.Option("--account", help="An account's name, or its number.", show_default=False)]
AnyAccount = Annotated[str | None, typer.Option("--account", help="An account's name, or its number.")]
Position = Annotated[int | None, typer.Option("--position", help="Not later than after this frame.")]
Trust = Annotated[Path | None, typer.Option("--trust", help="The reader's keys; the log's own without it.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Where to write; standard output without it.")]
First = Annotated[int, typer.Option("--from", help="Frames of the earlier checkpoint.", show_default=False)]
Secret = Annotated[Path, typer.Option("--secret", help="File of the venue's secret.", show_default=False)]
Publish = Annotated[bool, typer.Option("--publish", help="Publish the sums in the log of a stopped engine.")]
At = Annotated[int, typer.Option("--position", help="Position of the frame.", show_default=False)]


def log_path(folder: Path) -> Path:
    """The log of a folder, or the file itself."""
    path = folder / LOG_NAME if folder.is_dir() else folder
    if not path.is_file():
        raise InputError("malformed", "FOLDER", str(folder), f"name a folder with a {LOG_NAME}, or a log", "has no log")
    return path


def _prover(stack: ExitStack, folder: Path, trust: Path | None) -> "Prover":
    from holdfast.log.sqlite import SqliteLog
    from holdfast.proof.verifier import Refused, read_trust
    from holdfast.validate.proofs.bundles import Prover
    from holdfast.validate.proofs.history import read_history

    try:
        keys = None if trust is None else read_trust(trust.read_bytes())
    except Refused as error:
        raise InputError(
            "malformed", "--trust", str(trust), "give a file of keys (holdfast prove keys)", str(error)
        ) from None
    log = stack.enter_context(SqliteLog(log_path(folder), writable=False))
    return Prover(log, read_history(log), keys)


def _number(prover: "Prover", account: str) -> int:
    if account.isascii() and account.removeprefix("#").isdigit():
        return int(account.removeprefix("#"))
    if account not in prover.history.names:
        raise InputError("unknown-account", "--account", account, "give a name of the log, or a number")
    return prover.history.names[account]


def _write(output: Path | None, content: bytes) -> None:
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    output.write_bytes(content)
    note(f"{output}: {len(content):,} bytes; check it with holdfast verify {output} --trust KEYS.json")


@app.command()
@reported
def margin(
    folder: Folder, *, account: Account, position: Position = None, trust: Trust = None, output: Output = None
) -> None:
    """That an account has this margin at a checkpoint."""
    with ExitStack() as stack, while_compiling():
        prover = _prover(stack, folder, trust)
        _write(output, prover.margin(_number(prover, account), position))


@app.command()
@reported
def liquidation(folder: Folder, *, account: Account, trust: Trust = None, output: Output = None) -> None:
    """That the last liquidation of an account had its quorum and follows from the numbers."""
    with ExitStack() as stack, while_compiling():
        prover = _prover(stack, folder, trust)
        _write(output, prover.liquidation(_number(prover, account)))


@app.command()
@reported
def consistency(folder: Folder, *, first: First, trust: Trust = None, output: Output = None) -> None:
    """That the log only grew since an earlier checkpoint."""
    with ExitStack() as stack, while_compiling():
        _write(output, _prover(stack, folder, trust).consistency(first))


@app.command()
@reported
def liabilities(
    folder: Folder,
    *,
    secret: Secret,
    account: AnyAccount = None,
    publish: Publish = False,
    trust: Trust = None,
    output: Output = None,
) -> None:
    """That an account is in the published sum of what the venue owes; or what there is to publish."""
    from holdfast.validate.proofs.liabilities import prove_liabilities, statement

    key = _secret(secret, make=account is None)
    with ExitStack() as stack, while_compiling():
        prover = _prover(stack, folder, trust)
        if account is not None:
            _write(output, prove_liabilities(prover, _number(prover, account), key))
            return
        said = statement(prover.log, prover.history, key)
    if publish:
        _publish(folder, said)
    fields = {name: getattr(said, name) for name in ("position", "count", "owed", "missing")}
    _write(output, (json.dumps(fields | {"root": said.root.hex(), "published": publish}, indent=2) + "\n").encode())


def _publish(folder: Path, said: "PublishLiabilities") -> None:
    from holdfast.core.state import Role
    from holdfast.domain.reasons import Reason
    from holdfast.log.sqlite import SqliteLog
    from holdfast.replica.embedded import EmbeddedEngine
    from holdfast.replica.gateway import Request

    if not folder.is_dir():
        raise InputError("malformed", "FOLDER", str(folder), "name the engine's folder to publish", "is a file")
    with EmbeddedEngine(SqliteLog(log_path(folder)), folder=folder) as engine:
        (answer,) = engine.send([Request(Role.OPERATOR, 0, said)])
        if not answer.accepted:
            reason = Reason(int(answer.outcome["reason"])).name
            raise InputError("malformed", "publication", reason, "publish at a newer checkpoint", "was refused")
        engine.checkpoint()


def _secret(path: Path, *, make: bool) -> bytes:
    """The venue's secret; made where there is none and `make` is set."""
    from holdfast.replica.folder import replace_file

    if make and not path.exists():
        replace_file(path, secrets.token_hex(SECRET_LENGTH).encode() + b"\n", mode=0o600)
        note(f"{path}: a new secret; keep it as long as proofs are to be made")
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != SECRET_LENGTH:
        raise InputError(
            "malformed", "--secret", str(path), f"give {SECRET_LENGTH} bytes in hexadecimal", "holds no secret"
        )
    return key


@app.command()
@reported
def frame(folder: Folder, *, position: At, trust: Trust = None, output: Output = None) -> None:
    """That a frame is in the log, as a C2SP tlog-proof that carries the frame."""
    with ExitStack() as stack, while_compiling():
        _write(output, _prover(stack, folder, trust).frame(position))


@app.command()
@reported
def checkpoint(folder: Folder, *, trust: Trust = None, output: Output = None) -> None:
    """The newest cosigned checkpoint, for you to keep."""
    with ExitStack() as stack, while_compiling():
        _write(output, _prover(stack, folder, trust).checkpoint())


@app.command()
@reported
def keys(folder: Folder, *, output: Output = None) -> None:
    """The replicas' keys as the log has them now: compare them with what the venue states elsewhere."""
    from holdfast.validate.proofs.evidence import keys_text

    with ExitStack() as stack, while_compiling():
        content = keys_text(_prover(stack, folder, None).trust).encode()
    if output is None:
        sys.stdout.buffer.write(content)
        return
    output.write_bytes(content)
