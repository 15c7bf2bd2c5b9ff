"""The commands that train: adapt, compare, tune."""

from __future__ import annotations

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
    check_labelled,
    check_table_to_write,
    print_tables,
    read_labelled,
    target_texts,
    write,
)
from dann_transfer.cli.values import (
    EncoderName,
    Values,
    check_method,
    label_like,
    methods_help,
    set_values,
    space_of,
)
from dann_transfer.ground.options import AUTO, METHODS, SCORES, check_score
from dann_transfer.ground.settings import check_params

if TYPE_CHECKING:
    from dann_transfer.texts.files import FileTexts

NAMES = f"{', '.join(METHODS)}, several joined with a plus, or auto"
Method = Annotated[
    str | None, typer.Option(help=f"{NAMES}; by default what `advise` names. See `methods`.")
]
TargetTextColumn = Annotated[
    str | None,
    typer.Option(help="The column of the target's texts, if it is not that of the source's."),
]
TARGET = "--text-column or --target-text-column"
SourceFile = Annotated[Path, typer.Argument(help="Labelled source texts: CSV, Parquet, JSON.")]
TargetFile = Annotated[Path, typer.Argument(help="Target texts; labels are not read.")]
Seed = Annotated[int, typer.Option()]


def _check_apart(out: Path, folder: Path | None, option: str) -> None:
    """Raise if a run would be saved in the model's folder, or the model in the run's."""
    if folder is None:
        return
    one, two = out.expanduser().resolve(), folder.expanduser().resolve()
    if one.is_relative_to(two) or two.is_relative_to(one):
        raise ValueError(
            f"{option} {str(folder)!r} and the model's folder {str(out)!r} are the same folder, or "
            "one is inside the other; name two that are apart."
        )


def _source_and_target(
    source: Path,
    target: Path | None,
    columns: tuple[str, str, str | None],
    form: Form,
    skip_missing: bool,
) -> tuple[Any, FileTexts | None]:
    """Return labelled source texts, and the target's texts if there is a file of them.

    The columns are those of source texts, labels and target texts. They are looked at before
    anything is imported to read the files.
    """
    text_column, label_column, target_column = columns
    names = (text_column, "--text-column"), label_column
    check_labelled(source, *names, form)
    others = None
    if target is not None:
        column = form.column(target_column or text_column)
        others = target_texts(target, column, form, skip_missing, TARGET)
    return read_labelled(source, *names, form, skip_missing), others


@app.command(epilog=methods_help())
def adapt(
    context: typer.Context,
    source: SourceFile,
    target: TargetFile,
    out: Annotated[Path, typer.Argument(help="Folder to save the model to.")],
    encoder: EncoderName = "bert-base-uncased",
    method: Method = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    target_text_column: TargetTextColumn = None,
    encoding: Encoding = None,
    separator: Separator = None,
    quoting: Quoting = None,
    no_header: NoHeader = False,
    skip_missing: SkipMissing = False,
    epochs: Annotated[
        int | None, typer.Option(help="By default as many as make some hundred steps.")
    ] = None,
    freeze_layers: Annotated[
        int | None,
        typer.Option(help="Layers left untrained; by default half of a large encoder's."),
    ] = None,
    max_length: Annotated[int, typer.Option(help="Tokens per text.")] = 256,
    unknown: Annotated[
        str | None,
        typer.Option(help="Label to answer for target texts of classes that the source lacks."),
    ] = None,
    checkpoint_dir: Annotated[
        Path | None, typer.Option(help="Save the run there, and resume it from where it stopped.")
    ] = None,
    seed: Seed = 0,
    values: Values = None,
) -> None:
    """Train on a file of labelled texts, adapt to the texts of another, and save the model.

    Example: dann-transfer adapt reviews.csv tweets.csv runs/model --encoder minilm
    """
    # What can be wrong is looked at before torch is imported, which takes seconds.
    from dann_transfer.fitting.folder import check_destination

    with errors_in_a_line():
        form = Form.of(encoding, separator, quoting, no_header)
        text_column, label_column = form.column(text_column), form.column(label_column)
        _check_apart(out, checkpoint_dir, "--checkpoint-dir")
        check_destination(out)
        params: dict[str, Any] = {
            "method": method,
            "epochs": epochs,
            "freeze_layers": freeze_layers,
            "max_length": max_length,
            "unknown": unknown,
            "text_column": text_column,
            "label_column": label_column,
            "checkpoint_dir": checkpoint_dir,
            "random_state": seed,
        } | set_values(context, values)
        check_params(params)
        if params["method"] is not None:
            check_method(params["method"], params.get("method_options"))
        columns = text_column, label_column, target_text_column
        frame, others = _source_and_target(source, target, columns, form, skip_missing)
        params["unknown"] = label_like(params["unknown"], frame[label_column])
    from dann_transfer import DomainAdapter, datasets

    with errors_in_a_line(datasets.DownloadError):
        counts = frame[label_column].value_counts()
        listed = ", ".join(f"{label!r} {n}" for label, n in counts.head(20).items())
        typer.echo(f"{len(frame)} labelled source texts: {listed}.")
        adapter = DomainAdapter(encoder, **params)
        adapter.fit(frame, X_target=others)
        if adapter.choice_ is not None:
            typer.echo(adapter.choice_)
        sample = adapter.n_target_sampled_
        in_run = "" if sample == adapter.n_target_ else f", {sample:,} of them in the run"
        typer.echo(f"{adapter.n_target_:,} target texts{in_run}.")
        adapter.save_pretrained(out)
    typer.echo(f"saved to {out}")


