#!/usr/bin/env bash
# argilla 2.8.0: the nested export of records holds discarded answers like submitted ones.
#
# `Record.to_dict`, and with it `records.to_json` and `records.to_list()`, writes of each response
# the value and the user, and not the status. A label that an annotator discarded can then not be
# told from one that was submitted. `to_list(flatten=True)` has the status.
#
# Output seen:
#   nested {'label': [{'value': 'pos', 'user_id': '...1'}, {'value': 'neg', 'user_id': '...2'}]}
#   flat ['pos', 'neg'] ['submitted', 'discarded']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# It imports requests and does not require it.
"$folder/venv/bin/pip" install -q argilla==2.8.0 requests
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import uuid

import argilla as rg
from argilla.records._io import GenericIO

answers = [("pos", "submitted", 1), ("neg", "discarded", 2)]
record = rg.Record(
    id="1",
    fields={"text": "a fine film"},
    responses=[rg.Response("label", v, user_id=uuid.UUID(int=u), status=s) for v, s, u in answers],
)
nested = GenericIO.to_list([record])[0]["responses"]
flat = GenericIO.to_list([record], flatten=True)[0]
print("nested", nested)
print("flat", flat["label.responses"], flat["label.responses.status"])
assert nested == record.to_dict()["responses"]
assert [sorted(answer) for answer in nested["label"]] == [["user_id", "value"]] * 2
assert flat["label.responses.status"] == ["submitted", "discarded"]
PYTHON
