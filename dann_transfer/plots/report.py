"""One offline page about a fitted adapter: what was trained, and its predictions on texts."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from sklearn.utils.validation import check_is_fitted

from dann_transfer._version import __version__
from dann_transfer.adapter import DomainAdapter
from dann_transfer.evaluation import Evaluation, evaluate
from dann_transfer.ground.checks import check_number
from dann_transfer.ground.folders import write_whole
from dann_transfer.ground.notices import each_once
from dann_transfer.ground.settings import public_name
from dann_transfer.judging.answering import answered, confidence_of
from dann_transfer.judging.decision import labels
from dann_transfer.judging.diagnostics import FEWEST
from dann_transfer.judging.gains import by_group, gain_error
from dann_transfer.plots.alignment import AlignmentDisplay
from dann_transfer.plots.maps import LayoutError
from dann_transfer.plots.predictions import (
    ConfusionDisplay,
    CoverageDisplay,
    ReliabilityDisplay,
)
from dann_transfer.plots.training import TrainingDisplay
from dann_transfer.texts.frames import is_missing
from dann_transfer.texts.reading import Domain, EmptyTextWarning, as_domain, as_groups
from dann_transfer.training.history import ends_on_target

REASONS = 3
"""At most this many reasons are shown for a text, the strongest."""


def _picture(figure: Any, what: str) -> dict[str, str]:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight")
    finally:
        plt.close(figure)
    return {"what": what, "data": base64.b64encode(buffer.getvalue()).decode()}


def _training(models: dict[str, DomainAdapter]) -> list[dict[str, str]]:
    return [
        _picture(
            TrainingDisplay.from_estimator(adapter).plot().figure_,
            f"{title}: losses, and what the method measures itself, over the steps. Grey lines are "
            "ends of epochs.",
        )
        for title, adapter in models.items()
    ]


def _map(
    models: dict[str, DomainAdapter], source: Domain, target: Domain, names: tuple[str, str]
) -> dict[str, str]:
    """Return a map of both domains in each model's features, or why there is none."""
    try:
        display = AlignmentDisplay.from_estimator(models, source, target, names)
    except LayoutError as error:
        return {"what": f"There is no map: {error}", "data": ""}
    figure = display.plot().figure_
    return _picture(figure, f"Texts of {names[0]} and {names[1]}: near points have like features.")


def _held_out(adapter: DomainAdapter, names: tuple[str, str]) -> dict[str, Any] | None:
    """Return the accuracy on held-out source texts by epoch, and why it may fall."""
    rows = [(row["epoch"], row["validation_accuracy"]) for row in adapter.validation_]
    if not rows:
        return None
    note = ""
    if ends_on_target(adapter.history_):
        last = max(row["epoch"] for row in adapter.history_ if "task_loss" in row)
        note = (
            f"After epoch {last} the model learns from the target alone ({names[1]}), for which it "
            f"is meant; a fall on the source ({names[0]}) is to be expected."
        )
    return {"rows": rows, "note": note}


def _classes(adapter: DomainAdapter, names: tuple[str, str]) -> dict[str, Any]:
    head = ["class", f"share of {names[0]}"]
    columns: list[Sequence[Any]] = [adapter.classes_.tolist(), adapter.source_prior_.tolist()]
    if adapter.target_shares_:
        head.append(f"share of predictions on {names[1]}")
        columns.append(list(adapter.target_shares_.values()))
    for name, prior in adapter.target_prior_.items():
        head.append(f"prior of {names[1]} by {name.upper()}")
        columns.append(prior.tolist())
    return {"head": head, "rows": list(zip(*columns, strict=True))}


def _examples(
    adapter: DomainAdapter, texts: list[str], p: np.ndarray, n: int
) -> list[Sequence[Any]]:
    """Return the surest and the least sure texts, with label and its probability."""
    ranks = adapter.fitted_.ranks
    sure = confidence_of(p, answered(p, ranks))
    order = np.argsort(-sure, kind="stable")
    places = [*order[:n], *order[max(n, len(order) - n) :]]
    predicted = labels(p, adapter.classes_, ranks=ranks).tolist()
    return [(texts[i], predicted[i], float(sure[i])) for i in places]


def _known(adapter: DomainAdapter, examples: list[Sequence[Any]] | None) -> list[Sequence[Any]]:
    """Return what knowledge says about the listed texts: text, class, weight, what and why."""
    if adapter.knowledge_ is None or examples is None:
        return []
    return [
        (text, *reason)
        for text in dict.fromkeys(str(row[0]) for row in examples)
        for reason in adapter.knowledge_.explain(text)[:REASONS]
    ]


def _scores(evaluations: dict[str, Evaluation], source: dict[str, float | None]) -> dict[str, Any]:
    """Return scores of models on labelled target texts: without adaptation, and the model.

    Parameters
    ----------
    evaluations : dict of str to Evaluation
        By the model's title; the model itself is last.
    source : dict of str to float or None
        Each model's accuracy on source texts, if these have labels.

    """
    gain, after, before = "", [*evaluations.values()][-1], None
    shown = {title: each.probabilities for title, each in evaluations.items()}
    if len(evaluations) > 1:
        before = next(iter(evaluations.values()))
        points = 100 * (after.scores()["accuracy"] - before.scores()["accuracy"])
        error = gain_error(after.answers.hits, before.answers.hits)
        gain = (
            f"Without adaptation {before.scores()['accuracy']:.1%} are right: a gain of "
            f"{points:+.1f} points ± {200 * error:.1f}."
        )
    pictures = [
        _picture(
            ConfusionDisplay.from_predictions(after.names, after.codes, {title: p}).plot().figure_,
            f"Which classes are confused: {title}",
        )
        for title, p in shown.items()
    ]
    for display, what in (
        (CoverageDisplay, "Accuracy over the share of texts that are answered"),
        (ReliabilityDisplay, "Accuracy over confidence"),
    ):
        pictures.append(_picture(display.from_predictions(after.codes, shown).plot().figure_, what))
    rows = None
    if after.group_names is not None:
        rows = after.groups().to_dict("records")
        if before is not None:
            names, threshold = after.group_names, after.abstain_below
            rows = by_group(names, [before.answers], [after.answers], threshold)
    models = []
    for title, each in evaluations.items():
        row: dict[str, Any] = {"model": title, **each.scores()}
        del row["texts"]
        if source[title] is not None:
            row["accuracy_on_the_source"] = source[title]
        models.append(row)
    return {
        "summary": after.summary(),
        "gain": gain,
        "models": models,
        "classes": after.classes().to_dict("records"),
        "groups": rows,
        "pictures": pictures,
    }


