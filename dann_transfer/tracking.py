"""Write a run's numbers to TensorBoard, Weights & Biases, MLflow or another Ignite logger."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dann_transfer.ground.notices import is_first
from dann_transfer.ground.options import CANDIDATES_COMPLETED

if TYPE_CHECKING:
    from ignite.engine import Engine
    from ignite.handlers.base_logger import BaseLogger


def log_to(logger: BaseLogger, every: int = 1) -> Callable[[Engine], None]:
    """Return a function for ``fit(attach=...)`` that writes a run's numbers to an Ignite logger.

    Steps are written under "training/" (losses, strength, learning rate, gradient norms), and the
    accuracy on held-out source texts after each epoch under "validation/". With `method="auto"`,
    the name of the candidate comes first: "mcc/training/". The logger is closed when the run has
    ended, and after the last candidate's.

    Parameters
    ----------
    logger : BaseLogger
        Such as ``ignite.handlers.TensorboardLogger(log_dir="runs")``, ``WandBLogger`` or
        ``MLflowLogger``, each of which needs its own package.
    every : int
        Write one step out of this many.

    Raises
    ------
    ValueError
        If `every` is not a whole number of at least 1.

    Examples
    --------
    ```python
    from ignite.handlers import TensorboardLogger

    adapter.fit(X, y, X_target=T, attach=log_to(TensorboardLogger(log_dir="runs/tensorboard")))
    ```

    """
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise ValueError(f"every={every!r} must be a whole number of steps of at least 1.")

    def attach(engine: Engine) -> None:
        from ignite.engine import Events
        from ignite.handlers import global_step_from_engine

        if not is_first():
            return
        candidate = getattr(engine.state, "candidate", None)
        start = "" if candidate is None else f"{candidate}/"
        logger.attach_output_handler(
            engine,
            Events.ITERATION_COMPLETED(every=every),
            tag=f"{start}training",
            output_transform=lambda row: {k: float(v) for k, v in row.items() if k != "step"},
        )
        logger.attach_output_handler(
            engine,
            Events.EPOCH_COMPLETED,
            tag=f"{start}validation",
            # Without held-out texts there are no metrics.
            metric_names="all",
            global_step_transform=global_step_from_engine(engine, Events.ITERATION_COMPLETED),
        )
        ended = Events.COMPLETED if candidate is None else CANDIDATES_COMPLETED
        engine.add_event_handler(ended, logger.close)

    return attach