@app.command()
def advise(
    source: SourceFile,
    target: Annotated[Path | None, typer.Argument(help="Target texts, if there are any.")] = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    target_text_column: TargetTextColumn = None,
    encoding: Encoding = None,
    separator: Separator = None,
    quoting: Quoting = None,
    no_header: NoHeader = False,
    skip_missing: SkipMissing = False,
) -> None:
    """Say which method to try first on files of texts, for how long, and why.

    Example: dann-transfer advise reviews.csv tweets.csv
    """
    with errors_in_a_line():
        form = Form.of(encoding, separator, quoting, no_header)
        text_column, label_column = form.column(text_column), form.column(label_column)
        names = text_column, label_column, target_text_column
        frame, others = _source_and_target(source, target, names, form, skip_missing)
    import dann_transfer

    with errors_in_a_line():
        columns = {"text_column": text_column, "label_column": label_column}
        advised = dann_transfer.advise(frame, X_target=others, **columns)
        typer.echo(
            f"{advised.texts:,} labelled texts of {advised.classes} classes (the rarest has "
            f"{advised.smallest:.1%} of them, the commonest {advised.largest:.1%}), "
            f"{advised.target_texts:,} target texts."
        )
        typer.echo(advised)


@app.command()
def methods() -> None:
    """List the methods: what each does, its strength and its options.

    Example: dann-transfer methods
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("method", "what it does", "strength", "options")
    for name, entry in METHODS.items():
        options = ", ".join(f"{key}={option.default}" for key, option in entry.options.items())
        reference = f" ({entry.reference})" if entry.reference else ""
        cells = name, f"{entry.meaning}{reference}", f"{entry.default_strength:g}", options
        table.add_row(*map(Text, cells))
    Console().print(table)
    typer.echo(
        "Joined with a plus they act together, as in --method mlm+dann; auto trains source_only, "
        "mcc and student, and keeps one of them. Options of a method: --set "
        "'method_options={\"width\": 256}'."
    )


@app.command()
def compare(
    context: typer.Context,
    source: SourceFile,
    target: TargetFile,
    test: Annotated[
        Path | None, typer.Option(help="Labelled target texts to score on, after training.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Compared with source_only: {NAMES}; can be repeated; by default what `advise` "
            "names. See `methods`."
        ),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Can be repeated; default 0.")] = None,
    encoder: EncoderName = "bert-base-uncased",
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    group_column: Annotated[
        str | None,
        typer.Option(help="A column of groups in the test file, to show gains for each."),
    ] = None,
    target_text_column: TargetTextColumn = None,
    encoding: Encoding = None,
    separator: Separator = None,
    quoting: Quoting = None,
    no_header: NoHeader = False,
    skip_missing: SkipMissing = False,
    values: Values = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV, Parquet or JSON lines for the rows.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="How many processes train at once.")] = 1,
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep each run there as it ends, and go on from where it stopped."),
    ] = None,
) -> None:
    """Train without adaptation and with each method, and show which helped.

    Example: dann-transfer compare reviews.csv tweets.csv --test labelled.csv --seed 0 --seed 1
    """
    methods = [name for name in method or () if name != "source_only"]
    with errors_in_a_line():
        if method and not methods:
            raise ValueError("source_only runs in any case; name a method to compare with it.")
        check_table_to_write(out, source, target, test)
        form = Form.of(encoding, separator, quoting, no_header)
        text_column, label_column = form.column(text_column), form.column(label_column)
        params: dict[str, Any] = {"text_column": text_column, "label_column": label_column}
        params |= set_values(context, values)
        check_params(params)
        for name in methods:
            check_method(name, params.get("method_options"))
        columns = (text_column, "--text-column"), label_column
        check_labelled(source, *columns, form)
        target_column = form.column(target_text_column or text_column)
        if test is not None:
            check_labelled(test, (target_column, TARGET), label_column, form, group_column)
        others = target_texts(target, target_column, form, skip_missing, TARGET)
        frame = read_labelled(source, *columns, form, skip_missing)
        params["unknown"] = label_like(params.get("unknown"), frame[label_column])
        labelled = None
        if test is not None:
            labelled = read_labelled(
                test, (target_column, TARGET), label_column, form, skip_missing, group_column
            )
            labelled[label_column] = as_classes(labelled[label_column], frame[label_column])
            labelled = labelled.rename(columns={target_column: text_column})
    import dann_transfer
    from dann_transfer import datasets

    with errors_in_a_line(datasets.DownloadError):
        if not methods:
            names = {"text_column": text_column, "label_column": label_column}
            advised = dann_transfer.advise(frame, X_target=others, **names)
            typer.echo(advised)
            # Where adapting is not advised, the method with the least harm on the benchmarks.
            adapts = advised.method not in ("source_only", "auto")
            methods = [advised.method if adapts else "mcc"]
        result = dann_transfer.compare(
            frame,
            X_target=others,
            X_target_test=labelled,
            groups_target_test=group_column,
            methods=methods,
            seeds=seed or [0],
            n_jobs=jobs,
            folder=folder,
            encoder=encoder,
            **params,
        )
        print_tables(result.tables())
        if AUTO in result.adapters:
            typer.echo(f"{AUTO}, seed {(seed or [0])[0]}: {result.adapters[AUTO].choice_}")
        for verdict in result.verdicts():
            typer.secho(verdict, bold=True)
        if out is not None:
            write([result.frame()], out)


@app.command()
def tune(
    context: typer.Context,
    source: SourceFile,
    target: TargetFile,
    out: Annotated[Path, typer.Argument(help="Folder to save the best model to.")],
    runs: Annotated[int, typer.Option(help="How many in total.")] = 20,
    minutes: Annotated[float | None, typer.Option(help="No run starts after this time.")] = None,
    score: Annotated[
        str | None,
        typer.Option(
            help=f"Score to judge by: {', '.join(SCORES)}; by default the second, or the first if "
            "the source's classes are lopsided."
        ),
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUES", help="method=dann,mcc or learning_rate=1e-5:1e-4."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Save the search there, and resume it from where it stopped."),
    ] = None,
    encoder: EncoderName = "bert-base-uncased",
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    target_text_column: TargetTextColumn = None,
    encoding: Encoding = None,
    separator: Separator = None,
    quoting: Quoting = None,
    no_header: NoHeader = False,
    skip_missing: SkipMissing = False,
    seed: Seed = 0,
    values: Values = None,
) -> None:
    """Search hyperparameters within a budget, judge without target labels, and save the best model.

    Example: dann-transfer tune reviews.csv tweets.csv runs/best --runs 10 --folder runs/search
    """
    from dann_transfer.fitting.folder import check_destination

    with errors_in_a_line():
        if score is not None:
            check_score(score)
        tried = space_of(space)
        _check_apart(out, folder, "--folder")
        check_destination(out)
        form = Form.of(encoding, separator, quoting, no_header)
        text_column, label_column = form.column(text_column), form.column(label_column)
        params: dict[str, Any] = {"text_column": text_column, "label_column": label_column}
        params |= set_values(context, values)
        check_params(params)
        columns = text_column, label_column, target_text_column
        frame, others = _source_and_target(source, target, columns, form, skip_missing)
        params["unknown"] = label_like(params.get("unknown"), frame[label_column])
    from dann_transfer import datasets, search

    with errors_in_a_line(datasets.DownloadError):
        result = search.tune(
            frame,
            X_target=others,
            space=tried,
            score=score,
            runs=runs,
            minutes=minutes,
            folder=folder,
            random_state=seed,
            encoder=encoder,
            **params,
        )
        print_tables(result.tables())
        result.adapter.save_pretrained(out)
    typer.secho(result.verdict(), bold=True)
    typer.echo(f"saved to {out}")
