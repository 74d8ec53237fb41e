"""A program with several devices: JAX in this one has started with one."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def run_on_devices(code: str, count: int) -> None:
    """Runs `code`, which may import from the tests, on the CPU as `count` devices; what goes wrong there is shown."""
    environment = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
