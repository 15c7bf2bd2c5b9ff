"""Students of the source-only models that the board ran, without training their teachers again.

    python benchmarks/board.py --encoder mpnet --methods source_only --train-texts 1000
        --test-texts 1000 --seeds 0 --outputs runs/outputs --out benchmarks/results/base.jsonl
    python benchmarks/students.py --encoder mpnet --train-texts 1000 --test-texts 1000
        --outputs runs/outputs --out benchmarks/results/base.jsonl

Method "student" trains a model on the source, labels the target with it and trains a student on
these labels. The board's source-only run has already trained the first model and stored its outputs
for the target's texts (features in half precision), so this script trains only the student. Its row
goes into the file as a row of the method itself, with the seconds of the student alone.

With --teacher mcc, the outputs of that method's run teach instead of source-only's. With --members
0 1 2, the students of these seeds, which must be among the outputs, together teach a final student.
The members of a run with method_options={"members": 3} share one seed instead, so their heads start
alike; the settings of a row name the seeds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import board
import boards
import numpy as np
from dann_transfer.decision import labels
from dann_transfer.diagnostics import proxy_a_distance
from sklearn.metrics import accuracy_score, f1_score

from dann_transfer import methods
from dann_transfer.methods.student import neighbor_labels


def together(files: list[Path]) -> dict[str, np.ndarray]:
    """Return the last run's features of target-train texts and the mean prediction of all runs."""
    made = [np.load(file) for file in files]
    return {
        "features": made[-1]["target_train.features"].astype(np.float32),
        "probabilities": np.mean([one["target_train.probabilities"] for one in made], 0),
    }


def run(
    student: dict[str, Any],
    files: list[Path],
    params: dict[str, Any],
    outputs: Path | None = None,
) -> dict[str, Any]:
    """Train a student, given its row so far and its teachers' outputs."""
    settings, encoder = student["settings"], student.get("encoder", "minilm")
    splits = boards.load(student["board"], boards.Sample.of(settings))
    source, target = splits[student["source"]], splits[student["target"]]
    k = methods.create("student", params.get("method_options")).neighbors
    codes = neighbor_labels(**together(files), k=k)
    classes = np.unique(source.train[1])
    own = {**params, "method_options": None, "validation_fraction": 0}
    adapter = board._adapter("source_only", student["seed"], own, encoder)
    folder = outputs and outputs.parent / "checkpoints" / outputs.stem
    seconds = board._fit(adapter, folder, target.unlabelled, classes[codes])
    X_test, y_test = source.own_test or source.test
    T_test, t_test = target.test
    # A class that no label has still gets a column, as in the method itself.
    columns = np.searchsorted(classes, adapter.classes_)

    def outputs_of(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        features, p = adapter.outputs(texts)
        whole = np.zeros((len(p), len(classes)))
        whole[:, columns] = p
        return features, whole

    seen = {"source_test": outputs_of(X_test), "target_test": outputs_of(T_test)}
    if outputs is not None:
        board._keep(outputs, {**seen, "target_train": outputs_of(target.unlabelled)})
    predicted = {name: labels(p, classes) for name, (_, p) in seen.items()}
    return {
        **student,
        "target_accuracy": accuracy_score(t_test, predicted["target_test"]),
        "target_macro_f1": f1_score(t_test, predicted["target_test"], average="macro"),
        "source_accuracy": accuracy_score(y_test, predicted["source_test"]),
        "a_distance": proxy_a_distance(seen["source_test"][0], seen["target_test"][0]),
        "domain_accuracy": None,
        "seconds": seconds,
        "teacher": "outputs of other runs",
        **board.made_with(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--board", choices=boards.DOMAINS, default="sentiment")
    parser.add_argument("--pairs", nargs="+", help="source:target ...; default: all that ran")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--teacher", default="source_only", help="the method that teaches")
    parser.add_argument("--members", nargs="+", type=int, help="seeds of students that teach")
    boards.add_sample(parser, 2400)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--encoder", default="minilm", help="a name that datasets.encoder knows")
    parser.add_argument("--outputs", type=Path, default=Path("runs/outputs"))
    parser.add_argument("--out", type=Path, required=True, help="the file with the board's rows")
    args = parser.parse_args()
    params = board.COMMON | board.params_of(args.set)
    sample = boards.sample_of(args)
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    done = {board.key_of(json.loads(line)) for line in lines}

    def row_of(pair: str, method: str, seed: int, **more: Any) -> dict[str, Any]:
        source, target = pair.split(":")
        row = {"board": args.board, "source": source, "target": target, "seed": seed}
        if args.encoder != "minilm":
            row["encoder"] = args.encoder
        settings = {**board.settings_of(method, sample, params, args.encoder), **more}
        return {**row, "method": method, "settings": settings}

    def file_of(row: dict[str, Any]) -> Path:
        return Path(args.outputs) / f"{board.name_of(row)}.npz"

    for seed in args.seeds:
        for pair in args.pairs or [":".join(pair) for pair in boards.pairs(args.board)]:
            files: list[Path] = [file_of(row_of(pair, args.teacher, seed))]
            more: dict[str, Any] = {}
            if args.teacher != "source_only":
                more = {"taught_by": args.teacher}
            if args.members:
                files = [file_of(row_of(pair, "student", member)) for member in args.members]
                more = {"taught_by_students_of_seeds": args.members}
            student = row_of(pair, "student", seed, **more)
            if board.key_of(student) in done or not all(file.exists() for file in files):
                continue
            row = run(student, files, params, file_of(student))
            with args.out.open("a") as out:
                out.write(json.dumps(row) + "\n")
            keys = ("source", "target", "seed", "target_accuracy", "a_distance", "seconds")
            print({key: row[key] for key in keys}, params, more, flush=True)


if __name__ == "__main__":
    main()
