"""Serve a saved model over HTTP: requests that wait together pass through the model together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, FailFast, Field

from dann_transfer._version import __version__
from dann_transfer.adapter import DomainAdapter
from dann_transfer.ground.checks import check_number
from dann_transfer.ground.settings import public_name
from dann_transfer.judging import decision
from dann_transfer.judging.answering import answered, confidence_of
from dann_transfer.serving.metrics import CONTENT_TYPE, MeasuredRequests, Metrics
from dann_transfer.texts.reading import as_texts
from dann_transfer.texts.tokens import tokenize

PAGE = Path(__file__).with_name("page.html")
"""The page to try a service on; like the service, it needs no other server."""

Label = str | int | float | bool


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
    body_seconds: float = 15.0
    """Seconds within which a request's body must have come; later it is refused with 408."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name == "body_seconds":
                check_number(f"{name}={value!r}", value, low=0, above=True)
            else:
                check_number(f"{name}={value!r}", value, low=1, whole=True)


class Busy(Exception):
    """So many texts are already waiting that another request would wait too long."""


class Batcher:
    """Passes texts of several requests to a model together: those that came while it was busy.

    No request waits for others to arrive: a lone request passes at once.

    Parameters
    ----------
    predict : callable
        Turns texts, or texts with what belongs to each, into an array with a row for each; called
        in a thread, one call at a time.
    limits : Limits

    """

    def __init__(self, predict: Callable[[list[Any]], np.ndarray], limits: Limits) -> None:
        self.predict, self.limits = predict, limits
        self.requests: deque[tuple[list[Any], asyncio.Future[np.ndarray]]] = deque()
        self.waiting = 0
        """Number of texts that have not begun to pass."""
        self._passing: asyncio.Task[None] | None = None

    async def __call__(self, texts: list[Any]) -> np.ndarray:
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

    def _take(self) -> list[tuple[list[Any], asyncio.Future[np.ndarray]]]:
        """Return the requests that pass next: at least one, and at most a batch of texts."""
        taken: list[tuple[list[Any], asyncio.Future[np.ndarray]]] = []
        n = 0
        while self.requests and (not taken or n + len(self.requests[0][0]) <= self.limits.batch):
            taken.append(self.requests.popleft())
            n += len(taken[-1][0])
        self.waiting -= n
        return taken

    async def _pass(self) -> None:
        """Pass waiting requests until there are none."""
        while taken := self._take():
            texts = [text for request, _ in taken for text in request]
            try:
                rows = await asyncio.to_thread(self.predict, texts)
            except Exception as error:
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            ends = np.cumsum([len(request) for request, _ in taken])[:-1]
            for (_, future), part in zip(taken, np.split(rows, ends), strict=True):
                if not future.done():
                    future.set_result(part)


class Request(BaseModel):
    """Texts to label."""

    model_config = ConfigDict(extra="forbid")

    # Of a million wrong items, reporting one is enough.
    texts: Annotated[list[str | None], FailFast()] = Field(min_length=1)
    """A blank or missing text is labelled as an empty one, as in Python."""
    abstain_below: float = Field(0.0, ge=0.0, le=1.0, strict=True)
    """The label is null where the model's probability is lower."""
    domain: Literal["target", "source"] = "target"
    """Where the texts are from, which matters to a model that maps features of target texts."""
    probabilities: bool = Field(False, strict=True)
    """Answer with the probabilities of all classes."""


class Prediction(BaseModel):
    """The model's prediction for a text."""

    label: Label | None
    """Null where the model is less sure than ``abstain_below``."""
    probability: float
    """That of the most probable class."""
    cut: bool
    """Whether the text is longer than the model reads, so that a part of it did not count."""
    empty: bool
    """Whether the text is blank or missing, so that the model had nothing to go by."""
    probabilities: list[float] = []
    """Those of all classes, in their order; only if the request asks for them."""


class Answer(BaseModel):
    """A prediction for each text, in the same order."""

    predictions: list[Prediction]
    classes: list[Label] = []
    """Whose probabilities are listed; only if the request asks for them."""


