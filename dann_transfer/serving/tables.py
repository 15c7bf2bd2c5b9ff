"""Apply a saved model to tables in batches: `datasets.map`, Ray Data, or your own loop."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np

from dann_transfer.judging import decision


class Predictor:
    """Predict the labels of batches with a saved model, which each process loads once.

    Batches are mappings of columns, as `datasets` and Ray Data pass them. They are returned with
    two more columns, in the same order. Within a batch, texts are sorted by length and predicted in
    smaller batches, so that large batches (a thousand texts) are fastest.

    Parameters
    ----------
    folder : str or path
        What `DomainAdapter.save_pretrained` wrote.
    text_column : str
    label_column, confidence_column : str
        The new columns: the likeliest label, and its probability.
    device : str, optional
        None uses a GPU if one is available.

    Raises
    ------
    ValueError
        If the folder is not a complete saved model, or if a batch lacks the column of texts or
        already has one of the new columns.

    Examples
    --------
    ```python
    from datasets import load_dataset

    texts = load_dataset("csv", data_files="tweets.csv", split="train")
    labelled = texts.map(Predictor("model"), batched=True, batch_size=1000)
    labelled.to_parquet("labels.parquet")
    ```

    and on several machines, where each actor has a model of its own:

    ```python
    import ray

    texts = ray.data.read_parquet("tweets/")
    labelled = texts.map_batches(
        Predictor, fn_constructor_args=("model",), batch_size=1000, concurrency=4
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
    ) -> None:
        self.folder, self.device = folder, device
        self.text_column, self.label_column = text_column, label_column
        self.confidence_column = confidence_column
        self._load()

    def _load(self) -> None:
        from dann_transfer.adapter import DomainAdapter

        self.adapter = DomainAdapter.from_pretrained(self.folder, device=self.device)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the weights: another process reads them from the folder."""
        return {key: value for key, value in vars(self).items() if key != "adapter"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the model again."""
        vars(self).update(state)
        self._load()

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the batch with the likeliest label of each text and its probability."""
        if self.text_column not in batch:
            raise ValueError(
                f"a batch has no column {self.text_column!r}; it has {sorted(batch)}. Name yours "
                "with text_column=..."
            )
        for column in (self.label_column, self.confidence_column):
            if column in batch:
                raise ValueError(
                    f"a batch already has a column {column!r}; name another with label_column= or "
                    "confidence_column=, or remove it."
                )
        texts = list(batch[self.text_column])
        classes = self.adapter.classes_
        p = self.adapter.predict_proba(texts) if texts else np.empty((0, len(classes)))
        found = {self.label_column: decision.labels(p, classes), self.confidence_column: p.max(1)}
        return {**batch, **found}
