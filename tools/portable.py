"""Check the stored outputs as other computers would compute them.

The result is a table, a line each. PyTorch chooses its kernels by the CPU;
`ATEN_CPU_CAPABILITY` makes it choose those of another.
"""

import os
import subprocess
import sys
import time

CAPABILITIES = ("default", "avx2", "avx512")
THREADS = ("1", "2")


def available() -> tuple[str, ...]:
    """Return those capabilities that this CPU can run, the plainest first."""
    code = (
        "import torch; print(torch.backends.cpu.get_cpu_capability().lower())"
    )
    plain = {
        name: value
        for name, value in os.environ.items()
        if name != "ATEN_CPU_CAPABILITY"
    }
    best = subprocess.check_output(
        [sys.executable, "-c", code], env=plain, text=True
    ).strip()
    known = best if best in CAPABILITIES else "default"
    return CAPABILITIES[: CAPABILITIES.index(known) + 1]


def main() -> int:
    """Run the check once for every kind of CPU and number of threads."""
    runnable, failed = available(), False
    print(f"{'ATEN_CPU_CAPABILITY':<21}{'OMP_NUM_THREADS':<17}outputs")
    for capability in CAPABILITIES:
        for threads in THREADS:
            print(f"{capability:<21}{threads:<17}", end="", flush=True)
            if capability not in runnable:
                print(f"not run: this CPU knows {runnable[-1]} at best")
                continue
            start = time.perf_counter()
            run = subprocess.run(
                [sys.executable, "-m", "tools.outputs", *sys.argv[1:]],
                env={
                    **os.environ,
                    "ATEN_CPU_CAPABILITY": capability,
                    "OMP_NUM_THREADS": threads,
                },
                capture_output=True,
                text=True,
            )
            verdict = "FAILED" if run.returncode else "the same"
            print(
                f"{verdict} ({time.perf_counter() - start:.0f} s)", flush=True
            )
            if run.returncode:
                failed = True
                print(run.stdout + run.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
