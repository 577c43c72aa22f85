"""Tiny models for tests, made in seconds: a teacher that has learned the formats, a student that knows nothing.

A random teacher writes nothing that parses, so the teacher is trained, for some seconds, to continue
our prompts with the answers of the exemplars. `python -m tests.tiny_models FOLDER` writes all three.
"""

import sys
from collections import Counter
from pathlib import Path
from random import Random

import yaml

from sentidistill.prompts import SEPARATOR, Template, transcript

TEMPLATES = (
    "enumerate_attributes",
    "write_analysis_instructions",
    "propose_tasks",
    "define_tasks",
    "write_demonstrations",
)
# Of closed tasks all: a teacher that writes one text cannot write for two labels.
PER_KIND = {"closed": 8}
ROWS = 8
STYLES = ["@friend omg this bus is sooo late AGAIN lol", "The mayor's plan deserves a serious hearing."]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def worked_examples(variants: int = 1) -> list[tuple[str, str]]:
    """(prompt text without exemplars, answer) of the first hand-written exemplars of each kind.

    Of several variants all but the first have random words for their input: the teacher is to learn the
    forms, and to write them whatever the input says.
    """
    random = Random(0)
    words = [word for name in TEMPLATES for word in Path("prompts", f"{name}.yaml").read_text().split()]
    pairs = []
    for name in TEMPLATES:
        template = Template(name, worked_examples=False)
        seen: Counter[str] = Counter()
        for row in yaml.safe_load(Path("prompts", f"{name}.yaml").read_text()):
            kind = row.get("family", "")
            seen[kind] += 1
            if seen[kind] > PER_KIND.get(kind, 1):
                continue
            answer = row.pop("output").strip()
            if name == "write_demonstrations":
                row = {"instruction": "Decide.", "styles": STYLES, "format": "", "example": ["", ""], **row}
            for variant in range(variants):
                values = {key: scrambled(value, words, random) if variant else value for key, value in row.items()}
                prompt = template.prompt(**{**values, **({"family": kind} if kind else {})})
                pairs.append((transcript(prompt), answer.removeprefix(prompt.prefill)))
    return pairs


def scrambled(value, words: list[str], random: Random):
    """`value` with every text replaced by as many random words."""
    if isinstance(value, dict):
        return {key: scrambled(inner, words, random) for key, inner in value.items()}
    if isinstance(value, list):
        return [scrambled(inner, words, random) for inner in value]
    return " ".join(random.choices(words, k=random.randint(1, 2 * len(value.split())))) if value else value


def tokenizer(texts: list[str]):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>", "<|user|>", "<|assistant|>", "<|end|>"]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=4000, special_tokens=special, initial_alphabet=alphabet)
    )
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        chat_template=CHAT_TEMPLATE,
    )


def language_model(vocabulary: int, hidden: int = 16, layers: int = 2, seed: int = 0):
    """A random Llama in float32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    ).eval()


def teach(model, tok, pairs: list[tuple[str, str]], epochs: int, seed: int = 0) -> float:
    """Train `model` on the answers of `pairs`; returns the last epoch's mean loss."""
    import torch

    random = torch.Generator().manual_seed(seed)
    rows = [
        (tok(text)["input_ids"], tok(f"{answer}\n{SEPARATOR}", add_special_tokens=False)["input_ids"])
        for text, answer in pairs
    ]
    rows.sort(key=lambda row: len(row[0]) + len(row[1]))
    batches = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices this small only wait for each other on several
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    model.train()
    for _ in range(epochs):
        losses = []
        for number in torch.randperm(len(batches), generator=random).tolist():
            width = max(len(prompt) + len(answer) for prompt, answer in batches[number])
            ids = torch.zeros(len(batches[number]), width, dtype=torch.long)
            mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
            for row, (prompt, answer) in enumerate(batches[number]):
                length = len(prompt) + len(answer)
                ids[row, :length] = torch.tensor(prompt + answer)
                mask[row, :length] = 1
                labels[row, len(prompt) : length] = torch.tensor(answer)
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            losses.append(float(loss.detach()))
    model.eval()
    torch.set_num_threads(threads)
    return sum(losses) / len(losses)


def embedder(texts: list[str], folder: Path) -> None:
    """A random sentence-transformers model of the usual layout."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    tok = tokenizer(texts)
    inner = folder.with_name(f"{folder.name}-inner")
    BertModel(
        BertConfig(
            vocab_size=len(tok),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=128,
        )
    ).save_pretrained(inner)
    tok.save_pretrained(inner)
    transformer = modules.Transformer(str(inner), max_seq_length=64)
    SentenceTransformer(modules=[transformer, modules.Pooling(32)], device="cpu").save(str(folder))


def build(folder: Path) -> float:
    """Write teacher/, student/ and embedder/ into `folder`; returns the teacher's loss on its formats."""
    pairs = worked_examples(variants=20)
    texts = [text + answer for text, answer in pairs]
    tok = tokenizer(texts)
    teacher = language_model(len(tok), hidden=64)
    loss = teach(teacher, tok, pairs, epochs=22)
    student = language_model(len(tok), seed=1)
    for name, model in (("teacher", teacher), ("student", student)):
        model.save_pretrained(folder / name)
        tok.save_pretrained(folder / name)
    embedder(texts, folder / "embedder")
    return loss


def windowed(kind: str, vocabulary: int, window: int):
    """A random model some or all of whose layers see a window only."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, MistralConfig, MistralForCausalLM

    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "sliding_window": window,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    torch.manual_seed(0)
    if kind == "all layers":
        return MistralForCausalLM(MistralConfig(**sizes)).eval()
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    return Gemma3ForCausalLM(Gemma3TextConfig(**sizes, layer_types=layers)).eval()


if __name__ == "__main__":
    print(f"teacher's loss: {build(Path(sys.argv[1])):.3f}")
