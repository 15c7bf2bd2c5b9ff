"""The commands that train: adapt, compare, tune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dann_transfer.cli.app import app, errors_in_a_line
from dann_transfer.cli.files import (
    Encoding,
    LabelColumn,
    Quoting,
    Separator,
    TextColumn,
    as_classes,
    check_table_to_write,
    print_rows,
    read_labelled,
    target_texts,
    write,
)
from dann_transfer.cli.values import (
    EncoderName,
    Values,
    check_method,
    encoder_of,
    methods_help,
    set_values,
    space_of,
)  # fmt: skip
from dann_transfer.ground.options import METHODS

Method = Annotated[
    str | None,
    typer.Option(
        help=f"{', '.join(METHODS)}, several joined with a plus, or auto; by default what "
        "`advise` names."
    ),
]
TargetTextColumn = Annotated[
    str | None,
    typer.Option(help="The column of the target's texts, if it is not that of the source's."),
]
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
    epochs: Annotated[
        int | None, typer.Option(help="By default as many as make some hundred steps.")
    ] = None,
    freeze_layers: Annotated[
        int | None,
        typer.Option(help="Layers left untrained; by default half of a large encoder's."),
    ] = None,
    max_length: Annotated[int, typer.Option(help="Tokens per text.")] = 256,
    checkpoint_dir: Annotated[
        Path | None, typer.Option(help="Save the run there, and resume it from where it stopped.")
    ] = None,
    seed: Seed = 0,
    values: Values = None,
) -> None:
    """Train on a file of labelled texts, adapt to the texts of another, and save the model.

    Example: dann-transfer adapt reviews.csv tweets.csv runs/model --encoder minilm
    """
    # Before torch is imported, which takes seconds.
    with errors_in_a_line():
        if method is not None:
            check_method(method)
    from dann_transfer import DomainAdapter, datasets
    from dann_transfer.fitting import saving

    target_column = target_text_column or text_column
    with errors_in_a_line(datasets.DownloadError):
        _check_apart(out, checkpoint_dir, "--checkpoint-dir")
        saving.check_destination(out)
        params: dict[str, Any] = {
            "method": method,
            "epochs": epochs,
            "freeze_layers": freeze_layers,
            "max_length": max_length,
            "text_column": text_column,
            "label_column": label_column,
            "checkpoint_dir": checkpoint_dir,
            "random_state": seed,
        } | set_values(context, values)
        frame = read_labelled(source, text_column, label_column, encoding, separator, quoting)
        counts = frame[label_column].value_counts()
        shown = ", ".join(f"{label!r} {n}" for label, n in counts.head(20).items())
        typer.echo(f"{len(frame)} labelled source texts: {shown}.")
        others = target_texts(target, target_column, encoding, separator, quoting)
        adapter = DomainAdapter(encoder_of(encoder), **params)
        adapter.fit(frame, X_target=others)
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
) -> None:
    """Say which method to try first on files of texts, for how long, and why.

    Example: dann-transfer advise reviews.csv tweets.csv
    """
    import dann_transfer

    with errors_in_a_line():
        files = encoding, separator, quoting
        frame = read_labelled(source, text_column, label_column, *files)
        others = None
        if target is not None:
            others = target_texts(target, target_text_column or text_column, *files)
        columns = {"text_column": text_column, "label_column": label_column}
        advised = dann_transfer.advise(frame, X_target=others, **columns)
        typer.echo(
            f"{advised.texts:,} labelled texts of {advised.classes} classes (the rarest has "
            f"{advised.smallest:.1%} of them, the commonest {advised.largest:.1%}), "
            f"{advised.target_texts:,} target texts."
        )
        typer.echo(advised)


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
        typer.Option(help="Besides source_only; can be repeated; by default what `advise` names."),
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
    values: Values = None,
    out: Annotated[Path | None, typer.Option(help="CSV or Parquet file for the rows.")] = None,
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
        for name in methods:
            check_method(name)
    import dann_transfer
    from dann_transfer import datasets

    with errors_in_a_line(datasets.DownloadError):
        check_table_to_write(out, source, target, test)
        params: dict[str, Any] = {"text_column": text_column, "label_column": label_column}
        params |= set_values(context, values)
        files = encoding, separator, quoting
        frame = read_labelled(source, text_column, label_column, *files)
        target_column = target_text_column or text_column
        others = target_texts(target, target_column, *files)
        labelled = None
        if test is not None:
            labelled = read_labelled(test, target_column, label_column, *files, group_column)
            labelled[label_column] = as_classes(labelled[label_column], frame[label_column])
            labelled = labelled.rename(columns={target_column: text_column})
        if not methods:
            columns = {"text_column": text_column, "label_column": label_column}
            advised = dann_transfer.advise(frame, X_target=others, **columns)
            typer.echo(advised)
            # Where adapting is not advised, the method with the least harm on the benchmarks.
            methods = [advised.method if advised.method != "source_only" else "mcc"]
        result = dann_transfer.compare(
            frame,
            X_target=others,
            X_target_test=labelled,
            groups_target_test=group_column,
            methods=methods,
            seeds=seed or [0],
            n_jobs=jobs,
            folder=folder,
            encoder=encoder_of(encoder),
            **params,
        )
        print_rows(result.frame())
        if out is not None:
            write([result.frame()], out)
        for name in methods:
            typer.secho(result.verdict(name), bold=True)
        if group_column is not None:
            print_rows(result.by_group())


@app.command()
def tune(
    context: typer.Context,
    source: SourceFile,
    target: TargetFile,
    out: Annotated[Path, typer.Argument(help="Folder to save the best model to.")],
    runs: Annotated[int, typer.Option(help="How many in total.")] = 20,
    minutes: Annotated[float | None, typer.Option(help="No run starts after this time.")] = None,
    score: Annotated[
        str | None, typer.Option(help="Score to judge by; one of selection.SCORES.")
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
    seed: Seed = 0,
    values: Values = None,
) -> None:
    """Search hyperparameters within a budget, judge without target labels, and save the best model.

    Example: dann-transfer tune reviews.csv tweets.csv runs/best --runs 10 --folder runs/search
    """
    from dann_transfer import datasets, search
    from dann_transfer.fitting import saving

    with errors_in_a_line(datasets.DownloadError):
        _check_apart(out, folder, "--folder")
        saving.check_destination(out)
        params: dict[str, Any] = {"text_column": text_column, "label_column": label_column}
        params |= set_values(context, values)
        frame = read_labelled(source, text_column, label_column, encoding, separator, quoting)
        others = target_texts(
            target, target_text_column or text_column, encoding, separator, quoting
        )
        result = search.tune(
            frame,
            X_target=others,
            space=space_of(space),
            score=score,
            runs=runs,
            minutes=minutes,
            folder=folder,
            random_state=seed,
            encoder=encoder_of(encoder),
            **params,
        )
        print_rows(result.frame())
        result.adapter.save_pretrained(out)
    typer.secho(result.verdict(), bold=True)
    typer.echo(f"saved to {out}")
