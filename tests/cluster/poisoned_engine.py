"""An engine that dies of every frame that defines the asset POISON: a bug that all replicas share."""

import os
import signal
import sys
from pathlib import Path

from holdfast.core.fold import Fold
from holdfast.replica.configuration import read_configuration
from holdfast.replica.node.process import run

_apply = Fold.apply


def apply(self, data):
    if b"POISON" in data and not self.standing():
        os.kill(os.getpid(), signal.SIGKILL)
    return _apply(self, data)


Fold.apply = apply
sys.exit(run(read_configuration(Path(sys.argv[1]))))
