"""The commands that use a saved model: predict, evaluate, diagnose, suggest, report ..."""

from __future__ import annotations

import warnings
from itertools import chain, tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dann_transfer.cli.app import app, errors_in_a_line
from dann_transfer.cli.files import (
    Encoding,
    LabelColumn,
    Quoting,
    Separator,
    TextColumn,
    as_classes,
    as_separator,
    check_file_to_write,
    check_table_to_write,
    is_parquet,
    print_rows,
    read,
    read_labelled,
    write,
)

if TYPE_CHECKING:
    import numpy as np

    from dann_transfer import DomainAdapter

ModelFolder = Annotated[
    str, typer.Argument(help="Folder that `adapt` saved, or user/model on the hub.")
]
TextFile = Annotated[Path, typer.Argument(help="Texts: CSV, Parquet, JSON.")]
OutFile = Annotated[
    Path | None, typer.Option(help="CSV or Parquet file to write; default standard output.")
]
TrustCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let the encoder run code from the folder.")
]
DomainName = Annotated[
    str,
    typer.Option(help="Where the texts are from: target or source; matters with align."),
]
Page = Annotated[Path, typer.Argument(help="HTML file to write.")]
SourceTexts = Annotated[Path | None, typer.Option(help="Source texts to show, labelled or not.")]
ShownLabels = Annotated[
    str | None, typer.Option(help="The column of labels; by default label, if there is one.")
]
TargetTexts = Annotated[Path | None, typer.Option(help="Target texts to show, labelled or not.")]


def _load(model: str, trust_remote_code: bool) -> DomainAdapter:
    from dann_transfer import DomainAdapter

    return DomainAdapter.from_pretrained(model, trust_remote_code=trust_remote_code)


@app.command()
def predict(
    model: ModelFolder,
    texts: TextFile,
    text_column: TextColumn = "text",
    encoding: Encoding = None,
    separator: Separator = None,
    quoting: Quoting = None,
    abstain_below: Annotated[
        float | None, typer.Option(help="Leave the label empty where the model is less sure.")
    ] = None,
    domain: DomainName = "target",
    domain_column: Annotated[
        str | None,
        typer.Option(help="The column that says of each text where it is from."),
    ] = None,
    out: OutFile = None,
    trust_remote_code: TrustCode = False,
) -> None:
    """Write a copy of the file with two more columns, the predicted label and its probability.

    Example: dann-transfer predict runs/model tweets.csv --out labels.csv
    """
    from dann_transfer.fitting.predicting import target_rows
    from dann_transfer.judging import decision
    from dann_transfer.texts.files import read_parts
    from dann_transfer.texts.unpacking import ending, is_marked

    with errors_in_a_line():
        check_table_to_write(out, texts)
        if abstain_below is not None:
            decision.check_threshold("--abstain-below", abstain_below)
        target_rows(domain, 0, "--domain")
        columns = [text_column, *([] if domain_column is None else [domain_column])]
        parts = read_parts(texts, columns, encoding, as_separator(separator), True, quoting=quoting)
        # Errors in the file are reported before a model is loaded.
        first = next(parts)
        if taken := [name for name in ("predicted", "probability") if name in first]:
            raise ValueError(f"{str(texts)!r} already has a column {taken[0]!r}; rename it.")
        twice = first.columns[first.columns.duplicated()]
        if is_parquet(out) and len(twice):
            raise ValueError(
                f"{str(texts)!r} has several columns {twice[0]!r}, which Parquet cannot hold; "
                "rename all but one, or write CSV."
            )
        adapter = _load(model, trust_remote_code)
        # Each part of the file waits for its predictions.
        frames, again = tee(chain([first], parts))
        where: Any = domain
        if domain_column is not None:
            # Only here, because parts are kept until all have taken them.
            again, others = tee(again)
            where = (frame[domain_column] for frame in others)
        outputs = adapter.outputs_in_parts((frame[text_column] for frame in again), where)
        labelled = (
            frame.assign(**_answers(adapter, part.probabilities, abstain_below, out))
            for frame, part in zip(filter(len, frames), outputs, strict=True)
        )
        # What Excel can read before, it can read afterwards.
        write(labelled, out, marked=ending(texts) in (".csv", ".tsv", ".txt") and is_marked(texts))


