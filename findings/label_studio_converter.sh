#!/usr/bin/env bash
# label-studio-sdk 2.0.23: what the converter writes depends on how its input lay there.
#
# - An export as TSV is called result.csv.
# - An export as JSON of a folder of tasks is a list of lists, one for each file; of one file it is
#   a list of tasks.
# - In CSV a text that two people labelled is two rows, a skipped one none, and one that nobody has
#   seen is a row without a label.
#
# Output seen:
#   TSV ['result.csv']
#   folder list, file dict
#   rows [('a', 'pos'), ('a', 'neg'), ('c', '')]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q label-studio-sdk==2.0.23
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import csv
import json
from pathlib import Path

from label_studio_sdk.converter import Converter

CONFIG = """<View><Text name="text" value="$text"/>
<Choices name="mood" toName="text"><Choice value="pos"/><Choice value="neg"/></Choices></View>"""


def annotation(number, label, skipped=False):
    value = {"id": "r", "from_name": "mood", "to_name": "text", "type": "choices"}
    result = [{**value, "value": {"choices": [label]}}] if label else []
    return {"id": number, "completed_by": number, "was_cancelled": skipped, "result": result}


tasks = [
    {"id": 1, "data": {"text": "a"}, "annotations": [annotation(1, "pos"), annotation(2, "neg")]},
    {"id": 2, "data": {"text": "b"}, "annotations": [annotation(3, None, True)]},
    {"id": 3, "data": {"text": "c"}, "annotations": []},
]
Path("in").mkdir()
Path("in", "tasks.json").write_text(json.dumps([{**t, "predictions": []} for t in tasks]))
converter = Converter(CONFIG, ".", download_resources=False)
for form in ("TSV", "CSV", "JSON"):
    converter.convert("in", form, form, is_dir=True)
converter.convert("in/tasks.json", "file", "JSON", is_dir=False)
names = [path.name for path in Path("TSV").iterdir()]
kinds = [type(json.loads(Path(f, "result.json").read_text())[0]).__name__ for f in ("JSON", "file")]
with open("CSV/result.csv", newline="") as file:
    rows = [(row["text"], row["mood"]) for row in csv.DictReader(file)]
print("TSV", names)
print(f"folder {kinds[0]}, file {kinds[1]}")
print("rows", rows)
assert names == ["result.csv"]
assert kinds == ["list", "dict"]
assert rows == [("a", "pos"), ("a", "neg"), ("c", "")]
PYTHON
