#!/usr/bin/env bash
# transformers 5 reads a BERT's tokenizer.json without the normaliser that stands in it.
#
# A folder holds tokenizer.json, with a rule that turns "(+)" into "good", and a
# tokenizer_config.json that names BertTokenizer. AutoTokenizer of 4.57.1 applies the rule; 5.23.0
# builds the tokenizer anew from the vocabulary, without a warning. Output, 2026-11-30:
#
#   4.57.1 BertTokenizerFast ['the', 'good', 'film']
#   5.23.0 BertTokenizer ['the', '[UNK]', '[UNK]', '[UNK]', 'film']
#
# Exits with 1 if that changes. Run it with: bash findings/tokenizer_rules.sh
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

cat > "$place/read.py" <<'PYTHON'
import json, os, sys
from pathlib import Path

import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer

folder = Path(sys.argv[1])
folder.mkdir()
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "good", "film"]
rules = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
rules.normalizer = normalizers.Sequence(
    [normalizers.Replace("(+)", "good"), normalizers.BertNormalizer()]
)
rules.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
rules.save(str(folder / "tokenizer.json"))
(folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
(folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
tokenizer = AutoTokenizer.from_pretrained(folder)
print(transformers.__version__, type(tokenizer).__name__, tokenizer.tokenize("the (+) film"))
PYTHON

read_with() {
    python3 -m venv "$place/$1"
    "$place/$1/bin/pip" install -q "transformers==$1" "tokenizers==$2" numpy 2> "$place/pip.log" \
        || { cat "$place/pip.log" >&2; exit 2; }
    TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1 \
        "$place/$1/bin/python" "$place/read.py" "$place/folder-$1" 2> "$place/log" \
        || { cat "$place/log" >&2; exit 2; }
}

{ read_with 4.57.1 0.22.1; read_with 5.23.0 0.23.3; } | tee "$place/output"
diff "$place/output" - <<'OUTPUT' || exit 1
4.57.1 BertTokenizerFast ['the', 'good', 'film']
5.23.0 BertTokenizer ['the', '[UNK]', '[UNK]', '[UNK]', 'film']
OUTPUT
