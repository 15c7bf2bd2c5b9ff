"""Serve a saved model over HTTP: requests that wait together pass through the model together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, FailFast, Field

from dann_transfer._version import __version__
from dann_transfer.adapter import DomainAdapter
from dann_transfer.judging import decision
from dann_transfer.texts.reading import as_texts


@dataclass(frozen=True)
class Limits:
    """Limits beyond which a service refuses requests, so that it can answer the others."""

    texts: int = 256
    """Maximum number of texts in a request."""
    characters: int = 20_000
    """Maximum characters in a text; the model reads at most ``max_length`` tokens anyway."""
    body: int = 2_000_000
    """Maximum number of bytes in a request."""
    batch: int = 64
    """Maximum number of texts that pass through the model at once."""
    waiting: int = 2048
    """Maximum number of texts that may wait; further requests get status 503."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1.")


class Busy(Exception):
    """So many texts are already waiting that another request would wait too long."""


class Batcher:
    """Passes texts of several requests to a model together: those that came while it was busy.

    No request waits for others to arrive: a lone request passes at once.

    Parameters
    ----------
    predict : callable
        Turns texts into an array with a row for each; called in a thread, one call at a time.
    limits : Limits

    """

    def __init__(self, predict: Callable[[list[str]], np.ndarray], limits: Limits) -> None:
        self.predict, self.limits = predict, limits
        self.requests: deque[tuple[list[str], asyncio.Future[np.ndarray]]] = deque()
        self.waiting = 0
        """Number of texts that have not begun to pass."""
        self._passing: asyncio.Task[None] | None = None

    async def __call__(self, texts: list[str]) -> np.ndarray:
        """Return the rows of some texts.

        Raises
        ------
        Busy
            If too many texts are already waiting.

        """
        if self.waiting and self.waiting + len(texts) > self.limits.waiting:
            raise Busy
        future = asyncio.get_running_loop().create_future()
        self.requests.append((texts, future))
        self.waiting += len(texts)
        if self._passing is None or self._passing.done():
            self._passing = asyncio.create_task(self._pass())
        return await future

    def _take(self) -> list[tuple[list[str], asyncio.Future[np.ndarray]]]:
        """Return the requests that pass next: at least one, and at most a batch of texts."""
        taken: list[tuple[list[str], asyncio.Future[np.ndarray]]] = []
        n = 0
        while self.requests and (not taken or n + len(self.requests[0][0]) <= self.limits.batch):
            taken.append(self.requests.popleft())
            n += len(taken[-1][0])
        self.waiting -= n
        return taken

    async def _pass(self) -> None:
        """Pass waiting requests until there are none."""
        while taken := self._take():
            texts = [text for own, _ in taken for text in own]
            try:
                rows = await asyncio.to_thread(self.predict, texts)
            except Exception as error:
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            ends = np.cumsum([len(own) for own, _ in taken])[:-1]
            for (_, future), part in zip(taken, np.split(rows, ends), strict=True):
                if not future.done():
                    future.set_result(part)


class Request(BaseModel):
    """Texts to label."""

    model_config = ConfigDict(extra="forbid")

    # Of a million wrong items, reporting one is enough.
    texts: Annotated[list[str], FailFast()] = Field(min_length=1)
    abstain_below: float = Field(0.0, ge=0.0, le=1.0)
    """The label is null where the model's probability is lower."""


class Prediction(BaseModel):
    """The model's prediction for a text."""

    label: str | int | float | bool | None
    probability: float


class Answer(BaseModel):
    """A prediction for each text, in the same order."""

    predictions: list[Prediction]


class SmallBodies:
    """Refuses request bodies that are too large, before they are read."""

    def __init__(self, app: Any, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Any
    ) -> None:
        """Pass on a request if its body is small enough, whether or not it states its length."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        said = f"the body is larger than {self.most} bytes."
        length = dict(scope["headers"]).get(b"content-length", b"0")
        n = 0

        async def counted() -> Any:
            nonlocal n
            message = await receive()
            n += len(message.get("body", b""))
            if n > self.most:
                raise HTTPException(413, said)
            return message

        if length.isdigit() and int(length) > self.most:
            await JSONResponse({"detail": said}, 413, {"connection": "close"})(scope, receive, send)
            return
        await self.app(scope, counted, send)


async def _invalid(_: Any, error: Exception) -> JSONResponse:
    """Report what is wrong with a request, without sending its content back."""
    assert isinstance(error, RequestValidationError)
    details = [{key: e[key] for key in ("loc", "msg", "type")} for e in error.errors()]
    return JSONResponse({"detail": details}, 422)


def create_app(adapter: DomainAdapter, limits: Limits | None = None) -> FastAPI:
    """Return an ASGI application that answers with a model's labels.

    ``POST /predict`` takes ``{"texts": [...]}`` and optionally ``"abstain_below"``;
    ``GET /health`` and ``GET /model`` report that it runs and which model it is; ``/docs`` is a
    page to try it out. A faulty request is answered with 422, one with too large a body with 413,
    and one that would wait too long with 503.

    Parameters
    ----------
    adapter : DomainAdapter
        Fitted.
    limits : Limits, optional

    Examples
    --------
    ```python
    uvicorn.run(create_app(DomainAdapter.from_pretrained("model")), port=8000)
    ```

    """
    limits = limits or Limits()
    batcher = Batcher(adapter.predict_proba, limits)

    app = FastAPI(title="dann_transfer", version=__version__)
    app.add_middleware(SmallBodies, most=limits.body)
    app.add_exception_handler(RequestValidationError, _invalid)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Report that the service runs, and how many texts wait."""
        return {"status": "ok", "waiting": batcher.waiting}

    @app.get("/model")
    async def model() -> dict[str, Any]:
        """Describe the model that answers."""
        return {
            "method": str(adapter.params_["method"]),
            "classes": adapter.classes_.tolist(),
            "encoder": str(adapter.params_["encoder"]),
            "max_length": adapter.params_["max_length"],
        }

    @app.post("/predict")
    async def predict(request: Request) -> Answer:
        """Label texts."""
        try:
            rows = await batcher(_checked(request.texts, limits))
        except Busy as error:
            message = f"{batcher.waiting} texts are already waiting; try again in a moment."
            raise HTTPException(503, message, headers={"Retry-After": "1"}) from error
        labels = decision.abstain(rows, adapter.classes_, request.abstain_below).tolist()
        sure = rows.max(1).tolist()
        return Answer(
            predictions=[
                Prediction(label=label, probability=p)
                for label, p in zip(labels, sure, strict=True)
            ]
        )

    return app


def _checked(texts: Sequence[str], limits: Limits) -> list[str]:
    """Return texts that the model accepts, or raise an error that says what is wrong with them."""
    try:
        if len(texts) > limits.texts:
            raise ValueError(f"{len(texts)} texts are too many; send at most {limits.texts}.")
        for i, text in enumerate(texts):
            if len(text) > limits.characters:
                raise ValueError(
                    f"texts[{i}] has {len(text)} characters; send at most {limits.characters}."
                )
        return as_texts(texts, "texts")
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
