from __future__ import annotations

import re

import numpy as np
import pytest

from dann_transfer.comparison import Comparison
from dann_transfer.evaluation import Evaluation
from dann_transfer.judging import tables
from dann_transfer.judging.gains import Answers
from dann_transfer.search import Search

METRICS = ("accuracy", "macro_f1", "balanced_accuracy", "mean_absolute_error", "quadratic_kappa")
SCORES = {
    f"{domain}_{metric}": -0.51234 if metric.startswith("neg") else 0.51234
    for domain in ("source", "target")
    for metric in (*METRICS, "neg_mean_absolute_error", "neg_mean_squared_error")
}
ROWS = [
    {"method": method, "seed": seed, "seconds": 12.3, **SCORES, "a_distance": None, "mixing": 0.25}
    | {"gain_error": 0.01, "shared_seconds": 0.0, "domain_accuracy": None}
    for seed in (0, 1)
    for method in ("source_only", "mlm+self_training")
]
SURE = Answers(np.array([1.0, 0, 1, 1]), np.full(4, 0.9))
UNSURE = Answers(np.array([1.0, 0, 0, 1]), np.full(4, 0.5))


class Classes:
    classes_ = np.array(["no", "yes"])


def compared(metric: str = "accuracy") -> Comparison:
    answers = {
        (row["method"], row["seed"]): UNSURE if row["method"] == "source_only" else SURE
        for row in ROWS
    }
    adapters = {row["method"]: Classes() for row in ROWS}
    groups = np.array(["a group with a long name <b>", "b", "b", "c"])
    return Comparison(ROWS, adapters, answers, groups, metric)  # type: ignore[arg-type]


def evaluated() -> Evaluation:
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    return Evaluation(np.array(["no", "<b>"]), np.array([0, 1, 1]), p, np.array(list("aab")), 0.8)


def searched() -> Search:
    shares = {"positive": 0.5, "negative": 0.3, "neutral": 0.15, "mixed": 0.05}
    rows = [
        {"run": 0, "method": "source_only", "score": 0.4, "source_validation": 0.9,
         "predicted": shares, "seconds": 3.0, "failed": None},
        {"run": 1, "method": "dann", "learning_rate": 0.0000123, "score": 0.5,
         "source_validation": 0.8, "predicted": shares, "seconds": 3.0, "failed": None},
        {"run": 2, "method": "dann", "learning_rate": 1.0, "score": None,
         "source_validation": None, "predicted": None, "seconds": None, "failed": "rate <b>"},
    ]  # fmt: skip
    params = {"method": "dann", "learning_rate": 0.0000123}
    return Search(rows, "information_maximization", None, params)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "result",
    [
        compared(),
        compared("balanced_accuracy"),
        compared("neg_mean_squared_error"),
        compared("neg_mean_absolute_error"),
        evaluated(),
        searched(),
    ],
    ids=["compare", "by another score", "by a scorer", "by steps", "evaluate", "tune"],
)
def test_every_result_is_a_table_that_fits_a_terminal(result):
    text = str(result)
    assert text == repr(result)
    drawn = [line for table in result.tables() for line in str(table).splitlines()]
    assert max(map(len, drawn)) <= tables.WIDTH
    for sign in ("…", "None", "nan", "{"):
        assert sign not in text
    assert not re.search(r"-0\.0+\b", text)
    page = result._repr_html_()
    assert "<table>" in page
    assert "<b>" not in page


def test_what_the_tables_say():
    result = compared()
    assert all(verdict in str(result) for verdict in result.verdicts())
    scores, gains = result.tables()
    assert "target\naccuracy" in scores.measured()
    # No A-distance was measured.
    assert "A-\ndistance" not in scores.measured()
    assert gains.title == "What mlm+self_training gains over source_only in each group"
    assert gains.measured()["gain\n(points)"][0] == "+50.0 ± 100.0"
    assert scores.measured()["target\naccuracy"] == ["51.2%"] * 4
    (runs,) = searched().tables()
    assert runs.measured()["run"] == ["1", "0", "2"]
    assert runs.measured()["settings"][0] == "method=dann, learning_rate=1.23e-05"
    assert runs.measured()["predicted"][0] == "positive 50%, negative 30%, neutral 15% and 1 more"
    assert tables.Table({"name": ["[red]"]}, ["name"]).columns["name"][0] in str(
        tables.Table({"name": ["[red]"]}, ["name"])
    )
