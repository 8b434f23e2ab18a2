"""Runs a script once per processor target, so that a test can compare the bits that come out.

Law 2 of the design: no feature of a processor may influence a result. Numba compiles for the processor it finds unless
NUMBA_CPU_NAME *and* NUMBA_CPU_FEATURES are set; a test that sets only one of them tests nothing, so scripts also report
what their assembly contains.
"""

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import llvmlite.binding as llvm

SSE2, AVX2, HOST = "sse2", "avx2", "host"
TARGETS: dict[str, dict[str, str]] = {
    SSE2: {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse,+sse2"},
    AVX2: {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+popcnt",
    },
    HOST: {},
}
_SECONDS_MAX = 300
_HERE = Path(__file__).parent


def runnable_targets() -> list[str]:
    """The targets whose code this machine can run: the host always, the others on x86-64 as far as it reaches."""
    if not llvm.get_process_triple().startswith("x86_64"):
        return [HOST]
    features = llvm.get_host_cpu_features()
    return [SSE2, *([AVX2] if features.get("avx2") and features.get("fma") else []), HOST]


def environment_of(target: str, cache: str | None = None) -> dict[str, str]:
    """The environment of a process that compiles for a target, with a cache of its own or the usual one."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_CPU_")}
    path = os.pathsep.join([str(_HERE), str(_HERE.parent / "src"), environment.get("PYTHONPATH", "")])
    own = {} if cache is None else {"NUMBA_CACHE_DIR": cache}
    return environment | TARGETS[target] | own | {"PYTHONPATH": path}


def run_for_targets(script: str) -> dict[str, str]:
    """Run Python source once per runnable target, in fresh processes with empty compilation caches, beside each other.

    Args:
        script: Python source; `tests/` and the package are importable in it.

    Returns:
        What each target's process printed.

    Raises:
        AssertionError: A process failed; the text has its error output.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:
        return dict(threads.map(lambda target: (target, _run_for(target, script)), runnable_targets()))


def _run_for(target: str, script: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "script.py"
        source.write_text(script)
        done = subprocess.run(
            [sys.executable, str(source)],
            env=environment_of(target, folder),
            capture_output=True,
            text=True,
            timeout=_SECONDS_MAX,
            check=False,
        )
    assert done.returncode == 0, f"target {target}: {done.stderr}"
    return done.stdout


def assembly_facts(assembly: str) -> dict[str, bool]:
    """Which registers and which forbidden instructions an assembly text contains."""
    return {
        "ymm": "ymm" in assembly,
        "zmm": "zmm" in assembly,
        "fused": re.search(r"\bvfn?m(add|sub)", assembly) is not None,
        "doubles": re.search(r"\bv?mulpd\b", assembly) is not None,
    }


def check_assembly(target: str, facts: dict[str, bool]) -> None:
    """Assert that code compiled for a target uses its registers, and nothing fused on any.

    Raises:
        AssertionError: It does not: the target was not really the target, or a product and a sum were contracted.
    """
    assert not facts["fused"], f"target {target} contracts products and sums"
    if target == SSE2:
        assert facts["doubles"], "SSE2 code has no packed products"
        assert not facts["ymm"], "SSE2 code uses AVX registers"
        assert not facts["zmm"], "SSE2 code uses AVX-512 registers"
    if target == AVX2:
        assert facts["ymm"], "AVX2 code does not use its registers"
        assert not facts["zmm"], "AVX2 code uses AVX-512 registers"
