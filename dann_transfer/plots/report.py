"""One offline page about a fitted adapter: what was trained, and what it makes of texts."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from dann_transfer._version import __version__
from dann_transfer.adapter import DomainAdapter
from dann_transfer.decision import labels
from dann_transfer.evaluation import evaluate
from dann_transfer.folders import write_whole
from dann_transfer.gains import by_group, gain_error
from dann_transfer.plots.alignment import AlignmentDisplay
from dann_transfer.plots.training import TrainingDisplay
from dann_transfer.texts.reading import Domain, as_texts

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .25rem .9rem .25rem 0;
         border-bottom: 1px solid #8885; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.text { overflow-wrap: anywhere; min-width: 14rem; }
img { max-width: 100%; background: white; }
p.note { color: #777; }
"""


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'<td class="number">{value:.3g}</td>'
    kind = "number" if isinstance(value, int) else "text"
    return f'<td class="{kind}">{html.escape(str(value))}</td>'


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    head = [name.replace("_", " ") for name in rows[0]]
    return _table(head, (list(row.values()) for row in rows))


def _picture(figure: Any, what: str) -> str:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight")
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(what)}" src="data:image/png;base64,{data}">'


def _history(adapter: DomainAdapter) -> str:
    return _picture(
        TrainingDisplay.from_estimator(adapter).plot().figure_,
        "The losses and the method's own numbers over the steps",
    )


def _classes(adapter: DomainAdapter) -> str:
    shares = adapter.target_shares_ or {}
    head = ["class", "share of the source"]
    columns: list[Sequence[Any]] = [adapter.classes_.tolist(), adapter.source_prior_.tolist()]
    if shares:
        head.append("share of predictions on the target")
        columns.append(list(shares.values()))
    for name, prior in adapter.target_prior_.items():
        head.append(f"target's prior by {name.upper()}")
        columns.append(prior.tolist())
    return _table(head, zip(*columns, strict=True))


def _examples(adapter: DomainAdapter, texts: list[str], n: int) -> str:
    p = adapter.predict_proba(texts)
    order = np.argsort(-p.max(1), kind="stable")
    places = [*order[:n], *order[max(n, len(order) - n) :]]
    predicted = labels(p, adapter.classes_).tolist()
    rows = [(texts[i], predicted[i], float(p[i].max())) for i in places]
    return _table(["text", "predicted", "probability"], rows)


def _scores(
    adapter: DomainAdapter,
    target: Domain,
    groups: Sequence[Any] | None,
    baseline: DomainAdapter | None,
) -> list[str]:
    """Return what labelled target texts say of a model, beside the one without adaptation."""
    after = evaluate(adapter, target, groups=groups)
    parts = ["<h2>Labelled target texts</h2>", f"<p>{html.escape(after.summary())}</p>"]
    before = None if baseline is None else evaluate(baseline, target, groups=groups)
    if before is not None:
        gain = after.scores()["accuracy"] - before.scores()["accuracy"]
        error = gain_error(after.answers.hits, before.answers.hits)
        parts.append(
            f"<p>Without adaptation {before.scores()['accuracy']:.1%} are right: a gain of "
            f"{100 * gain:+.1f} points ± {200 * error:.1f}.</p>"
        )
    parts.append(_rows(after.classes().to_dict("records")))
    if groups is not None:
        assert after.group_names is not None
        rows = after.groups().to_dict("records")
        if before is not None:
            names, threshold = after.group_names, after.abstain_below
            rows = by_group(names, [before.answers], [after.answers], threshold)
        parts += ["<h2>By group</h2>", _rows(rows)]
    return parts


def report(
    adapter: DomainAdapter,
    path: str | PathLike[str],
    source: Domain | None = None,
    target: Domain | Sequence[str] | None = None,
    examples: int = 8,
    groups: Sequence[Any] | None = None,
    baseline: DomainAdapter | None = None,
) -> Path:
    """Write settings, history, class shares and, of texts that are passed, a map and examples.

    Parameters
    ----------
    adapter : DomainAdapter
        Fitted.
    path : str or path
        The HTML file to write. It appears whole or not at all, and asks nothing of any network.
    source, target : Domain, optional
        Texts to show, best unseen in training; the map needs both.
    examples : int
        So many of the surest and of the least sure target texts are listed.
    groups : sequence, optional
        What each target text belongs to. Where `target` has labels accuracy and coverage are shown
        by group.
    baseline : DomainAdapter, optional
        The model without adaptation, fitted; gains over it are shown, by group too.

    Returns
    -------
    Path

    """
    check_is_fitted(adapter)
    labelled = isinstance(target, Domain) and target.labels is not None
    if not labelled and (groups is not None or baseline is not None):
        raise ValueError("groups and baseline need a target with labels: Domain(texts, labels).")
    params = dict(adapter.params_)
    params |= {"max_strength": adapter.max_strength_, "random_state": adapter.seed_}
    params["learning_rate"] = adapter.learning_rate_
    title = (
        f"{params['method']}: {adapter.n_source_:,} source and {adapter.n_target_:,} target texts"
    )
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        "<p>How well it does on the target is not known from training, which saw no target label "
        "but those passed as labelled. Score it on labelled target texts, beside a model trained "
        "with <code>method='source_only'</code>.</p>",
        "<h2>Training</h2>",
        _history(adapter),
    ]
    if adapter.findings_ is not None:
        parts += ["<h2>Findings</h2>", adapter.findings_._repr_html_()]
    if adapter.choice_ is not None:
        parts += ["<h2>Choice</h2>", f"<p>{html.escape(str(adapter.choice_))}</p>"]
    if adapter.validation_:
        rows = [(row["epoch"], row["validation_accuracy"]) for row in adapter.validation_]
        parts += ["<h2>Held-out source texts</h2>", _table(["epoch", "accuracy"], rows)]
    parts += ["<h2>Classes</h2>", _classes(adapter)]
    if source is not None and target is not None:
        target_domain = target if isinstance(target, Domain) else Domain(target)
        display = AlignmentDisplay.from_estimator(adapter, source, target_domain).plot()
        note = "The A-distance is measured in feature space: 0 is aligned, 2 is entirely apart."
        parts += ["<h2>Features</h2>", _picture(display.figure_, "A map of both domains")]
        parts.append(f'<p class="note">{note} Overlap in two dimensions is not alignment.</p>')
    if isinstance(target, Domain) and target.labels is not None:
        parts += _scores(adapter, target, groups, baseline)
    if target is not None:
        texts = as_texts(target, "target", adapter.text_column)
        parts += [
            "<h2>Target texts, the surest and the least sure</h2>",
            _examples(adapter, texts, examples),
        ]
    parts += [
        "<h2>Settings</h2>",
        _table(["keyword", "value"], [(key, repr(value)) for key, value in params.items()]),
        f'<p class="note">dann_transfer {__version__}</p>',
    ]
    page = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>"
    )
    return write_whole(path, page)
