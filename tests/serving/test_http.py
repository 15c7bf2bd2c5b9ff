"""The HTTP service: the model's own answers, many clients at once, and what it refuses."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import toy_texts
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from dann_transfer.serving.http import Batcher, Busy, Limits, create_app
from dann_transfer.texts.reading import EmptyTextWarning


@pytest.fixture
def client(fitted):
    with TestClient(create_app(fitted, Limits(texts=8, characters=100, body=20_000))) as client:
        yield client


def test_it_answers_as_the_model_does(client, fitted, target):
    answer = client.post("/predict", json={"texts": target[:8]})
    assert answer.status_code == 200
    predictions = answer.json()["predictions"]
    p = fitted.predict_proba(target[:8])
    assert [row["label"] for row in predictions] == fitted.predict(target[:8]).tolist()
    np.testing.assert_allclose([row["probability"] for row in predictions], p.max(1), atol=1e-6)
    threshold = float(np.median(p.max(1)))
    unsure = client.post("/predict", json={"texts": target[:8], "abstain_below": threshold})
    labels = [row["label"] for row in unsure.json()["predictions"]]
    assert [label is None for label in labels] == (p.max(1) < threshold).tolist()
    assert client.get("/health").json() == {"status": "ok", "waiting": 0}
    assert client.get("/model").json()["classes"] == ["neg", "pos"]


def test_it_gives_all_probabilities_on_request(client, fitted, target):
    plain = client.post("/predict", json={"texts": target[:2]}).json()
    assert "classes" not in plain
    assert "probabilities" not in plain["predictions"][0]
    answer = client.post("/predict", json={"texts": target[:2], "probabilities": True}).json()
    assert answer["classes"] == fitted.classes_.tolist() == client.get("/model").json()["classes"]
    rows = [row["probabilities"] for row in answer["predictions"]]
    np.testing.assert_allclose(rows, fitted.predict_proba(target[:2]), atol=1e-6)
    unsure = {"texts": target[:1], "probabilities": True, "abstain_below": 1.0}
    assert client.post("/predict", json=unsure).json()["predictions"][0]["label"] is None


def test_what_it_publishes_names_no_folder_of_this_machine(client, fitted):
    folder = Path(fitted.params_["encoder"])
    assert folder.is_absolute()
    assert client.get("/model").json()["encoder"] == folder.name
    for path in ("/model", "/health", "/ready", "/metrics", "/docs", "/openapi.json"):
        assert str(folder.parent) not in client.get(path).text, path


def test_every_path_and_field_is_documented(client):
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/predict", "/health", "/ready", "/model", "/metrics"}
    for path, ways in schema["paths"].items():
        assert all(facts["description"] for facts in ways.values()), path
        assert path in (create_app.__doc__ or "")
    page = (Path(__file__).parents[2] / "docs" / "saving.md").read_text()
    fields = {name for part in ("Request", "Prediction", "Answer", "Model") for name in
              schema["components"]["schemas"][part]["properties"]}  # fmt: skip
    assert not [name for name in (*schema["paths"], *fields) if f"{name}`" not in page]


def test_the_page_to_try_it_on_needs_no_other_server(client):
    page = client.get("/docs").text
    assert "<form>" in page
    assert not re.search(r"https?:|src=|@import", page)
    assert set(re.findall(r'href="(.*?)"', page)) == {"data:,", "openapi.json"}


@pytest.mark.filterwarnings("ignore:.*were cut", "ignore:.*are empty")
def test_prometheus_reads_what_happened(client):
    def numbers() -> dict[tuple[str, str], float]:
        text = client.get("/metrics")
        assert text.headers["content-type"].startswith("text/plain")
        return {
            (s.name.removeprefix("dann_transfer_"), "".join(s.labels.values())): s.value
            for family in text_string_to_metric_families(text.text)
            for s in family.samples
        }

    client.post("/predict", json={"texts": ["good", " ", "a " * 40]})
    client.post("/predict", json={"texts": ["lol"], "abstain_below": 1.0})
    client.post("/predict", json={"texts": []})
    client.post("/predict", json={"texts": ["l" * 40_000]})
    seen = numbers()
    statuses = {status: seen["requests_total", status] for status in ("200", "422", "413")}
    assert statuses == {"200": 2, "422": 1, "413": 1}
    assert seen["request_seconds_count", ""] == 4
    assert seen["predictions_total", "pos"] + seen.get(("predictions_total", "neg"), 0) == 3
    assert seen["predictions_total", ""] == 1
    assert (seen["empty_texts_total", ""], seen["cut_texts_total", ""]) == (1, 1)
    assert seen["waiting_texts", ""] == 0
    assert (seen["batch_texts_count", ""], seen["batch_texts_sum", ""]) == (2, 4)


@pytest.mark.parametrize(("waiting", "status"), [(0, 200), (2047, 200), (2048, 503)])
def test_it_is_not_ready_while_it_would_refuse(fitted, monkeypatch, waiting, status):
    """Health stays good, so that a busy process is not restarted."""
    init = Batcher.__init__

    def with_waiting(self, predict, limits):
        init(self, predict, limits)
        self.waiting = waiting

    monkeypatch.setattr(Batcher, "__init__", with_waiting)
    client = TestClient(create_app(fitted))
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()) == (status, {"ready": status == 200})
    assert client.get("/health").json() == {"status": "ok", "waiting": waiting}


def test_labels_keep_their_type(tiny, source, target):
    codes = [int(label == "pos") for label in source[1]]
    adapter = tiny(method="source_only").fit(source[0], codes)
    with TestClient(create_app(adapter)) as client:
        rows = client.post("/predict", json={"texts": target[:5]}).json()["predictions"]
    assert [type(row["label"]) for row in rows] == [int] * 5
    assert [row["label"] for row in rows] == adapter.predict(target[:5]).tolist()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"texts": []}, 422, "at least 1 item"),
        ({"texts": "lol"}, 422, "valid list"),
        ({"texts": [7]}, 422, "valid string"),
        ({"text": ["lol"]}, 422, "Field required"),
        ({"texts": ["lol"], "abstain_below": 2}, 422, "less than or equal to 1"),
        ({"texts": ["lol"], "abstain_below": True}, 422, "valid number"),
        ({"texts": ["lol"], "abstain_below": "0.5"}, 422, "valid number"),
        ({"texts": ["lol"], "abstain_below": None}, 422, "valid number"),
        ({"texts": ["lol"] * 9}, 422, "9 texts are too many; send at most 8."),
        ({"texts": ["l" * 101]}, 422, "texts[0] has 101 characters; send at most 100."),
        ({"texts": ["l" * 40_000]}, 413, "larger than 20000 bytes"),
        ({"texts": ["lol"], "abstain_bellow": 0.9}, 422, "Extra inputs are not permitted"),
    ],
)
def test_what_is_refused(client, body, status, words):
    answer = client.post("/predict", json=body)
    assert answer.status_code == status
    assert words in answer.text
    assert client.post("/predict", json={"texts": ["lol"]}).status_code == 200


@pytest.mark.filterwarnings("ignore:.*are empty")
@pytest.mark.parametrize("texts", [["good", "", "bad", " \n", None], [" "], [None]])
def test_blank_texts_are_answered_as_in_python(client, fitted, texts):
    rows = client.post("/predict", json={"texts": texts}).json()["predictions"]
    with pytest.warns(EmptyTextWarning):
        labels, p = fitted.predict(texts).tolist(), fitted.predict_proba(texts).max(1)
    assert [row["label"] for row in rows] == labels
    np.testing.assert_allclose([row["probability"] for row in rows], p, atol=1e-6)
    assert [row["empty"] for row in rows] == [not (text or "").strip() for text in texts]


@pytest.mark.filterwarnings("ignore:.*were cut", "ignore:.*are empty")
@pytest.mark.parametrize("lengths", [[3], [30, 31], [30, 30], [31, 1], [0, 30, 31, 500, 29]])
def test_a_client_is_told_which_texts_were_cut(fitted, lengths):
    """The model reads 32 tokens, of which two are special."""
    with TestClient(create_app(fitted)) as client:
        texts = [" ".join(["good"] * n) for n in lengths]
        rows = client.post("/predict", json={"texts": texts}).json()["predictions"]
    assert [row["cut"] for row in rows] == [n > 30 for n in lengths]


def test_a_body_that_does_not_say_how_long_it_is_is_refused_too(client):
    def parts():
        yield b'{"texts": ["'
        for _ in range(300):
            yield b"l" * 100
        yield b'"]}'

    answer = client.post("/predict", content=parts(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    # Whatever else comes on this connection is no request.
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "body",
    [
        b'{"texts": ["\\ud800"]}',
        b'{"texts": [NaN]}',
        b'{"texts": ["a"], "abstain_below": NaN}',
        b"{",
    ],
)
def test_what_no_json_can_say_is_refused(client, body):
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422


def test_a_refusal_is_short(fitted):
    with TestClient(create_app(fitted)) as client:
        started = time.perf_counter()
        answer = client.post("/predict", json={"texts": [7] * 200_000, "text": "l" * 500_000})
        assert answer.status_code == 422
        assert len(answer.content) < 1000
        assert time.perf_counter() - started < 2


def test_it_runs_within_another_application(fitted, target):
    outer = FastAPI()
    outer.mount("/model", create_app(fitted))
    for _ in range(2):
        with TestClient(outer) as client:
            counted = client.get("/model/metrics").text
            answer = client.post("/model/predict", json={"texts": target[:2]})
            assert len(answer.json()["predictions"]) == 2
            assert client.get("/model/health").json()["status"] == "ok"
            assert client.get("/model/metrics").text != counted
            assert 'requests_total{status="200"}' in client.get("/model/metrics").text


def test_many_clients_get_their_own_answers(fitted):
    texts = toy_texts(200, "tweet lol omg", 5)[0]
    wanted = fitted.predict(texts).tolist()
    with TestClient(create_app(fitted)) as client, ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda text: client.post("/predict", json={"texts": [text]}).json(), texts)
        )
    assert [answer["predictions"][0]["label"] for answer in answers] == wanted


class Model:
    """Gives the length of each text, and records the batches it got."""

    def __init__(self):
        self.batches = []

    def __call__(self, texts):
        self.batches.append(texts)
        if "bad" in texts:
            raise RuntimeError("no")
        return np.array([[len(text)] for text in texts])


def together(model, limits, *requests):
    """Send requests at once, and return what each gets."""

    async def main():
        batcher = Batcher(model, limits)
        return await asyncio.gather(*map(batcher, requests), return_exceptions=True)

    return asyncio.run(main())


def test_requests_that_wait_pass_together():
    model = Model()
    rows = together(model, Limits(batch=4), ["a"], ["bb", "ccc"], ["d"], ["eeeee"] * 6, ["f"])
    assert [row.ravel().tolist() for row in rows] == [[1], [2, 3], [1], [5] * 6, [1]]
    # A request is never split: one with six texts passes alone, although a batch holds four.
    assert model.batches == [["a", "bb", "ccc", "d"], ["eeeee"] * 6, ["f"]]


def test_what_fails_fails_alone_and_what_would_wait_too_long_is_refused():
    first, second, third = together(Model(), Limits(batch=1), ["bad"], ["a"], ["bb"])
    assert isinstance(first, RuntimeError)
    assert (second.item(), third.item()) == (1, 2)
    answers = together(Model(), Limits(batch=2, waiting=4), *(["a"] for _ in range(7)))
    assert [isinstance(answer, Busy) for answer in answers] == [False] * 4 + [True] * 3


def test_limits_are_checked():
    with pytest.raises(ValueError, match="batch=0 must be a whole number of at least 1"):
        Limits(batch=0)
    with pytest.raises(ValueError, match="body_seconds=0 must be a number above 0"):
        Limits(body_seconds=0)


def test_the_command_serves_until_it_is_stopped(fitted, tmp_path, target):
    fitted.save_pretrained(tmp_path / "model")
    command = [sys.executable, "-m", "dann_transfer", "serve", str(tmp_path / "model"), "--port"]
    with subprocess.Popen([*command, "0"], stderr=subprocess.PIPE, text=True) as server:
        for line in server.stderr:
            if "running on" in line:
                url = line.split("running on ")[1].split()[0]
                break
        try:
            answer = httpx.post(f"{url}/predict", json={"texts": target[:2]}, timeout=60)
            assert len(answer.json()["predictions"]) == 2
        finally:
            server.terminate()
        assert server.wait(30) in (0, -15, 143)
