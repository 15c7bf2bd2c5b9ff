"""The commands that use a saved model: predict, evaluate, diagnose, suggest, report ..."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from itertools import chain, tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dann_transfer.cli.app import app, errors_in_a_line
from dann_transfer.cli.files import (
    Encoding,
    Form,
    LabelColumn,
    NoHeader,
    Quoting,
    Separator,
    SkipMissing,
    TextColumn,
    as_classes,
    check_file_to_write,
    check_table_to_write,
    is_csv,
    options_named,
    print_tables,
    read,
    read_labelled,
    target_texts,
    write,
)
from dann_transfer.ground.checks import check_threshold

if TYPE_CHECKING:
    from dann_transfer import DomainAdapter
    from dann_transfer.fitting.predicting import Outputs
    from dann_transfer.texts.places import Places

ModelFolder = Annotated[
    str, typer.Argument(help="Folder that `adapt` saved, or user/model on the hub.")
]
TextFile = Annotated[Path, typer.Argument(help="Texts: CSV, Parquet, JSON.")]
OutFile = Annotated[
    Path | None,
    typer.Option(help="File to write: .csv, .parquet or .jsonl; default CSV on standard output."),
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


def _check_model(model: str) -> None:
    """Raise if a folder holds no model, before anything is imported that takes seconds."""
    from dann_transfer.fitting.folder import check_model

    check_model(model)


def _load(model: str, trust_remote_code: bool) -> DomainAdapter:
    from dann_transfer import DomainAdapter

    adapter = DomainAdapter.from_pretrained(model, trust_remote_code=trust_remote_code)
    adapter.fitted_.refuse_several("the command line")
    return adapter


@app.command()
def predict(
    model: ModelFolder,
    texts: TextFile,
    text_column: TextColumn = "text",
    encoding: Encoding = None,
    separator: Separator = None,
    quoting: Quoting = None,
    no_header: NoHeader = False,
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
    from dann_transfer.texts.files import places_of, read_parts
    from dann_transfer.texts.reading import EmptyTextWarning
    from dann_transfer.texts.target import target_rows
    from dann_transfer.texts.unpacking import ending, is_marked

    with errors_in_a_line():
        check_table_to_write(out, texts)
        if abstain_below is not None:
            check_threshold("--abstain-below", abstain_below)
        target_rows(domain, 0, "--domain")
        _check_model(model)
        form = Form.of(encoding, separator, quoting, no_header)
        text_column = form.column(text_column)
        columns = {text_column: "--text-column"}
        if domain_column is not None:
            columns[domain_column] = "--domain-column"
        parts = read_parts(
            texts, list(columns), form.encoding, form.separator, True, quoting=form.quoting,
            header=form.header,
        )  # fmt: skip
        # Errors in the file are reported before a model is loaded.
        with options_named(columns):
            first = next(parts)
        if taken := [name for name in ("predicted", "probability") if name in first]:
            raise ValueError(f"{str(texts)!r} already has a column {taken[0]!r}; rename it.")
        twice = first.columns[first.columns.duplicated()]
        if not is_csv(out) and len(twice):
            raise ValueError(
                f"{str(texts)!r} has several columns {twice[0]!r}, which only CSV can hold; "
                "rename all but one, or write CSV."
            )
        adapter = _load(model, trust_remote_code)
        # Each part of the file waits for its predictions.
        frames, again = tee(chain([first], parts))
        where: Any = domain
        if domain_column is not None:
            # Only here, because parts are kept until all have taken them.
            again, others = tee(again)
            places = places_of(texts, domain_column, list(columns), *form)
            where = _domains(others, domain_column, places)
        blank: list[int] = []
        column = (frame[text_column] for frame in _noting(again, text_column, blank))
        outputs = adapter.outputs_in_parts(column, where)
        labelled = (
            frame.assign(
                **_answers(adapter, part, frame.get(domain_column, domain), abstain_below, out)
            )
            for frame, part in zip(filter(len, frames), outputs, strict=True)
        )
        # What Excel can read before, it can read afterwards.
        marked = ending(texts) in (".csv", ".tsv", ".txt") and is_marked(texts)
        with warnings.catch_warnings():
            # It counts texts where a file has rows.
            warnings.simplefilter("ignore", EmptyTextWarning)
            write(labelled, out, marked)
        if blank:
            places = places_of(texts, text_column, list(columns), *form)
            typer.secho(
                f"warning: {places.fault(blank, 'is empty')}; the model has nothing to go by.",
                fg="yellow", err=True,
            )  # fmt: skip


def _domains(frames: Iterable[Any], column: str, places: Places) -> Iterator[Any]:
    """Yield where the texts of each part are from, or raise for rows that do not say it."""
    start = 0
    for frame in frames:
        values = frame[column].tolist()
        wrong = [i for i, value in enumerate(values) if not _is_domain(value)]
        if wrong:
            what = f"is {values[wrong[0]]!r}"
            fault = places.fault([start + i for i in wrong], what)
            raise ValueError(f"{fault}; it must be 'target' or 'source'.")
        start += len(values)
        yield frame[column]


def _is_domain(value: Any) -> bool:
    return isinstance(value, str) and value in ("target", "source")


def _noting(frames: Iterable[Any], text_column: str, blank: list[int]) -> Iterator[Any]:
    """Yield the parts of a table, and add the rows without a text to `blank`."""
    from dann_transfer.texts.frames import is_blank

    start = 0
    for frame in frames:
        texts = frame[text_column].tolist()
        blank.extend(row for row, text in enumerate(texts, start) if is_blank(text))
        start += len(texts)
        yield frame


def _answers(
    adapter: DomainAdapter,
    outputs: Outputs,
    domain: Any,
    abstain_below: float | None,
    out: Path | None,
) -> dict[str, Any]:
    """Return the columns that predicting adds, of one type even if labels are withheld."""
    import pandas as pd

    from dann_transfer.judging import decision
    from dann_transfer.judging.answering import answered, confidence_of

    p, new = outputs.probabilities, adapter.new_classes(outputs, domain)
    below, ranks = abstain_below or 0.0, adapter.fitted_.ranks
    labels = decision.abstain(p, adapter.classes_, below, None, *new, ranks).tolist()
    kinds = {"i": "Int64", "u": "UInt64", "b": "boolean", "f": "Float64"}
    predicted = pd.array(labels, dtype=kinds.get(adapter.classes_.dtype.kind, "string"))
    sure: Any = confidence_of(p, answered(p, ranks)).round(4)
    if is_csv(out):
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
    no_header: NoHeader = False,
    skip_missing: SkipMissing = False,
    trust_remote_code: TrustCode = False,
) -> None:
    """Score a model on labelled texts: accuracy, calibration, coverage, also by class and group.

    Example: dann-transfer evaluate runs/model labelled.csv --group-column product
    """
    from dann_transfer.texts.target import target_rows

    with errors_in_a_line():
        check_threshold("--abstain-below", abstain_below)
        target_rows(domain, 0, "--domain")
        _check_model(model)
        form = Form.of(encoding, separator, quoting, no_header)
        text_column, label_column = form.column(text_column), form.column(label_column)
        columns = (text_column, "--text-column"), label_column
        frame = read_labelled(texts, *columns, form, skip_missing, group_column)
    from dann_transfer import evaluation

    with errors_in_a_line():
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
        print_tables(result.tables())


@app.command()
def diagnose(model: ModelFolder, trust_remote_code: TrustCode = False) -> None:
    """Print what looks wrong with a model, as far as its training shows.

    Example: dann-transfer diagnose runs/model
    """
    with errors_in_a_line():
        _check_model(model)
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
    no_header: NoHeader = False,
    skip_missing: SkipMissing = False,
    seed: Annotated[int, typer.Option()] = 0,
    out: OutFile = None,
    trust_remote_code: TrustCode = False,
) -> None:
    """Write a CSV of the target texts most worth labelling: row, text, predicted label.

    Rows are counted from 1, without the header.

    Example: dann-transfer suggest runs/model tweets.csv -n 32 --out to_label.csv
    """
    from dann_transfer.texts.reading import checked_texts

    with errors_in_a_line():
        check_table_to_write(out, texts)
        _check_model(model)
        form = Form.of(encoding, separator, quoting, no_header)
        text_column = form.column(text_column)
        if text_column in ("row", "predicted"):
            raise ValueError(f"a column {text_column!r} is added to the texts; rename theirs.")
        source = target_texts(texts, text_column, form, skip_missing)
        numbered = list(source.numbered())
        listed = [text for _, text in numbered]
        checked_texts(listed, source.places(text_column).at([row for row, _ in numbered]))
        adapter = _load(model, trust_remote_code)
        places = adapter.suggest(listed, n, random_state=seed).tolist()
        chosen = [listed[place] for place in places]
        # Counted as errors count them, from 1.
        rows = [numbered[place][0] + 1 for place in places]
        import pandas as pd

        table = {"row": rows, text_column: chosen, "predicted": adapter.predict(chosen)}
        write([pd.DataFrame(table)], out)


def _domain(path: Path, text_column: str, label_column: str | None, form: Form) -> Any:
    """Read the texts of a file, and their labels if it has any."""
    from dann_transfer import Domain

    text_column = form.column(text_column)
    wanted = {text_column: "--text-column"}
    if label_column is not None:
        wanted[label_column] = "--label-column"
    frame = read(path, wanted, form, whole=True)
    labels = frame.get(label_column or form.column("label"))
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
    no_header: NoHeader = False,
    trust_remote_code: TrustCode = False,
) -> None:
    """Write a page about a model: settings, history, findings, and predictions on texts.

    Example: dann-transfer report runs/model page.html --source reviews.csv --target tweets.csv
    """
    with errors_in_a_line():
        check_file_to_write(page, source, target)
        _check_model(model)
        if baseline is not None:
            _check_model(baseline)
        columns = text_column, label_column, Form.of(encoding, separator, quoting, no_header)
        shown: dict[str, Any] = {
            name: None if path is None else _domain(path, *columns)
            for name, path in (("source", source), ("target", target))
        }
    from dann_transfer import plots

    with errors_in_a_line():
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
    no_header: NoHeader = False,
    trust_remote_code: TrustCode = False,
) -> None:
    """Write an interactive map of texts in a model's features: hovering shows a text.

    Example: dann-transfer explore runs/model map.html --source reviews.csv --target tweets.csv
    """
    with errors_in_a_line():
        check_file_to_write(page, source, target)
        _check_model(model)
        columns = text_column, label_column, Form.of(encoding, separator, quoting, no_header)
        shown = _domain(source, *columns), _domain(target, *columns)
        names = _names_of(source, target)
    from dann_transfer import plots

    with errors_in_a_line():
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
        _check_model(model)
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
    from dann_transfer.fitting.folder import refuse_inside
    from dann_transfer.texts.target import target_rows

    with errors_in_a_line():
        target_rows(domain, 0, "--domain")
        _check_model(model)
        refuse_inside(out)
    from dann_transfer.serving.onnx import to_onnx

    with errors_in_a_line():
        to_onnx(_load(model, trust_remote_code), out, int8, domain)
    typer.echo(f"wrote {out}")