def _answers(
    adapter: DomainAdapter, p: np.ndarray, abstain_below: float | None, out: Path | None
) -> dict[str, Any]:
    """Return the columns that predicting adds, of one type even if labels are withheld."""
    import pandas as pd

    from dann_transfer.judging import decision

    labels = decision.abstain(p, adapter.classes_, abstain_below or 0.0).tolist()
    kinds = {"i": "Int64", "u": "UInt64", "b": "boolean", "f": "Float64"}
    predicted = pd.array(labels, dtype=kinds.get(adapter.classes_.dtype.kind, "string"))
    sure: Any = p.max(1).round(4)
    if not is_parquet(out):
        sure = [f"{value:.4f}" for value in sure]
    return {"predicted": predicted, "probability": sure}


@app.command()
def evaluate(
    model: ModelFolder,
    texts: Annotated[Path, typer.Argument(help="Labelled texts: CSV, Parquet, JSON.")],
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    group_column: Annotated[
        str | None, typer.Option(help="A column of groups, to show accuracy and coverage for each.")
    ] = None,
    abstain_below: Annotated[
        float, typer.Option(help="A text is covered if the model's probability is at least this.")
    ] = 0.8,
    domain: DomainName = "target",
    encoding: Encoding = None,
    separator: Separator = None,
    quoting: Quoting = None,
    trust_remote_code: TrustCode = False,
) -> None:
    """Score a model on labelled texts: accuracy, calibration, coverage, also by class and group.

    Example: dann-transfer evaluate runs/model labelled.csv --group-column product
    """
    from dann_transfer import evaluation
    from dann_transfer.fitting.predicting import target_rows
    from dann_transfer.judging import decision

    with errors_in_a_line():
        decision.check_threshold("--abstain-below", abstain_below)
        target_rows(domain, 0, "--domain")
        frame = read_labelled(
            texts, text_column, label_column, encoding, separator, quoting, group_column
        )
        adapter = _load(model, trust_remote_code)
        result = evaluation.evaluate(
            adapter,
            frame[text_column],
            as_classes(frame[label_column], adapter.classes_),
            groups=None if group_column is None else frame[group_column],
            abstain_below=abstain_below,
            domain=domain,
        )
        typer.echo(result.summary())
        print_rows(result.classes())
        if group_column is not None:
            print_rows(result.groups())


@app.command()
def diagnose(model: ModelFolder, trust_remote_code: TrustCode = False) -> None:
    """Print what looks wrong with a model, as far as its training shows.

    Example: dann-transfer diagnose runs/model
    """
    with errors_in_a_line():
        typer.echo(str(_load(model, trust_remote_code).diagnose()))


@app.command()
def suggest(
    model: ModelFolder,
    texts: TextFile,
    n: Annotated[int, typer.Option("-n", help="How many texts to label.")] = 32,
    text_column: TextColumn = "text",
    encoding: Encoding = None,
    separator: Separator = None,
    quoting: Quoting = None,
    seed: Annotated[int, typer.Option()] = 0,
    out: OutFile = None,
    trust_remote_code: TrustCode = False,
) -> None:
    """Write a CSV of the target texts most worth labelling: row, text, predicted label.

    Example: dann-transfer suggest runs/model tweets.csv -n 32 --out to_label.csv
    """
    import pandas as pd

    with errors_in_a_line():
        check_table_to_write(out, texts)
        if text_column in ("row", "predicted"):
            raise ValueError(f"a column {text_column!r} is added to the texts; rename theirs.")
        listed = read(texts, [text_column], encoding, separator, quoting)[text_column].tolist()
        adapter = _load(model, trust_remote_code)
        rows = adapter.suggest(listed, n, random_state=seed)
        chosen = [listed[row] for row in rows]
        table = {"row": rows, text_column: chosen, "predicted": adapter.predict(chosen)}
        write([pd.DataFrame(table)], out)


def _domain(
    path: Path,
    text_column: str,
    label_column: str | None,
    encoding: str | None,
    separator: str | None,
    quoting: str | None,
) -> Any:
    """Read the texts of a file, and their labels if it has any."""
    from dann_transfer import Domain

    wanted = [text_column] if label_column is None else [text_column, label_column]
    frame = read(path, wanted, encoding, separator, quoting, whole=True)
    labels = frame.get(label_column or "label")
    # A file to be labelled often has an empty column for it.
    if labels is not None and (labels.isna() | (labels.astype(str).str.strip() == "")).all():
        labels = None
    return Domain(frame[text_column], labels)


def _of_classes(domain: Any, adapter: DomainAdapter) -> Any:
    """Return a domain with its labels as the model's classes."""
    from dann_transfer import Domain

    if domain is None or domain.labels is None:
        return domain
    return Domain(domain.texts, as_classes(domain.labels, adapter.classes_))


def _names_of(source: Path | None, target: Path | None) -> tuple[str, str]:
    """Return what the domains are called: as their files are."""
    names = [path.stem if path else role for role, path in (("source", source), ("target", target))]
    if names[0] == names[1]:
        return f"source: {names[0]}", f"target: {names[1]}"
    return names[0], names[1]


