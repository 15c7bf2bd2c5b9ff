"""Score a fitted adapter on labelled texts: accuracy, calibration and coverage, also by group."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dann_transfer.adapter import DomainAdapter
from dann_transfer.ground.checks import check_threshold
from dann_transfer.judging import tables
from dann_transfer.judging.answering import in_order
from dann_transfer.judging.decision import calibration_error, coverage_curve
from dann_transfer.judging.gains import Answers, accuracy_rows
from dann_transfer.judging.scores import OF_ORDER, macro_f1, open_set, several_scores
from dann_transfer.judging.tables import Table
from dann_transfer.texts.labels import encode_labels, with_unknown
from dann_transfer.texts.reading import as_groups, as_labelled
from dann_transfer.texts.several import marks_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured.

    Attributes
    ----------
    names : ndarray, shape (classes,)
        The labels; with `unknown`, it is the last of them.
    codes : ndarray of int, shape (n,)
        True class positions.
    probabilities : ndarray, shape (n, classes)
        Of the source's classes.
    group_names : ndarray, shape (n,), or None
    abstain_below : float
    new : ndarray of bool, shape (n,), optional
        Which texts are answered with `unknown`.
    ranks : ndarray of int, shape (classes,), optional
        The rank of each class, from 0 for the lowest, where classes are ordered.

    """

    names: np.ndarray
    codes: np.ndarray
    probabilities: np.ndarray
    group_names: np.ndarray | None
    abstain_below: float
    new: np.ndarray | None = None
    ranks: np.ndarray | None = None

    @property
    def answers(self) -> Answers:
        """Which texts are predicted correctly, and with what confidence."""
        return Answers.of(self.probabilities, self.codes, self.new, self.ranks)

    @property
    def _of_source(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and codes of the texts of the source's classes."""
        rows = self.codes < self.probabilities.shape[1]
        return self.probabilities[rows], self.codes[rows]

    def scores(self) -> dict[str, float]:
        """Return accuracy, macro-F1, calibration error, coverage and accuracy of covered texts.

        Accuracy and F1 are of all texts; the accuracy of covered texts is NaN if there are none.
        With `unknown`, a text of a new class is right if it is answered so, and `scores.open_set`
        says what else there is; calibration and coverage are of texts of the source's classes. With
        `ordinal` there are the mean absolute error, in steps between classes, and quadratic kappa.
        """
        p, codes = self._of_source
        if not len(codes):
            raise ValueError("no text has a label of the source's classes; pass some that do.")
        within = Answers.of(p, codes, ranks=self.ranks)
        covered = within.confidence >= self.abstain_below
        answers = self.answers
        scores = {
            "texts": len(self.codes),
            "accuracy": float(answers.hits.mean()),
            "macro_f1": macro_f1(self.codes, answers.predicted),
            "calibration_error": calibration_error(p, codes),
            "coverage": float(covered.mean()),
            "covered_accuracy": float(within.hits[covered].mean()) if covered.any() else np.nan,
        }
        if self.ranks is not None:
            both = in_order(self.codes, self.ranks), in_order(answers.predicted, self.ranks)
            scores |= {name: score(*both) for name, score in OF_ORDER.items()}
        if self.new is not None:
            scores |= open_set(self.codes, answers.predicted, self.probabilities.shape[1])
        return scores

    def curve(self) -> Any:
        """Return accuracy against coverage: `decision.coverage_curve`."""
        return coverage_curve(*self._of_source, self.ranks)

    def summary(self) -> str:
        """Describe in a few sentences how good the model is on these texts."""
        s = self.scores()
        text = self._summary_of_source(s)
        if self.new is None or not (self.codes == self.probabilities.shape[1]).any():
            return text
        return (
            f"{text} Of the texts of the source's classes, {s['known_accuracy']:.1%} are right, "
            f"and of those of new classes, {s['new_recall']:.1%} are answered "
            f"{self.names.tolist()[-1]!r}: H-score {s['h_score']:.3f}."
        )

    def _summary_of_source(self, s: dict[str, float]) -> str:
        text = (
            f"{s['accuracy']:.1%} of {s['texts']:,} texts are right; macro-F1 is "
            f"{s['macro_f1']:.3f}. Probabilities are off by {100 * s['calibration_error']:.1f} "
            f"points on average. At a probability of {self.abstain_below:g} or more, "
            f"{s['coverage']:.1%} of the texts are answered"
        )
        text = (
            f"{text}." if not s["coverage"] else f"{text}, {s['covered_accuracy']:.1%} correctly."
        )
        if self.ranks is None:
            return text
        return (
            f"{text} Answers are {s['mean_absolute_error']:.2f} classes off on average; quadratic "
            f"kappa is {s['quadratic_kappa']:.3f}."
        )

    def tables(self) -> list[Table]:
        """Return the scores of each class as a table to read, and of each group if there are."""
        shown = [tables.classes(self.classes().to_dict("records"))]
        if self.group_names is not None:
            shown.append(tables.groups(self.groups().to_dict("records")))
        return shown

    def __repr__(self) -> str:
        return "\n".join([self.summary(), *map(str, self.tables())])

    def _repr_html_(self) -> str:
        return tables.page([self.summary(), *self.tables()])

    def classes(self) -> pd.DataFrame:
        """Return precision, recall, F1 and number of texts of each class, in their order if any."""
        import pandas as pd
        from sklearn.metrics import precision_recall_fscore_support

        columns = precision_recall_fscore_support(
            self.codes,
            self.answers.predicted,
            labels=np.arange(len(self.names)),
            zero_division=0,
        )
        head = ("precision", "recall", "f1", "texts")
        frame = pd.DataFrame({"class": self.names, **dict(zip(head, columns, strict=True))})
        return frame if self.ranks is None else frame.iloc[self.ranks.argsort()]

    def groups(self) -> pd.DataFrame:
        """Return texts, accuracy with its 95 % interval, and coverage of each group."""
        import pandas as pd

        if self.group_names is None:
            raise ValueError("pass groups to evaluate, one for each text.")
        return pd.DataFrame(accuracy_rows(self.group_names, self.answers, self.abstain_below))


@dataclass(frozen=True, repr=False)
class SeveralEvaluation(Evaluation):
    """What `evaluate` measured where a text has several labels.

    Attributes
    ----------
    codes : ndarray of 0 and 1, shape (n, labels)
        The labels that each text has.
    probabilities : ndarray, shape (n, labels)
    thresholds : ndarray, shape (labels,)
        The probability from which each label is predicted.

    """

    thresholds: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def answers(self) -> Answers:
        """Refused: there is no single answer to a text."""
        raise ValueError("a text has several labels here, and no single answer; see scores().")

    @property
    def predicted(self) -> np.ndarray:
        """The predicted labels, shape (n, labels), 0 and 1."""
        return (self.probabilities >= self.thresholds).astype(np.uint8)

    def scores(self) -> dict[str, float]:
        """Return the number of texts, micro-F1, macro-F1 and subset accuracy.

        Subset accuracy is the share of texts that have exactly the labels that are predicted.
        """
        return {"texts": len(self.codes), **several_scores(self.codes, self.predicted)}

    def curve(self) -> Any:
        """Refused, as `answers` is."""
        return self.answers

    def groups(self) -> pd.DataFrame:
        """Refused, as `answers` is."""
        raise ValueError("groups take one class a text, and a text has several labels here.")

    def summary(self) -> str:
        """Describe in a sentence how good the model is on these texts."""
        s = self.scores()
        return (
            f"{s['subset_accuracy']:.1%} of {s['texts']:,} texts have exactly the predicted "
            f"labels; micro-F1 is {s['micro_f1']:.3f}, macro-F1 {s['macro_f1']:.3f}."
        )

    def classes(self) -> pd.DataFrame:
        """Return precision, recall, F1 and number of texts of each label."""
        import pandas as pd
        from sklearn.metrics import precision_recall_fscore_support

        columns = precision_recall_fscore_support(self.codes, self.predicted, zero_division=0)
        head = ("precision", "recall", "f1", "texts")
        return pd.DataFrame({"class": self.names, **dict(zip(head, columns, strict=True))})


def _evaluate_several(adapter: DomainAdapter, X: Any, y: Any, domain: Any) -> SeveralEvaluation:
    """Score a model that gives several labels a text."""
    fitted = adapter.fitted_
    assert fitted.form is not None
    assert fitted.thresholds is not None
    columns = adapter.text_column, adapter.label_column
    texts, marks = marks_of(X, y, "X", "y", columns, fitted.classes, fitted.form)
    p = adapter.predict_proba(texts, domain)
    return SeveralEvaluation(fitted.classes, marks, p, None, 0.0, thresholds=fitted.thresholds)


def evaluate(
    adapter: DomainAdapter,
    X: Any,
    y: Any = None,
    groups: Any = None,
    abstain_below: float = 0.8,
    domain: Any = "target",
) -> Evaluation:
    """Score a fitted adapter on labelled texts.

    Parameters
    ----------
    adapter : DomainAdapter
        Fitted.
    X : sequence, table, Domain or path
        Texts that training has not seen.
    y : sequence, optional
        Their labels, where X does not carry them. Texts of classes that the source does not have
        need the label that the fit's `unknown` names.
    groups : sequence or str, optional
        The group of each text, or the column of X that holds it.
    abstain_below : float
        A text is covered if its answer's probability is at least this.
    domain : {"target", "source"}, or sequence of these, shape (n,)
        Where the texts are from, as for ``DomainAdapter.outputs``.

    Returns
    -------
    Evaluation
        Or a `SeveralEvaluation`, if the model gives several labels a text; it has neither groups
        nor coverage.

    Raises
    ------
    TypeError, ValueError
        On bad input.

    Examples
    --------
    ```python
    result = evaluate(adapter, tweets, labels, groups=dialects)
    print(result.summary())
    result.groups()
    ```

    """
    check_threshold("abstain_below", abstain_below)
    if adapter.form_ is not None:
        if groups is not None:
            adapter.fitted_.refuse_several("groups")
        return _evaluate_several(adapter, X, y, domain)
    texts, labels = as_labelled(X, y, "X", "y", adapter.text_column, adapter.label_column)
    codes = encode_labels(labels, adapter.classes_, "y", adapter.unknown)
    names = None if groups is None else as_groups(groups, X, "groups", "X", len(texts))
    outputs = adapter.outputs(texts, domain)
    new, unknown = adapter.new_classes(outputs, domain)
    classes = with_unknown(adapter.classes_, unknown)
    p, ranks = outputs.probabilities, adapter.fitted_.ranks
    return Evaluation(classes, codes, p, names, abstain_below, new, ranks)
