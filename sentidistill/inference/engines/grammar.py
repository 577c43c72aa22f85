"""Answers that obey a JSON schema, token by token, by llguidance."""

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from llguidance import LLMatcher, LLTokenizer
    from transformers import PreTrainedTokenizerBase


class Grammar:
    """Matchers of JSON schemas for one tokenizer, whose answers end with one of `end_ids`."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", end_ids: set[int]):
        self._tokenizer, self._end_ids = tokenizer, end_ids
        self._matchers: dict[str, LLMatcher] = {}

    @cached_property
    def _vocabulary(self) -> "LLTokenizer":
        from llguidance.hf import from_tokenizer

        # It refuses a tokenizer of another kind by itself.
        return from_tokenizer(self._tokenizer, eos_token=sorted(self._end_ids))  # type: ignore[arg-type]

    def matcher(self, schema: dict[str, Any]) -> "LLMatcher":
        """A matcher at the beginning of an answer. Raises `ValueError` for a schema that cannot be followed."""
        from llguidance import LLMatcher

        name = json.dumps(schema, sort_keys=True)
        if name in self._matchers:
            return self._matchers[name].deep_copy()
        grammar = LLMatcher.grammar_from_json_schema(
            schema, overrides={"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        )
        matcher = LLMatcher(self._vocabulary, grammar, log_level=0)
        if matcher.is_error():
            raise ValueError(f"json_schema: {matcher.get_error()}")
        self._matchers[name] = matcher
        return matcher.deep_copy()

    def forbid(self, logits: "torch.Tensor", matcher: "LLMatcher") -> None:
        """Set `logits` (vocabulary) of tokens that the schema does not allow next to minus infinity, in place."""
        import torch

        allowed = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little").astype(bool)
        forbidden = torch.ones(len(logits), dtype=torch.bool)
        width = min(len(allowed), len(logits))
        forbidden[:width] = torch.from_numpy(~allowed[:width])
        logits.masked_fill_(forbidden.to(logits.device), -torch.inf)