@app.command()
def report(
    model: ModelFolder,
    page: Page,
    source: SourceTexts = None,
    target: TargetTexts = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="The model without adaptation, to show next to it; needs target labels."),
    ] = None,
    text_column: TextColumn = "text",
    label_column: ShownLabels = None,
    encoding: Encoding = None,
    separator: Separator = None,
    quoting: Quoting = None,
    trust_remote_code: TrustCode = False,
) -> None:
    """Write a page about a model: settings, history, findings, and predictions on texts.

    Example: dann-transfer report runs/model page.html --source reviews.csv --target tweets.csv
    """

    from dann_transfer import plots

    columns = text_column, label_column, encoding, separator, quoting
    with errors_in_a_line():
        check_file_to_write(page, source, target)
        shown: dict[str, Any] = {
            name: None if path is None else _domain(path, *columns)
            for name, path in (("source", source), ("target", target))
        }
        adapter = _load(model, trust_remote_code)
        domains = {name: _of_classes(domain, adapter) for name, domain in shown.items()}
        before = None if baseline is None else _load(baseline, trust_remote_code)
        names = _names_of(source, target)
        plots.report(adapter, page, **domains, baseline=before, names=names)
    typer.echo(f"wrote {page}")


@app.command()
def explore(
    model: ModelFolder,
    page: Page,
    source: Annotated[Path, typer.Option(help="Source texts to show, labelled or not.")],
    target: Annotated[Path, typer.Option(help="Target texts to show, labelled or not.")],
    text_column: TextColumn = "text",
    label_column: ShownLabels = None,
    encoding: Encoding = None,
    separator: Separator = None,
    quoting: Quoting = None,
    trust_remote_code: TrustCode = False,
) -> None:
    """Write an interactive map of texts in a model's features: hovering shows a text.

    Example: dann-transfer explore runs/model map.html --source reviews.csv --target tweets.csv
    """
    from dann_transfer import plots

    columns = text_column, label_column, encoding, separator, quoting
    with errors_in_a_line():
        check_file_to_write(page, source, target)
        shown = _domain(source, *columns), _domain(target, *columns)
        names = _names_of(source, target)
        adapter = _load(model, trust_remote_code)
        one, two = (_of_classes(domain, adapter) for domain in shown)
        display = plots.AlignmentDisplay.from_estimator(adapter, one, two, names=names)
        plots.explore(display, page, " and ".join(names))
    typer.echo(f"wrote {page}")


@app.command()
def serve(
    model: ModelFolder,
    host: Annotated[str, typer.Option(help="0.0.0.0 admits other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 picks a free port.", min=0, max=65535)] = 8000,
    texts: Annotated[int, typer.Option(help="Maximum number of texts in a request.")] = 256,
    characters: Annotated[
        int, typer.Option(help="Maximum number of characters in a text.")
    ] = 20_000,
    waiting: Annotated[
        int, typer.Option(help="Maximum number of waiting texts; further requests get status 503.")
    ] = 2048,
    trust_remote_code: TrustCode = False,
) -> None:
    """Serve a model's predictions over HTTP: POST /predict, GET /health; try it out at /docs.

    Example: dann-transfer serve runs/model --port 8000
    """
    with errors_in_a_line():
        try:
            from dann_transfer.serving.http import Limits, create_app
            from dann_transfer.serving.server import serve as run
        except ImportError as error:
            raise ImportError("serving needs: pip install 'dann_transfer[serve]'") from error
        limits = Limits(texts=texts, characters=characters, waiting=waiting)
        adapter = _load(model, trust_remote_code)
        # Warnings would come with every batch, and nobody reads them.
        warnings.simplefilter("ignore", UserWarning)
        run(create_app(adapter, limits), host, port)


@app.command()
def export(
    model: ModelFolder,
    out: Annotated[Path, typer.Argument(help="Folder to write the ONNX model to.")],
    int8: Annotated[
        bool,
        typer.Option("--int8", help="A quarter of the size; measure how much accuracy it costs."),
    ] = False,
    domain: DomainName = "target",
    trust_remote_code: TrustCode = False,
) -> None:
    """Write a model as ONNX, which predicts without torch.

    Example: dann-transfer export runs/model runs/onnx
    """
    from dann_transfer.fitting.predicting import target_rows
    from dann_transfer.serving.onnx import to_onnx

    with errors_in_a_line():
        target_rows(domain, 0, "--domain")
        to_onnx(_load(model, trust_remote_code), out, int8, domain)
    typer.echo(f"wrote {out}")
