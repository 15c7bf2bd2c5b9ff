"""Which encoders of transformers are read as their folder says: tiny random ones, five properties.

    python benchmarks/architectures.py

Each architecture is saved with a tokenizer that has a rule of its own, cuts on the left, declares
the pooling of the first token and names a coarser precision than its weights have. The table says
whether the rule acts, whether the end of a long text is kept, whether the pooling is used, whether
the weights are read as they are, and whether a text's features stay when it is padded. It takes
about a minute, and belongs into docs/encoders.md.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from dann_transfer.model.encoder import Encoder
from dann_transfer.texts.tokens import pad, tokenize

KINDS = (
    "bert", "roberta", "distilbert", "electra", "albert", "mpnet", "deberta", "deberta-v2",
    "xlm-roberta", "camembert", "modernbert", "convbert", "squeezebert", "mobilebert", "roformer",
    "big_bird", "longformer", "nystromformer", "yoso", "funnel", "xlnet", "t5", "gpt2", "qwen3",
    "gemma3_text",
)  # fmt: skip
PROPERTIES = ("own rule", "cut on the left", "declared pooling", "precision", "padding")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "the", "a", "film", "plot"]
READERS = {
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "qwen3": "Qwen2Tokenizer",
    "gpt2": "GPT2Tokenizer",
}
"""The class that the folder names, of those that can be built from words; otherwise none."""
SIZES = (
    (("hidden_size", "d_model", "dim", "n_embd", "embedding_size"), 32),
    (("num_hidden_layers", "n_layers", "n_layer", "num_layers"), 2),
    (("num_attention_heads", "n_heads", "n_head", "num_heads", "num_key_value_heads"), 4),
    (("intermediate_size", "hidden_dim", "d_inner", "d_ff"), 48),
    (("d_kv", "d_head", "head_dim"), 8),
    (("max_position_embeddings", "n_positions"), 128),
    (("pad_token_id",), 0),
    (("bos_token_id", "cls_token_id"), 2),
    (("eos_token_id", "sep_token_id"), 3),
    (("attention_window",), 8),
)


def build(kind: str, folder: Path) -> None:
    """Save a tiny random encoder whose folder declares what the table is about."""
    from transformers import CONFIG_MAPPING, AutoModel, PreTrainedTokenizerFast, T5EncoderModel

    names = set(CONFIG_MAPPING[kind]().to_dict())
    settings = {name: value for group, value in SIZES for name in group if name in names}
    if kind == "funnel":
        settings = {"d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 48, "block_sizes": [1, 1]}
    config = CONFIG_MAPPING[kind](vocab_size=len(WORDS), architectures=["FunnelModel"], **settings)
    torch.manual_seed(0)
    model = T5EncoderModel(config) if kind == "t5" else AutoModel.from_config(config)
    model.save_pretrained(folder)
    rules = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    rules.normalizer = normalizers.Sequence([normalizers.Replace("(+)", "good")])
    rules.pre_tokenizer = pre_tokenizers.Whitespace()
    rules.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{n.lower()}_token": f"[{n}]" for n in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    PreTrainedTokenizerFast(
        tokenizer_object=rules, model_max_length=100, truncation_side="left", **names
    ).save_pretrained(folder)
    change(folder / "tokenizer_config.json", tokenizer_class=READERS.get(kind))
    change(folder / "config.json", dtype="bfloat16")
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def own_rule(encoder: Encoder, folder: Path) -> bool:
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("the (+) film").ids
    return 5 in ids and encoder.tokenizer("the (+) film")["input_ids"] == ids


def cut_on_the_left(encoder: Encoder, folder: Path) -> bool:
    tokens, cut = tokenize(encoder.tokenizer, ["the " * 20 + "good plot"], 6)
    return cut == 1 and list(tokens.text(0))[-3:] == [5, 10, 3]


def precision(encoder: Encoder, folder: Path) -> bool:
    state = encoder.model.state_dict()
    shared = [
        (state[k], v) for k, v in load_file(folder / "model.safetensors").items() if k in state
    ]
    return bool(shared) and all(torch.equal(a, b) for a, b in shared)


@torch.no_grad()
def padding(encoder: Encoder, folder: Path) -> str:
    rows = [np.array([2, 6, 9, 3]), np.array([2, *([7, 9, 8, 10] * 6), 3])]
    ids, mask = (torch.tensor(array) for array in pad(rows, 0))
    alone = encoder.eval()(ids[:1, :4], mask[:1, :4])
    if not torch.allclose(alone, encoder(ids, mask)[:1], atol=1e-4):
        return "no"
    return "one length at a time" if encoder.reads_padding else "yes"


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def row_of(kind: str, folder: Path) -> list[str]:
    """Return the answers for one architecture, or why it is refused."""
    with quiet():
        try:
            build(kind, folder)
        except Exception as error:
            return [f"cannot be built: {type(error).__name__}: {error}"[:80]] + [""] * 4
        pooling = "yes"
        try:
            encoder = Encoder.from_pretrained(folder)
            pooling = "yes" if encoder.pooling == "cls" else "no"
        except ValueError as error:
            if "pooling='cls'" not in str(error):
                return ["refused: " + reason(error, folder)] + [""] * 4
            pooling = "refused"
            encoder = Encoder.from_pretrained(folder, "last")
        checks: list[Callable[[Encoder, Path], Any]] = [own_rule, cut_on_the_left]
        answers = ["yes" if check(encoder, folder) else "no" for check in checks]
        return [
            *answers,
            pooling,
            "yes" if precision(encoder, folder) else "no",
            padding(encoder, folder),
        ]


def reason(error: Exception, folder: Path) -> str:
    text = str(error).replace(f"encoder {str(folder)!r} ", "").splitlines()[0]
    return text if len(text) <= 100 else f"{text[:100]} ..."


def main() -> None:
    torch.set_num_threads(1)
    print(f"| architecture | {' | '.join(PROPERTIES)} |\n|---|{'---|' * len(PROPERTIES)}")
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {kind} | {' | '.join(row_of(kind, Path(folder, 'encoder')))} |", flush=True)


if __name__ == "__main__":
    main()
