"""Install a requirements file into the running environment: `python scripts/install.py FILE`.

What is installed is the lock of that name in locks/, every package at its version and checked by its hash; a file
without a lock is left to pip. On Linux x86-64, the torch of the public registry is a CUDA build of several gigabytes:
without an NVIDIA GPU the CPU build of the pinned version is installed in its place.
"""

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
LOCKED = [*PIP, "--no-deps", "--require-hashes", "-r"]


def pinned_torch() -> str:
    return re.search(r"^torch==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)[1]


def install_cpu_torch(version: str) -> None:
    """From where this machine's pip looks, if a CPU build lies there; else by uv, which knows the place."""
    wanted = f"torch=={version}+cpu"
    if subprocess.run([*PIP, "--no-deps", wanted], capture_output=True).returncode == 0:
        return
    subprocess.run([*PIP, "uv"], check=True)
    uv = [sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--python", sys.executable]
    subprocess.run([*uv, "--torch-backend", "cpu", f"torch=={version}"], check=True)


def install_torch() -> None:
    if shutil.which("nvidia-smi"):
        subprocess.run([*LOCKED, str(ROOT / "locks/cuda.txt")], check=True)
    elif sys.platform == "linux" and platform.machine() == "x86_64":
        install_cpu_torch(pinned_torch())
    else:
        subprocess.run([*PIP, "--no-deps", f"torch=={pinned_torch()}"], check=True)


def main(requirements: Path) -> None:
    install_torch()
    lock = ROOT / "locks" / requirements.name
    subprocess.run([*LOCKED, str(lock)] if lock.exists() else [*PIP, "-r", str(requirements)], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
