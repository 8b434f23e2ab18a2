"""A stand-in for an engine: answers its status subject and does nothing else. `python stand_in.py engine.toml`."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from holdfast.log.jetstream.connection import connect
from holdfast.replica.configuration import read_configuration


async def main(path: Path) -> None:
    configuration = read_configuration(path)
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    link = await connect(configuration.log.access(), name=configuration.name)

    async def answer(message) -> None:
        status = {"name": configuration.name, "region": configuration.region, "position": 6, "end": 7, "logic": 1}
        await message.respond(json.dumps(status | {"pid": os.getpid(), "version": "0", "more": "than known"}).encode())

    await link.subscribe(f"holdfast.status.{configuration.name}", cb=answer)
    await ending.wait()
    with contextlib.suppress(OSError):
        (configuration.folder / "ended").write_text(f"{time.time()}")
    await link.close()


asyncio.run(main(Path(sys.argv[1])))
