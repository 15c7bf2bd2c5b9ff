"""Prediction over Ray's workers: each loads the model once, and one that dies is replaced."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dann_transfer.serving.tables import Predictor


@pytest.fixture(scope="module")
def ray():
    """Start Ray on this machine: two workers for the test, and two for reading and writing."""
    ray = pytest.importorskip("ray")
    ray.init(
        num_cpus=4,
        object_store_memory=100_000_000,
        include_dashboard=False,
        log_to_driver=False,
    )
    yield ray
    ray.shutdown()


def predictor(killed: Path) -> type[Predictor]:
    """Return a Predictor whose process dies on the batch with row 100, the first time.

    It is defined here so that the workers need not find this file.
    """

    class Mortal(Predictor):
        def __call__(self, batch):
            if 100 in list(batch["id"]) and not killed.exists():
                killed.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(batch) | {"worker": [os.getpid()] * len(batch["id"])}

    return Mortal


@pytest.mark.machines
@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_is_killed_loses_no_text(ray, fitted, target, tmp_path):
    texts = target * 3
    fitted.save_pretrained(tmp_path / "model")
    pd.DataFrame({"id": range(len(texts)), "text": texts}).to_parquet(tmp_path / "tweets.parquet")
    rows = ray.data.read_parquet(str(tmp_path / "tweets.parquet")).repartition(6)
    found = rows.map_batches(
        predictor(tmp_path / "killed"),
        fn_constructor_args=(str(tmp_path / "model"),),
        batch_size=20,
        concurrency=2,
    )
    found.write_parquet(str(tmp_path / "labels"))
    written = pd.read_parquet(tmp_path / "labels").sort_values("id")
    assert written["id"].tolist() == list(range(len(texts))), "each text once"
    assert written["label"].tolist() == fitted.predict(texts).tolist()
    p = fitted.predict_proba(texts).max(1)
    np.testing.assert_allclose(written["confidence"], p, atol=1e-5)
    # Earlier results of the dead worker stay; another worker did the batch on which it died.
    killed = int((tmp_path / "killed").read_text())
    assert written.loc[written["id"] == 100, "worker"].item() != killed
