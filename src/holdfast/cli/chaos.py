"""`holdfast chaos`: a real cluster under real faults, with clients that keep journals and a checker."""

import json
import secrets
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.terminal import messages, note, reported, while_compiling
from holdfast.domain.errors import InputError, MissingLibraryError

FAILED = 1
"""Exit status where something was lost, twice, out of order, or did not come back."""

Seed = Annotated[int, typer.Option("--seed", help="Of faults and workloads; by default a new one.")]
Minutes = Annotated[float, typer.Option("--minutes", min=0, help="How long to go on with faults; 0 for the short set.")]
Faults = Annotated[str, typer.Option("--faults", help="Only these, in this order, such as engine_killed,links_slow.")]
Report = Annotated[Path | None, typer.Option("--report", help="Write a report in Markdown here.")]
Keep = Annotated[Path | None, typer.Option("--keep", help="A new folder for cluster, journals and logs, to be kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@reported
def chaos(
    *,
    seed: Seed = -1,
    minutes: Minutes = 0,
    faults: Faults = "",
    report: Report = None,
    keep: Keep = None,
    json_: Json = False,
) -> None:
    """Kill, stop, partition and fill a real cluster on this machine, and check every promise to its clients."""
    try:
        from holdfast.chaos import sets
        from holdfast.chaos.report import markdown, plain
        from holdfast.chaos.run import run
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("nats"):
            raise
        raise MissingLibraryError("a cluster needs nats-py: pip install 'holdfast[cluster]'") from None
    seed = seed if seed >= 0 else secrets.randbelow(1 << 32)
    named = [name.strip() for name in faults.split(",") if name.strip()]
    for name in named:
        if name not in sets.BY_NAME:
            raise InputError("malformed", "--faults", name, f"name some of {', '.join(sets.BY_NAME)}")
    chosen = [sets.BY_NAME[name] for name in named]
    again = f"holdfast chaos --seed {seed}"
    again += f" --minutes {minutes:g}" if minutes else ""
    again += f" --faults {','.join(named)}" if named else ""
    note(f"seed {seed}; again: {again}")
    began = time.monotonic()
    with while_compiling(), tempfile.TemporaryDirectory(prefix="holdfast-chaos-") as made:
        folder = keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        result = run(
            folder,
            seed,
            sets.long_set(seed, minutes, chosen or sets.LONG) if minutes else iter(chosen or sets.SHORT),
            tell=lambda line: messages().print(f"{time.monotonic() - began:7.1f} s  {line}", highlight=False),
            small_disks=bool(minutes or named),
        )
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(markdown(result, again, time.monotonic() - began))
    if json_:
        typer.echo(json.dumps(plain(result), indent=2))
    else:
        for line in result.problems or ["every promise was kept"]:
            typer.echo(line)
    raise typer.Exit(FAILED if result.problems else 0)
