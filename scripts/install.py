"""Install a requirements file into the running environment: `python scripts/install.py FILE`.

On Linux x86-64, the torch of the public registry is a CUDA build of several gigabytes. Without an
NVIDIA GPU the CPU build of the pinned version is installed first, and the requirement is then met.
"""

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def pinned_torch(requirements: Path) -> str:
    """Version of torch in `requirements` or in a file that it includes."""
    text = requirements.read_text()
    if found := re.search(r"^torch==(\S+)", text, re.MULTILINE):
        return found[1]
    included = re.search(r"^-r (\S+)", text, re.MULTILINE)
    if included is None:
        sys.exit(f"{requirements}: no line 'torch==...'")
    return pinned_torch(requirements.parent / included[1])


def install_cpu_torch(version: str) -> None:
    """From where this machine's pip looks, if a CPU build lies there; else by uv, which knows the place."""
    wanted = f"torch=={version}+cpu"
    if subprocess.run([*PIP, wanted], capture_output=True).returncode == 0:
        return
    subprocess.run([*PIP, "uv"], check=True)
    uv = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    subprocess.run([*uv, "--torch-backend", "cpu", f"torch=={version}"], check=True)


def main(requirements: Path) -> None:
    needs_cpu_build = sys.platform == "linux" and platform.machine() == "x86_64" and shutil.which("nvidia-smi") is None
    if needs_cpu_build:
        install_cpu_torch(pinned_torch(requirements))
    subprocess.run([*PIP, "-r", str(requirements)], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
