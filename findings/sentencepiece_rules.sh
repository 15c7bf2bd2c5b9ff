#!/usr/bin/env bash
# transformers 5 reads a DeBERTa-v2's sentencepiece model without the model's character map, and
# the tokenizers library applies only the rules of such a map that replace a single character.
#
# A sentencepiece model has two rules: "€" becomes "good", and "(+)" becomes "good". sentencepiece
# 0.2.1 applies both. AutoTokenizer of transformers 5.23.0 applies neither, though its classes for
# other architectures are handed the map; normalizers.Precompiled of tokenizers 0.23.3, which reads
# the map, applies the first alone. Nothing warns. Output, 2026-11-30:
#
#   sentencepiece ['the good film', 'the good film']
#   Precompiled ['the good film', 'the (+) film']
#   AutoTokenizer ['the € film', 'the (+) film']
#
# Exits with 1 if that changes. Run it with: bash findings/sentencepiece_rules.sh
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

cat > "$place/read.py" <<'PYTHON'
import json, sys
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import normalizers
from transformers import AutoTokenizer

folder = Path(sys.argv[1])
folder.mkdir()
(folder / "rules.tsv").write_text("20AC\t67 6F 6F 64\n28 2B 29\t67 6F 6F 64\n")
(folder / "texts.txt").write_text("the good film\nthe bad film\na fine plot\n" * 50)
sentencepiece.SentencePieceTrainer.train(
    input=str(folder / "texts.txt"), model_prefix=str(folder / "spm"), vocab_size=21,
    normalization_rule_tsv=str(folder / "rules.tsv"), pad_id=0, unk_id=1, bos_id=2, eos_id=3,
    pad_piece="[PAD]", unk_piece="[UNK]", bos_piece="[CLS]", eos_piece="[SEP]", minloglevel=2,
)
(folder / "tokenizer_config.json").write_text('{"tokenizer_class": "DebertaV2Tokenizer"}')
(folder / "config.json").write_text(json.dumps({"model_type": "deberta-v2"}))
texts = ["the € film", "the (+) film"]
processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
print("sentencepiece", [processor.normalize(text).replace("▁", " ").strip() for text in texts])
model = sentencepiece_model_pb2.ModelProto()
model.ParseFromString((folder / "spm.model").read_bytes())
table = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
print("Precompiled", [table.normalize_str(text) for text in texts])
rules = AutoTokenizer.from_pretrained(folder).backend_tokenizer.normalizer
print("AutoTokenizer", [rules.normalize_str(text) for text in texts])
PYTHON

python3 -m venv "$place/env"
"$place/env/bin/pip" install -q transformers==5.23.0 tokenizers==0.23.3 sentencepiece==0.2.1 \
    protobuf==7.36.2 numpy 2> "$place/pip.log" || { cat "$place/pip.log" >&2; exit 2; }
TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1 \
    "$place/env/bin/python" "$place/read.py" "$place/folder" 2> "$place/log" \
    | tee "$place/output" || { cat "$place/log" >&2; exit 2; }
diff "$place/output" - <<'OUTPUT' || exit 1
sentencepiece ['the good film', 'the good film']
Precompiled ['the good film', 'the (+) film']
AutoTokenizer ['the € film', 'the (+) film']
OUTPUT