class Health(BaseModel):
    """That the process runs."""

    status: Literal["ok"] = "ok"
    waiting: int
    """The number of texts that wait."""


class Ready(BaseModel):
    """Whether a further request would be taken."""

    ready: bool


class Model(BaseModel):
    """The model that answers."""

    method: str
    classes: list[Label]
    """In the order of the probabilities."""
    encoder: str
    """Name of the pretrained encoder, or the last part of its folder."""
    max_length: int
    """Number of tokens that are read of a text."""
    align: str | None
    """The map of target features, if the model has one."""
    unknown: Label | None
    """The label of texts of classes that the model does not know, if it tells them."""
    version: str
    """That of dann_transfer."""


class BoundedBodies:
    """Refuses request bodies that are too large, before they are read, or that do not come."""

    def __init__(self, app: Any, limits: Limits) -> None:
        self.app, self.limits = app, limits

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Any
    ) -> None:
        """Pass on a request if its body is small enough, whether or not it states its length."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most, seconds = self.limits.body, self.limits.body_seconds
        too_large = f"the body is larger than {most} bytes."
        too_late = f"the body did not come within {seconds:g} seconds."
        # What is left of it on the connection would be taken for the next request.
        close = {"connection": "close"}
        length = dict(scope["headers"]).get(b"content-length", b"0")
        end = asyncio.get_running_loop().time() + seconds
        size, complete = 0, False

        async def bounded() -> Any:
            nonlocal size, complete
            if complete:
                # What comes now is only whether the client leaves.
                return await receive()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, too_late, close) from None
            size += len(message.get("body", b""))
            if size > most:
                raise HTTPException(413, too_large, close)
            complete = not message.get("more_body", False)
            return message

        if length.isdigit() and int(length) > most:
            await JSONResponse({"detail": too_large}, 413, close)(scope, receive, send)
            return
        await self.app(scope, bounded, send)


async def _invalid(_: Any, error: Exception) -> JSONResponse:
    """Report what is wrong with a request, without sending its content back."""
    assert isinstance(error, RequestValidationError)
    details = [{key: e[key] for key in ("loc", "msg", "type")} for e in error.errors()]
    return JSONResponse({"detail": details}, 422)


def create_app(adapter: DomainAdapter, limits: Limits | None = None) -> FastAPI:
    """Return an ASGI application that answers with a model's labels.

    ``POST /predict`` takes ``{"texts": [...]}``, and optionally ``"abstain_below"``, ``"domain"``
    and ``"probabilities"``. ``GET /health`` reports that it runs, ``/ready`` whether it takes a
    further request (503 if not), ``/model`` which model it is, and ``/metrics`` its numbers for
    Prometheus; ``/docs`` is a page to try it out. A faulty request is answered with 422, one with
    too large a body with 413, one whose body does not come with 408, and one that would wait too
    long with 503.
    `serving.server.serve` runs it; in another server, bound the time that a connection may be idle
    and that a shutdown may take.

    Parameters
    ----------
    adapter : DomainAdapter
        Fitted.
    limits : Limits, optional

    Examples
    --------
    ```python
    serve(create_app(DomainAdapter.from_pretrained("model")), port=8000)
    ```

    """
    adapter.fitted_.refuse_several("the service")
    limits = limits or Limits()

    def passed(rows: list[tuple[str, str]]) -> np.ndarray:
        texts, domains = zip(*rows, strict=True)
        metrics.batches.observe(len(texts))
        if adapter.unknown is None:
            return adapter.predict_proba(texts, domain=domains)
        outputs = adapter.outputs(texts, domain=domains)
        new, _ = adapter.new_classes(outputs, domains)
        assert new is not None
        # One more column says which texts are of new classes.
        return np.column_stack([outputs.probabilities, new])

    batcher = Batcher(passed, limits)
    metrics = Metrics(lambda: batcher.waiting)

    # FastAPI's own pages load their scripts from elsewhere.
    app = FastAPI(title="dann_transfer", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(BoundedBodies, limits=limits)
    app.add_middleware(MeasuredRequests, metrics=metrics)
    app.add_exception_handler(RequestValidationError, _invalid)
    _add_reports(app, adapter, batcher, metrics)

    @app.post("/predict", response_model_exclude_unset=True)
    async def predict(request: Request) -> Answer:
        """Label texts."""
        texts = _checked(request.texts, limits)
        try:
            rows = await batcher([(text, request.domain) for text in texts])
        except Busy as error:
            message = f"{batcher.waiting} texts are already waiting; try again in a moment."
            raise HTTPException(503, message, headers={"Retry-After": "1"}) from error
        n = len(adapter.classes_)
        rows, new = rows[:, :n], None if adapter.unknown is None else rows[:, n] > 0
        answers = decision.abstain(
            rows,
            adapter.classes_,
            request.abstain_below,
            new=new,
            unknown=adapter.unknown,
            ranks=(ranks := adapter.fitted_.ranks),
        )
        labels = answers.tolist()
        sure = confidence_of(rows, answered(rows, ranks)).tolist()
        tokenizer, longest = adapter.encoder_.tokenizer, adapter.params_["max_length"]
        cut = await asyncio.to_thread(which_cut, tokenizer, texts, longest)
        predictions = [
            Prediction(label=label, probability=p, cut=is_cut, empty=not text)
            for label, p, is_cut, text in zip(labels, sure, cut, texts, strict=True)
        ]
        metrics.count(predictions)
        if not request.probabilities:
            return Answer(predictions=predictions)
        for prediction, row in zip(predictions, rows.tolist(), strict=True):
            prediction.probabilities = row
        return Answer(predictions=predictions, classes=adapter.classes_.tolist())

    return app


def _add_reports(app: FastAPI, adapter: DomainAdapter, batcher: Batcher, metrics: Metrics) -> None:
    """Add what a service reports about itself and its model."""

    @app.get("/health")
    async def health() -> Health:
        """Report that the service runs, and how many texts wait."""
        return Health(status="ok", waiting=batcher.waiting)

    @app.get("/ready", responses={503: {"model": Ready}})
    async def ready(response: Response) -> Ready:
        """Report whether the service takes a further request; if not, the status is 503."""
        is_ready = batcher.waiting < batcher.limits.waiting
        response.status_code = 200 if is_ready else 503
        return Ready(ready=is_ready)

    @app.get("/model")
    async def model() -> Model:
        """Describe the model that answers."""
        return Model(
            method=str(adapter.params_["method"]),
            classes=adapter.classes_.tolist(),
            # Where a folder lies on the machine that trained is nobody's business.
            encoder=public_name(adapter.params_["encoder"]),
            max_length=adapter.params_["max_length"],
            align=None if adapter.alignment_ is None else adapter.params_["align"],
            unknown=adapter.unknown,
            version=__version__,
        )

    @app.get("/metrics", response_class=Response)
    async def prometheus() -> Response:
        """Report requests, seconds, labels and waiting texts, as Prometheus reads them."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/docs", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE.read_text(encoding="utf-8"))


def which_cut(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[bool]:
    """Return of each text whether it is longer than max_length tokens."""
    tokens, n = tokenize(tokenizer, texts, max_length)
    cut = (tokens.lengths == max_length) & (n > 0)
    if cut.sum() > n:
        # Some of these are just as long as the model reads.
        for i in np.flatnonzero(cut).tolist():
            cut[i] = tokenize(tokenizer, [texts[i]], max_length)[1]
    return list(cut.tolist())


def _checked(texts: Sequence[str | None], limits: Limits) -> list[str]:
    """Return texts that the model accepts, or raise an error that says what is wrong with them."""
    try:
        if len(texts) > limits.texts:
            raise ValueError(f"{len(texts)} texts are too many; send at most {limits.texts}.")
        for i, text in enumerate(texts):
            if text is not None and len(text) > limits.characters:
                raise ValueError(
                    f"texts[{i}] has {len(text)} characters; send at most {limits.characters}."
                )
        return as_texts(texts, "texts", empty_is_text=True)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
