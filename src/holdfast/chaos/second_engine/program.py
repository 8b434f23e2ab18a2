"""An engine whose tables are spoiled while a file `wrong` lies beside its own: `python -m …second_engine.program FILE`.

The file is looked at whenever a table is built, so the error comes and goes at marks, without a restart. What may not
live here: what the error is (`error`).
"""

import sys
from pathlib import Path
from typing import Final

from holdfast.chaos.second_engine.error import plant
from holdfast.replica.configuration import read_configuration
from holdfast.replica.node.process import run

SIGN: Final = "wrong"
"""Name of the file that says that the error is there."""
COMMAND: Final = (sys.executable, "-m", "holdfast.chaos.second_engine.program")


def main(path: Path) -> int:
    """Run one replica; its exit status."""
    sign = path.parent / SIGN
    plant(sign.exists)
    return run(read_configuration(path))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
