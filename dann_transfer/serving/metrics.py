"""What a service counts, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Bounds of the histogram of batches: numbers of texts."""


class Metrics:
    """Numbers of one application; several in a process have their own.

    Parameters
    ----------
    waiting : callable
        Returns the number of texts that wait.

    """

    def __init__(self, waiting: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        shared: dict[str, Any] = {"namespace": "dann_transfer", "registry": self.registry}
        self.requests = Counter(
            "requests", "Requests to /predict, by status.", ["status"], **shared
        )
        self.seconds = Histogram(
            "request_seconds", "Seconds from a request to /predict to its answer.", **shared
        )
        self.predictions = Counter(
            "predictions", "Texts by predicted label, which is empty for one left open.", ["label"],
            **shared,
        )  # fmt: skip
        self.cut = Counter("cut_texts", "Texts longer than the model reads.", **shared)
        self.empty = Counter("empty_texts", "Texts that are blank or missing.", **shared)
        self.batches = Histogram(
            "batch_texts", "Texts that passed through the model at once.", buckets=SIZES, **shared
        )
        Gauge("waiting_texts", "Texts that wait.", **shared).set_function(waiting)

    def count(self, predictions: Iterable[Any]) -> None:
        """Count predictions by label, and the texts that were cut or empty."""
        for prediction in predictions:
            label = "" if prediction.label is None else str(prediction.label)
            self.predictions.labels(label).inc()
            self.cut.inc(prediction.cut)
            self.empty.inc(prediction.empty)

    def text(self) -> bytes:
        """Return all numbers as Prometheus reads them."""
        return generate_latest(self.registry)


class MeasuredRequests:
    """Counts requests to /predict and their seconds, including those that are refused."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Any
    ) -> None:
        """Pass on a request, and note the status of its answer."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or path != "/predict":
            await self.app(scope, receive, send)
            return
        status, start = 500, perf_counter()

        async def send_on(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_on)
        finally:
            self.metrics.requests.labels(str(status)).inc()
            self.metrics.seconds.observe(perf_counter() - start)
