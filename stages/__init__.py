"""The stages of the pipeline, each run as `python -m stages.NAME`."""

import sys

from sentidistill.pipeline import interrupts

if sys.argv[0] == "-m":  # what Python puts there while it looks for the module to run: before any slow import
    interrupts.listen(follow=True)