def _source_accuracies(
    models: dict[str, DomainAdapter], source: Domain | None
) -> dict[str, float | None]:
    """Return each model's accuracy on source texts, None where these have no labels."""
    if source is None or source.labels is None or any(map(is_missing, source.labels)):
        return dict.fromkeys(models)
    labels = [str(label) for label in source.labels]
    return {
        title: float(
            np.mean(
                [
                    str(x) == y
                    for x, y in zip(
                        model.predict(source.texts, domain="source"), labels, strict=True
                    )
                ]
            )
        )
        for title, model in models.items()
    }


def _public_params(adapter: DomainAdapter) -> dict[str, Any]:
    """Return the parameters of a fit as it resolved them, without the places of files."""
    params = dict(adapter.params_)
    params |= {"max_strength": adapter.max_strength_, "random_state": adapter.seed_}
    params["learning_rate"] = adapter.learning_rate_
    # A page may be passed on, and where files lie is of no use to others.
    params["encoder"] = public_name(params["encoder"])
    params.pop("checkpoint_dir", None)
    return params


@each_once()
def report(
    adapter: DomainAdapter,
    path: str | PathLike[str],
    source: Any = None,
    target: Any = None,
    examples: int = 8,
    groups: Sequence[Any] | str | None = None,
    baseline: DomainAdapter | None = None,
    names: tuple[str, str] = ("source", "target"),
) -> Path:
    """Write settings, history, class shares and, if texts are passed, a map and examples.

    Parameters
    ----------
    adapter : DomainAdapter
        Fitted.
    path : str or path
        The HTML file to write. It appears whole or not at all, and makes no network requests.
    source, target : Domain, table or texts, optional
        Texts to show, preferably unseen in training. The map needs at least ten of both.
    examples : int
        The number of most certain and of least certain target texts to list.
    groups : sequence or str, optional
        The group of each target text, or the column of `target` that holds it. If `target` has
        labels, accuracy and coverage are shown by group.
    baseline : DomainAdapter, optional
        The model without adaptation, fitted. It is shown next to the other one, with gains over it,
        also by group.
    names : pair of str
        Names of the two domains.

    Raises
    ------
    TypeError, ValueError
        On bad input, and if `baseline` has other classes.

    Returns
    -------
    Path

    """
    check_is_fitted(adapter)
    check_number(f"examples={examples!r}", examples, 0, whole=True)
    if baseline is not None:
        check_is_fitted(baseline)
        if not np.array_equal(baseline.classes_, adapter.classes_):
            raise ValueError(
                f"the baseline has the classes {baseline.classes_.tolist()}, not "
                f"{adapter.classes_.tolist()}; fit it on the same labels."
            )
    columns = adapter.text_column, adapter.label_column
    one = None if source is None else as_domain(source, names[0], *columns)
    two = None if target is None else as_domain(target, names[1], *columns)
    labelled = two is not None and two.labels is not None
    if not labelled and (groups is not None or baseline is not None):
        raise ValueError("groups and baseline need a target with labels: Domain(texts, labels).")
    params = _public_params(adapter)
    models = {str(params["method"]): adapter}
    if baseline is not None:
        models = {"without adaptation": baseline, **models}
    listed = shown = scores = None
    with warnings.catch_warnings():
        # Empty texts have been named already.
        warnings.simplefilter("ignore", EmptyTextWarning)
        if two is not None and labelled:
            if isinstance(groups, str):
                groups = as_groups(groups, target, "groups", "target", len(two.texts)).tolist()
            each = {title: evaluate(model, two, groups=groups) for title, model in models.items()}
            scores = _scores(each, _source_accuracies(models, one))
        if two is not None:
            texts = list(two.texts)
            # Labelled texts have already passed through the model.
            p = [*each.values()][-1].probabilities if labelled else adapter.predict_proba(texts)
            listed = _examples(adapter, texts, p, examples)
        if one is not None and two is not None and min(len(one.texts), len(two.texts)) >= FEWEST:
            shown = _map(models, one, two, names)
    environment = Environment(
        loader=PackageLoader("dann_transfer", "plots"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["list_of_values"] = lambda row: list(row.values())
    findings = adapter.findings_
    page = environment.get_template("report.html.jinja").render(
        title=f"{params['method']}, {names[0]} → {names[1]}: {adapter.n_source_:,} and "
        f"{adapter.n_target_:,} texts",
        names=names,
        trained=adapter.trained_,
        scores=scores,
        findings=None if findings is None else Markup(findings._repr_html_()),
        choice=adapter.choice_,
        training=_training(models),
        held_out=_held_out(adapter, names),
        classes=_classes(adapter, names),
        map=shown,
        examples=listed,
        known=_known(adapter, listed),
        settings=[(key, repr(value)) for key, value in params.items()],
        version=__version__,
    )
    return write_whole(path, page)
