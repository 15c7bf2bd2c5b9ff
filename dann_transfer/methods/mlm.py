"""Masked language modelling on target text, alongside the task."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dann_transfer.methods.base import Method
from dann_transfer.methods.registry import register
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.loading import in_float32, quiet_loading
from dann_transfer.texts.batches import Batch
from dann_transfer.training.forward import Forward
from dann_transfer.training.phases import Joint, Phase

# What BERT, RoBERTa and DistilBERT call the dense layer, the norm and the bias of their heads.
_HEADS = (
    (
        "cls.predictions.transform.dense",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions.bias",
    ),
    ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
)


def pretrained_head(encoder: Encoder) -> dict[str, Tensor] | None:
    """Return the checkpoint's own head for masked words, or None if it has none.

    Keys are ``dense.weight``, ``dense.bias``, ``norm.weight``, ``norm.bias`` and ``bias``.
    """
    from transformers import AutoModelForMaskedLM

    if encoder.origin is None:
        return None
    name, options = encoder.origin
    try:
        with quiet_loading():
            model, info = AutoModelForMaskedLM.from_pretrained(
                name, use_safetensors=True, output_loading_info=True, **options, **in_float32()
            )
    except ValueError:  # an architecture that was never trained on masked words
        return None
    state = {k: v for k, v in model.state_dict().items() if k not in info["missing_keys"]}
    for dense, norm, bias in _HEADS:
        names = {f"dense.{x}": f"{dense}.{x}" for x in ("weight", "bias")}
        names |= {f"norm.{x}": f"{norm}.{x}" for x in ("weight", "bias")} | {"bias": bias}
        if all(key in state for key in names.values()):
            return {ours: state[key].float() for ours, key in names.items()}
    return None


@register("mlm")
class MLM(Method):
    """Keep reading the target's language while learning the task: predict its masked words.

    Reference: Karouzos, Paraskevopoulos and Potamianos, UDALM: Unsupervised Domain Adaptation
    through Language Modeling, NAACL 2021, with only the mixed loss: its first stage, language
    modelling on the target before any task, is left out. Masks are as in Devlin et al., BERT, NAACL
    2019. The head is BERT's: a dense layer, GELU, layer norm, and the word embeddings as decoder.
    It starts from the checkpoint's own head if that is a BERT, RoBERTa or DistilBERT with one, and
    otherwise at random. The head learns at `discriminator_learning_rate`.

    When to use it: the encoder has seen little text like the target's, and there is plenty of it.
    Cost: the target texts' pass through the encoder, and the vocabulary's logits at masked words.
    """

    takes_several = True

    probability: float

    moves_encoder_alone = True

    def phases(self, epochs: int) -> list[Phase]:
        """Return one phase, in which target texts pass only masked."""
        return [Joint(self, epochs, target_pass=False)]

    def attach(self, encoder: Encoder, n_domains: int) -> None:
        """Take the tokenizer for its masks and the word embeddings for the decoder."""
        from transformers import DataCollatorForLanguageModeling

        tokenizer = encoder.tokenizer
        if tokenizer.mask_token is None:
            raise ValueError(
                f"method 'mlm' needs a tokenizer with a mask token, which "
                f"{type(tokenizer).__name__} does not have; use another method or encoder."
            )
        self.special = torch.tensor(tokenizer.all_special_ids)
        self.collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=self.probability)
        # A bound method, not the module, or the embeddings would count as the method's parameters.
        self.embeddings = encoder.model.get_input_embeddings
        self.eps = float(getattr(encoder.model.config, "layer_norm_eps", 1e-12))
        self.pretrained = pretrained_head(encoder)

    def build(self, features: int, classes: int) -> None:
        """Make the head, starting from the checkpoint's own if there is one."""
        words, width = self.embeddings().weight.shape
        self.dense, self.norm = nn.Linear(features, width), nn.LayerNorm(width, eps=self.eps)
        self.bias = nn.Parameter(torch.zeros(words))
        if self.pretrained is not None:
            self.load_state_dict(self.pretrained)

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Mask the unlabelled target rows."""
        ids, mask = batch.input_ids[batch.n_task :], batch.attention_mask[batch.n_task :]
        fixed = torch.isin(ids, self.special) | (mask == 0)
        self.collator.generator = generator
        try:
            masked, labels = self.collator.torch_mask_tokens(ids.clone(), fixed)
        finally:
            # A generator cannot be pickled, but the adapter must be picklable.
            self.collator.generator = None
        return replace(batch, extras={**batch.extras, "masked_ids": masked, "words": labels})

    def word_logits(self, states: Tensor) -> Tensor:
        """Turn token states (n, width) into logits over the vocabulary (n, words)."""
        embeddings = self.embeddings().weight
        return F.linear(self.norm(F.gelu(self.dense(states))), embeddings, self.bias)

    def loss(self, forward: Forward, strength: float) -> dict[str, Tensor]:
        """Return strength times the cross-entropy of the words to predict."""
        if forward.encode is None:
            return {}
        batch = forward.batch
        ids, words = batch.extras["masked_ids"], batch.extras["words"]
        states = forward.encode(ids, batch.attention_mask[batch.n_task :])
        masked = words != -100
        # Summed and then divided, because a batch of short texts may have no masked word at all.
        total = F.cross_entropy(self.word_logits(states[masked]), words[masked], reduction="sum")
        return {"mlm": strength * total / masked.sum().clamp(min=1)}
