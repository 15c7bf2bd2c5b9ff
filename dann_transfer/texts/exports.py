"""What labelling tools write, as rows with one label each: Label Studio, doccano, Prodigy, Argilla.

What an annotator rejected, skipped or discarded is left out; what cannot be told is refused.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dann_transfer.texts.frames import is_blank, is_missing, show
from dann_transfer.texts.places import Fault, Places, checked

MARK = "__label__"
"""What begins a label in fastText's files."""

# fastText separates words by any white space.
_LABEL = re.compile(rf"(?<!\S){MARK}(\S+)")
_MARKED = re.compile(rf"(?<!\S)(?:{MARK}|__comment__)\S+\s?")
_ANSWERS = {"accept", "reject", "ignore"}


@dataclass
class Answers:
    """Labels, the row of each, and how many answers of annotators are left out, by the reason."""

    rows: list[int] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def columns_beside(label: str) -> list[str]:
    """Return the columns that say more about a label than its own does, if they are there."""
    flat = [f"{label}.responses", f"{label}.responses.status"]
    return ["answer", "accept", "annotations", "responses", *flat]


def lifted(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of JSON with its texts on top, where a tool puts them one level down."""
    for inner, answers in (("data", "annotations"), ("fields", "responses")):
        if isinstance(row.get(inner), dict) and answers in row:
            return {**row[inner], **row}
    return row


def fasttext_rows(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each line of fastText that is not blank, and its text and labels.

    doccano writes such lines as CSV, in which quotes may enclose a text of several lines.

    Examples
    --------
    >>> list(fasttext_rows(["__label__pos a fine film\\n", "dull\\n"]))
    [(1, {'text': 'a fine film', 'label': ['pos']}), (2, {'text': 'dull', 'label': []})]

    """
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        if line.startswith(f'"{MARK}'):
            while line.count('"') % 2 and (more := next(numbered, None)) is not None:
                line += more[1]
            line = next(csv.reader(io.StringIO(line, newline=""), delimiter="\x1f", strict=True))[0]
        elif not line.strip():
            continue
        text = _MARKED.sub("", line).strip()
        yield number, {"text": text, "label": _LABEL.findall(line)}


def answers_of(columns: Mapping[str, Sequence[Any]], label: str, places: Places) -> Answers | None:
    """Return the label of each row that has one, None where it is missing.

    If there is neither a column of labels nor one of a tool's answers, the result is None.

    Parameters
    ----------
    columns : mapping of str to sequence
        The label's column and those of `columns_beside`, as far as they are there.
    label : str
        The name of the label's column, of Label Studio's control or of Argilla's question.
    places : Places

    Raises
    ------
    TypeError, ValueError
        If a row has several labels, or what it has cannot be read as one.

    """
    annotations = columns.get("annotations", ())
    if all(map(_is_label_studio, annotations)) and any(map(len, annotations)):
        return _label_studio(annotations, label, places)
    flat = columns.get(f"{label}.responses")
    if flat is not None:
        return _argilla(flat, columns.get(f"{label}.responses.status"), places)
    if label not in columns and any(isinstance(v, dict) for v in columns.get("responses", ())):
        raise ValueError(
            f"{places.fault([0], 'is a record of Argilla')}; it holds discarded answers like "
            "submitted ones. Export dataset.records.to_datasets().to_json(path) instead, whose "
            "columns say which is which."
        )
    # Prodigy's choices stand in "accept".
    values = columns.get(label, columns.get("accept"))
    if values is None:
        return None
    answers = Answers(list(range(len(values))), list(values))
    verdicts = ["none" if is_blank(v) else str(v) for v in columns.get("answer", ())]
    if _ANSWERS.issuperset({*verdicts} - {"none"}) and {*verdicts} != {"none"} and verdicts:
        answers.rows = [i for i, verdict in enumerate(verdicts) if verdict == "accept"]
        answers.labels = [values[i] for i in answers.rows]
        answers.left_out = Counter(f'answer "{v}"' for v in verdicts if v != "accept")
    _single(answers, places)
    return answers


def _single(answers: Answers, places: Places) -> None:
    """Turn labels in lists and objects into single ones; leave out what was not submitted."""
    lists = [_listed(value) for value in answers.labels]
    kept = [i for i, value in enumerate(lists) if value is not _WITHDRAWN]
    answers.left_out["not submitted"] += len(lists) - len(kept)
    answers.rows = [answers.rows[i] for i in kept]
    answers.labels = checked([lists[i] for i in kept], _one, places.at(answers.rows))
    answers.left_out = +answers.left_out


_WITHDRAWN = object()


def _listed(value: Any) -> Any:
    """Return the labels of a cell as a list if it holds several or a tool's form of one."""
    if isinstance(value, str) and value.startswith('{"choices"'):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return value
    if isinstance(value, dict):
        if "choices" in value:
            return list(value["choices"])
        if "value" in value:
            submitted = value.get("status") in (None, "submitted")
            return _listed(value["value"]) if submitted else _WITHDRAWN
        return value
    if hasattr(value, "tolist") and getattr(value, "ndim", 0) == 1:
        value = value.tolist()
    if isinstance(value, list | tuple):
        items = [_listed(item) for item in value]
        kept = [item for item in items if item is not _WITHDRAWN]
        return _WITHDRAWN if items and not kept else kept
    return value


def _one(value: Any) -> Any:
    """Return the one label of a row, or None."""
    if isinstance(value, list):
        if not value:
            return None
        if isinstance(value[0], list | dict):
            what = f"is {show(value)}, spans or numbers of labels and not a class of the whole text"
            raise Fault(ValueError, what, "export the project's classes of texts by name.")
        if len(set(map(str, value))) > 1:
            raise Fault(
                ValueError,
                f"is {show(value)}, several labels",
                "a text has one class here. Remove these rows; or, for several labels a text, read "
                "the file with pandas and pass its lists as y.",
            )
        return value[0]
    return value


def _is_label_studio(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(a, dict) and "result" in a for a in value)


def _label_studio(
    annotations: Sequence[list[dict[str, Any]]], label: str, places: Places
) -> Answers:
    """Return one row an annotation, as Label Studio's own CSV has them."""
    answers = Answers()
    results = [r for task in annotations for a in task for r in a["result"]]
    controls = sorted({r.get("from_name", "") for r in results if "choices" in r.get("value", ())})
    control = label if label in controls else controls[0] if len(controls) == 1 else None
    if control is None:
        raise ValueError(
            f"{places.fault([0], 'is a task of Label Studio')}; the labels of texts stand in the "
            f"controls {controls}, and {label!r} is none of them. Name one as the label's column."
        )
    for row, task in enumerate(annotations):
        valid = [a for a in task if not a.get("was_cancelled")]
        answers.left_out["skipped"] += len(task) - len(valid)
        if not task:
            answers.rows.append(row)
            answers.labels.append(None)
        for annotation in valid:
            choices = [
                choice
                for result in annotation["result"]
                if result.get("from_name", "") == control
                for choice in result["value"].get("choices", ())
            ]
            answers.rows.append(row)
            answers.labels.append(choices)
    _single(answers, places)
    return answers


def _argilla(responses: Sequence[Any], statuses: Sequence[Any] | None, places: Places) -> Answers:
    """Return one row a submitted response, or none for a record that has no response."""
    answers = Answers()
    for row, values in enumerate(responses):
        values = [] if is_missing(values) else list(values)
        states = None if statuses is None else statuses[row]
        states = ["submitted"] * len(values) if is_missing(states) else list(states or ())
        if not values:
            answers.rows.append(row)
            answers.labels.append(None)
        for value, state in zip(values, states, strict=True):
            if state in (None, "submitted"):
                answers.rows.append(row)
                answers.labels.append(value)
            else:
                answers.left_out[str(state)] += 1
    _single(answers, places)
    return answers
