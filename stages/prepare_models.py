"""sources -> models/{teacher, student_base, embedder}: local, hash-checked safetensors folders.

Run as `python -m stages.prepare_models ROLE`. For a hub repository or a local folder the output
holds only `origin.json`, e.g. {"source": "hub", "repo": "Qwen/Qwen3-4B", "revision": "1cfa9a7..."}.
"""

import sys
from pathlib import Path

from sentidistill import config
from sentidistill.pipeline import stage
from sentidistill.sources import models


def main(role: str) -> None:
    source = getattr(config.load().prepare_models, role)
    cache = stage.cache_root()
    origin = models.prepare(source, Path("models", role), cache / "downloads", cache.parent)
    stage.finish(
        f"prepare_models/{role}", {"source": origin["source"], "identity": models.identity(Path("models", role))}
    )


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
