"""Maps of features after training: `aligned.py`, and beside skada's, `mappings.py`."""

from __future__ import annotations

from statistics import mean
from typing import Any

from tables import BASELINE, heading, read, row_of

SETTINGS = ((None, None), ("transport", None), (None, 10), ("transport", 10))
MEASURES = ("a_distance", "mixing", "class_mixing")
OF_MAPPINGS = ("a_distance", "rbf_a_distance", "mixing", "class_mixing")
Runs = dict[tuple[Any, ...], dict[tuple[Any, ...], dict[str, Any]]]


def runs(method: str = "source_only", through_map: bool = False) -> Runs:
    """The four rows of each run of a method, by map and neighbours.

    Of students, those whose teacher labels the target through a map or those without one.
    """
    groups: Runs = {}
    for row in read("alignment"):
        options = row["settings"].get("method_options") or {}
        if row["method"] != method or options.get("align", False) != through_map:
            continue
        run = (row["source"], row["target"], row.get("encoder", "minilm"), row["seed"])
        groups.setdefault(run, {})[row["align"], row["neighbors"]] = row
    return groups


def gains(groups: Runs, setting: tuple[Any, ...]) -> list[float]:
    """Accuracy of a setting over the model as trained, in points, a run each."""
    plain = SETTINGS[0]
    return [
        100 * (rows[setting]["target_accuracy"] - rows[plain]["target_accuracy"])
        for rows in groups.values()
    ]


def sections() -> list[str]:
    groups = runs()
    refused = [rows for rows in groups.values() if rows[SETTINGS[0]]["refused"]]
    mapped, nearest, both = (gains(groups, setting) for setting in SETTINGS[1:])
    return [
        "## One map of the features after training",
        '`align="transport"` on source-only models, 1,000 texts of each domain for training and '
        "map, with and without the ten nearest target texts (`python benchmarks/aligned.py "
        f"--seeds 0 --set max_length=128`). Of {len(groups)} runs the estimate of class shares is "
        f"refused in {len(refused)}, and then nothing is mapped. Accuracy changes by "
        f"{mean(mapped):+.1f} points in the mean with the map (worst {min(mapped):+.1f}), by "
        f"{mean(nearest):+.1f} with the neighbours (worst {min(nearest):+.1f}) and by "
        f"{mean(both):+.1f} with both (worst {min(both):+.1f}).",
        accuracies(groups),
        "How the domains lie, on test texts: A-distance (2 for domains that a plane separates), "
        "share of the other domain among the 15 nearest texts (1 for mixed domains), and the same "
        "within classes.",
        alignments(groups),
        "Students of the same pairs, taught without a map and through one "
        "(`--method student --set 'method_options={\"align\": True}'`): accuracy and macro-F1, "
        "then with a map of the student's own features, and the A-distance and mixing with that.",
        students(),
        "The same features through the maps of skada 0.6.0, each followed by a logistic "
        "regression of the source's features, means over "
        f"{len({row['run'] for row in read('mappings')})} pairs; seconds on one thread (`python "
        "benchmarks/mappings.py`).",
        mappings(read("mappings")),
    ]


def figures() -> dict[str, str]:
    """What the map alone gains in the mean and at worst, and how the domains lie with it."""
    groups = runs()
    mapped = [rows[SETTINGS[1]] for rows in groups.values()]
    points = gains(groups, SETTINGS[1])
    ours = [row for row in read("mappings") if row["map"].startswith("align")]
    return {
        "linear": f"{mean(row['a_distance'] for row in ours):.1f}",
        "rbf": f"{mean(row['rbf_a_distance'] for row in ours):.1f}",
        "gain": f"{mean(points):+.1f}",
        "worst": f"{min(points):+.1f}",
        "a_distance": f"{max(row['a_distance'] for row in mapped):.1f}",
        "mixing": f"{min(row['mixing'] for row in mapped):.1f}",
    }


def names_of(run: tuple[Any, ...]) -> list[str]:
    """Pair, encoder if it is not the small one, and seed of a run."""
    source, target, encoder, seed = run
    return [f"{source} → {target}" + ("" if encoder == "minilm" else f", {encoder}"), str(seed)]


def accuracies(groups: Runs) -> str:
    """Accuracy and macro-F1 of each run as trained, with the map, the neighbours and both."""
    head = ["pair", "seed", "as trained", "map", "neighbours", "both", "estimate"]
    lines = heading(head)
    for run, rows in groups.items():
        scores = [
            f"{100 * rows[setting]['target_accuracy']:.1f} "
            f"({100 * rows[setting]['target_macro_f1']:.1f})"
            for setting in SETTINGS
        ]
        refused = rows[SETTINGS[0]]["refused"]
        lines.append(row_of([*names_of(run), *scores, "refused" if refused else "accepted"]))
    return "\n".join(lines)


def alignments(groups: Runs) -> str:
    """A-distance and mixing of each run without and with the map."""
    names = ("A-distance", "mixing", "mixing within classes")
    lines = heading(["pair", "seed", *names])
    for run, rows in groups.items():
        before, after = (rows[setting] for setting in SETTINGS[:2])
        cells = [f"{before[key]:.2f} → {after[key]:.2f}" for key in MEASURES]
        lines.append(row_of([*names_of(run), *cells]))
    return "\n".join(lines)


def students() -> str:
    """Students taught without a map and through one, on the pairs that have both."""
    before, plain, taught = runs(), runs("student"), runs("student", through_map=True)
    head = ["pair", "seed", BASELINE, "student", "with a map", "taught through a map"]
    lines = heading([*head, "with a map", "A-distance", "mixing"])
    for run in plain.keys() & taught.keys():
        rows = (
            before[run][SETTINGS[0]],
            *(of[run][each] for of in (plain, taught) for each in SETTINGS[:2]),
        )
        scores = [
            f"{100 * row['target_accuracy']:.1f} ({100 * row['target_macro_f1']:.1f})"
            for row in rows
        ]
        measures = [f"{rows[-1][key]:.2f}" for key in MEASURES[:2]]
        lines.append(row_of([*names_of(run), *scores, *measures]))
    return "\n".join(lines)


def mappings(rows: list[dict[str, Any]]) -> str:
    """Means of each map over pairs, and its worst change of accuracy."""
    by_map: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_map.setdefault(row["map"], {})[row["run"]] = row
    names = ["A-distance", "by a curved boundary", "mixing", "within classes"]
    lines = heading(["map", "accuracy", "worst change", *names, "seconds"])
    for name, of_map in by_map.items():
        changes = [
            100 * (row["target_accuracy"] - by_map["none"][run]["target_accuracy"])
            for run, row in of_map.items()
        ]
        cells = [
            f"{mean(row[key] for row in of_map.values()):.2f}"
            # The distance by a curved boundary came later, and for two of the maps alone.
            if all(key in row for row in of_map.values())
            else ""
            for key in OF_MAPPINGS
        ]
        accuracy = f"{100 * mean(row['target_accuracy'] for row in of_map.values()):.1f}"
        seconds = f"{mean(row['seconds'] for row in of_map.values()):.1f}"
        worst = "" if name == "none" else f"{min(changes):+.1f}"
        lines.append(row_of([name, accuracy, worst, *cells, "" if name == "none" else seconds]))
    return "\n".join(lines)
