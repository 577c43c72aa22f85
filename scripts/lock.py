"""Write locks/: versions and hashes of all packages that set-up installs. `make lock`, after a change of a pin.

locks/requirements.txt and locks/requirements-dev.txt hold what the files of these names need on Linux and macOS,
without torch and the CUDA libraries that it brings, as its build differs by platform. locks/cuda.txt holds these, for a
machine with an NVIDIA GPU, and locks/requirements-vllm.txt what vLLM needs there besides.
"""

import re
import subprocess
import sys
from pathlib import Path

LOCKS = Path("locks")
OF_TORCH = re.compile(r"(?:torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==")
HEAD = "# Written by `make lock`; scripts/install.py installs it.\n"


def resolved(requirements: str, *options: str) -> list[str]:
    """The packages that the file `requirements` needs, each an entry with its version, markers and hashes."""
    command = [sys.executable, "-m", "uv", "pip", "compile", requirements, "--quiet", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url", *options]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.findall(r"^[^\s#-][^\n]*(?:\n[ ]+--hash[^\n]*)*\n", found, re.MULTILINE)


def write(name: str, entries: list[str]) -> Path:
    path = LOCKS / name
    path.write_text(HEAD + "".join(entries), encoding="utf-8")
    return path


def without(entries: list[str], others: list[str]) -> list[str]:
    """Those of `entries` whose package and version is not among `others`."""
    known = {entry.split()[0] for entry in others}
    return [entry for entry in entries if entry.split()[0] not in known]


def main() -> None:
    LOCKS.mkdir(exist_ok=True)
    everything = resolved("requirements-dev.txt", "--universal")
    whole = write("requirements-dev.txt", everything)
    default = resolved("requirements.txt", "--universal", "--constraint", str(whole))
    on_gpus = resolved(
        "requirements-vllm.txt", "--python-platform", "x86_64-manylinux_2_28", "--constraint", str(whole)
    )
    cuda = [entry for entry in default if OF_TORCH.match(entry)]
    write("cuda.txt", cuda)
    write("requirements.txt", without(default, cuda))
    write("requirements-dev.txt", without(everything, default))
    write("requirements-vllm.txt", without(on_gpus, everything))


if __name__ == "__main__":
    main()
