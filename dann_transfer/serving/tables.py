"""Apply a saved model to tables in batches: `datasets.map`, Ray Data, or your own loop."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np


class Predictor:
    """Predict the labels of batches with a saved model, which each process loads once.

    Batches are mappings of columns or tables of pandas, polars or pyarrow, as `datasets` and Ray
    Data pass them. They are returned with two more columns, in the same order and as the same kind
    of table. Within a batch, texts are sorted by length and predicted in smaller batches, so that
    large batches (a thousand texts) are fastest; single rows, as ``map`` passes them without
    ``batched=True``, are slowest.

    Parameters
    ----------
    folder : str or path
        What `DomainAdapter.save_pretrained` wrote.
    text_column : str
    label_column, confidence_column : str
        The new columns: the label, and its probability.
    device : str, optional
        None uses a GPU if one is available.
    digest : str, optional
        What ``Predictor(folder).digest`` is for the model meant: another model is refused.
    domain : {"target", "source"}
        Where the texts are from, as for ``DomainAdapter.outputs``.
    domain_column : str, optional
        The column that has this for each text, in place of `domain`.

    Attributes
    ----------
    digest : str
        Tells the model from every other. It is pickled instead of the weights, so that `datasets`
        does not take labels of an earlier model from its cache, and a process that finds another
        model in the folder stops.

    Raises
    ------
    ValueError
        If the folder is not a complete saved model or holds another model than `digest` says, if
        `domain` is no domain, or if a batch lacks the column of texts or of domains or already has
        one of the new columns.

    Examples
    --------
    ```python
    from datasets import load_dataset

    texts = load_dataset("csv", data_files="tweets.csv", split="train")
    labelled = texts.map(Predictor("model"), batched=True, batch_size=1000)
    labelled.to_parquet("labels.parquet")
    ```

    and on several machines, where each actor loads the model, and the digest ensures that an actor
    that starts later loads the same:

    ```python
    import ray

    texts = ray.data.read_parquet("tweets/")
    labelled = texts.map_batches(
        Predictor,
        fn_constructor_args=("model",),
        fn_constructor_kwargs={"digest": Predictor("model").digest},
        batch_size=1000,
        compute=ray.data.ActorPoolStrategy(size=4),
    )
    labelled.write_parquet("labels/")
    ```

    """

    def __init__(
        self,
        folder: str | PathLike[str],
        text_column: str = "text",
        label_column: str = "label",
        confidence_column: str = "confidence",
        device: str | None = None,
        digest: str | None = None,
        domain: str = "target",
        domain_column: str | None = None,
    ) -> None:
        self.folder, self.device = folder, device
        self.text_column, self.label_column = text_column, label_column
        self.confidence_column = confidence_column
        self.domain, self.domain_column = domain, domain_column
        self._load(digest)

    def _load(self, digest: str | None) -> None:
        """Load the model, and raise a ValueError if it is not the one with a digest."""
        from dann_transfer.adapter import DomainAdapter
        from dann_transfer.fitting.saving import digest_of, located
        from dann_transfer.texts.target import target_rows

        target_rows(self.domain, 0)
        path = located(self.folder)
        before, after = "", digest_of(path)
        # It may be replaced while it is being read.
        while before != after:
            if digest not in (None, after):
                raise ValueError(
                    f"{str(self.folder)!r} holds another model than the one that this Predictor "
                    f"was made with: its digest is {after[:12]}..., not {str(digest)[:12]}... A "
                    "model was saved there in the meantime, or this machine has another copy. Make "
                    "a new Predictor, and label all texts with it."
                )
            self.adapter = DomainAdapter.from_pretrained(path, device=self.device)
            before, after = after, digest_of(path)
        self.adapter.fitted_.refuse_several("Predictor")
        self.digest = after

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the weights: another process reads them from the folder."""
        return {key: value for key, value in vars(self).items() if key != "adapter"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the model again, if it is still the same."""
        vars(self).update(state)
        self._load(state["digest"])

    def __call__(self, batch: Any) -> Any:
        """Return a batch or a row with the label of each text and its probability.

        Parameters
        ----------
        batch : mapping, or table of pandas, polars or pyarrow
            Columns by name; or a row, whose text is a string or missing, which is slow.

        Returns
        -------
        The kind of table that came in, or a dict for any other mapping.

        """
        columns = _columns(batch)
        if self.text_column not in columns:
            raise ValueError(
                f"a batch has no column {self.text_column!r}; it has {columns}. Name yours with "
                "text_column=..."
            )
        if self.domain_column is not None and self.domain_column not in columns:
            raise ValueError(
                f"a batch has no column {self.domain_column!r}, which domain_column names; it has "
                f"{columns}."
            )
        for column in (self.label_column, self.confidence_column):
            if column in columns:
                raise ValueError(
                    f"a batch already has a column {column!r}; name another with label_column= or "
                    "confidence_column=, or remove it."
                )
        texts = batch[self.text_column]
        # What `map` passes without `batched=True`; a missing text has no length either.
        is_row = isinstance(texts, str) or not hasattr(texts, "__len__")
        domain: Any = self.domain
        if self.domain_column is not None:
            domain = batch[self.domain_column]
            domain = [domain] if is_row else domain
        answers = self._answers([texts] if is_row else texts, domain)
        if is_row:
            return {**batch, **{name: column[0].item() for name, column in answers.items()}}
        return _extended(batch, answers)

    def _answers(self, texts: Any, domain: Any) -> dict[str, np.ndarray]:
        """Return the new columns for some texts from a domain, or from one each."""
        # It needs torch, and importing this folder's ONNX model must not.
        from dann_transfer.judging import decision
        from dann_transfer.judging.answering import answered, confidence_of

        classes = self.adapter.classes_
        if not len(texts):
            p = np.empty((0, len(classes)), np.float32)
            return {
                self.label_column: decision.labels(p, classes),
                self.confidence_column: p.max(1),
            }
        outputs = self.adapter.outputs(texts, domain)
        p = outputs.probabilities
        ranks = self.adapter.fitted_.ranks
        labels = decision.labels(p, classes, *self.adapter.new_classes(outputs, domain), ranks)
        confidence = confidence_of(p, answered(p, ranks))
        return {self.label_column: labels, self.confidence_column: confidence}


def _library(batch: Any) -> str:
    """Return the name of the library that a batch is a table of, or nothing."""
    name = type(batch).__module__.partition(".")[0]
    is_table = hasattr(batch, "columns") and hasattr(batch, "__getitem__")
    return name if is_table and name in ("pandas", "polars", "pyarrow") else ""


def _columns(batch: Any) -> list[str]:
    """Return the names of a batch's columns."""
    if isinstance(batch, Mapping):
        return list(batch)
    if hasattr(batch, "collect_schema") and hasattr(batch, "collect"):
        raise TypeError("a batch is a LazyFrame, which holds no rows yet; pass batch.collect().")
    library = _library(batch)
    if not library:
        raise TypeError(
            f"a batch is a {type(batch).__name__}, not a mapping or a table of pandas, polars or "
            "pyarrow; pass columns by name, such as {'text': texts}."
        )
    return list(batch.column_names if library == "pyarrow" else batch.columns)


def _extended(batch: Any, answers: dict[str, np.ndarray]) -> Any:
    """Return a batch with more columns, as the kind of table that it is."""
    library = _library(batch)
    if library == "pandas":
        return batch.assign(**answers)
    if library == "polars":
        import polars

        return batch.with_columns(polars.Series(name, c) for name, c in answers.items())
    if library == "pyarrow":
        import pyarrow

        for name, column in answers.items():
            batch = batch.append_column(name, pyarrow.array(column))
        return batch
    return {**batch, **answers}
