"""From perspectives to instructions: `write_analysis_instructions` to `build_instructions`."""

from typing import Annotated, Literal

from sentidistill.config.prompting import Sampling
from sentidistill.config.rules import Count, Few, OwnPath, Section, Seed, Share, Texts, real, whole


class WriteAnalysisInstructions(Section):
    attributes_per_call: Few
    max_similarity: Share
    sampling: Sampling


class ProposeTasks(Section):
    attributes_per_cluster: Few
    max_per_attribute: Few
    sampling: Sampling


class DefineTasks(Section):
    max_labels: Annotated[int, whole(2, 1_000)]
    max_label_words: Few
    max_examples: Few
    max_similarity: Share
    max_tasks: dict[Literal["classification", "scoring", "extraction", "structured"], Count]
    sampling: Sampling


class WriteDemonstrations(Section):
    prompts_per_closed_task: Few
    prompts_per_open_task: Few
    min_words: Few
    max_similarity: Share
    shrinkage: Texts
    min_kappa: Annotated[float, real(-1, 1)]
    min_lead: Annotated[float, real(0, 1_000)]
    min_agreement: Share
    max_per_label: Few
    seed: Seed
    sampling: Sampling


class BuildInstructions(Section):
    source: Literal["attributes", "hand_written"] | OwnPath
    other_attributes: Literal[""] | OwnPath
    min_demonstrations: Few
    max_similarity: Share
