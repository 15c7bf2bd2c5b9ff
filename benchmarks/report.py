"""Write what the studies measured into docs/results.md, README.md and the other pages of docs/.

    python benchmarks/report.py

Every number comes from a line under benchmarks/results; none is written by hand. `studies` says how
a study is added.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import studies
from studies import pairs

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results.md"
TABLE = re.compile(r"(<!-- (\w+): benchmarks/report\.py -->\n).*?(\n<!-- end of \2 -->)", re.DOTALL)
FIGURE = re.compile(r"(<!--(\w+\.\w+)-->).*?(<!--/-->)", re.DOTALL)


def returned(kind: str) -> dict[str, Any]:
    """Return what each study's function of that name returns, by the study's name."""
    functions = {name: getattr(study, kind, None) for name, study in studies.modules().items()}
    return {name: function() for name, function in functions.items() if function is not None}


@cache
def tables() -> dict[str, str]:
    return {name: text for named in returned("tables").values() for name, text in named.items()}


@cache
def figures() -> dict[str, str]:
    return {
        f"{study}.{name}": text
        for study, named in returned("figures").items()
        for name, text in named.items()
    }


def filled(page: str, tables: dict[str, str], figures: dict[str, str]) -> str:
    """Return a page with the tables and figures that its marks name."""
    page = TABLE.sub(lambda mark: f"{mark[1]}{tables[mark[2]]}{mark[3]}", page)
    return FIGURE.sub(lambda mark: f"{mark[1]}{figures[mark[2]]}{mark[3]}", page)


def results() -> str:
    """Return the page of results: the sections of all studies."""
    rows = pairs.board_rows()
    # Rows with the same time to the nanosecond come from the same training.
    trainings = {r["seconds"] for r in rows}
    parts = [
        "# Results",
        "Made by `python benchmarks/report.py` from `benchmarks/results/*.jsonl`, which `python "
        "benchmarks/board.py` and `python benchmarks/costs.py` write. Accuracies and F1 are "
        "percentages with the standard deviation over seeds; gain is over source-only with the "
        "same seeds, in points, with its 95 % interval over seeds (Student's t). `target_trained` "
        "is trained on the target's own labels. A row with one seed shows only a direction. Rows "
        "of the small encoder, except those of `student`, were measured before the random streams "
        "of a seed changed (see CHANGELOG.md): a seed draws different numbers today, from the same "
        "distribution. Rows of methods with two phases (`student`, `shot`, `adda` and combinations "
        "of them) were measured before their source phase became the same with and without a "
        "target, which changes its batches; rows of a student, with ten neighbours whatever the "
        "sizes of classes. All runs have three epochs, which a thousand texts of two classes still "
        "have by default; fewer texts and more classes have more today.",
        *(part for sections in returned("sections").values() for part in sections),
        f"{len(rows)} runs from {len(trainings)} trainings, {sum(trainings) / 60:.0f} minutes of "
        "training in all (several pairs share baselines). The seconds in the rows were measured "
        "while other work shared the machine; `benchmarks/speed.py` measures speed.",
    ]
    return "\n\n".join(parts) + "\n"


def pages() -> dict[Path, str]:
    """Return what every page but that of results should be, by its path."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    texts = {path: path.read_text(encoding="utf-8") for path in paths if path != RESULTS}
    return {path: filled(text, tables(), figures()) for path, text in texts.items()}


def main() -> None:
    for path, text in {RESULTS: results(), **pages()}.items():
        path.write_text(text, encoding="utf-8")
    for pictures in returned("pictures").values():
        for name, (figure, dpi) in pictures.items():
            figure.savefig(ROOT / "docs" / f"{name}.png", dpi=dpi)


if __name__ == "__main__":
    main()
