"""Several processes train one model and get the weights of one process, for every method."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import ignite.distributed as idist
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ADAPTING, TINY, Killed, kill_at, make_tiny_encoder, toy_texts, weights
from hypothesis import given, settings
from hypothesis import strategies as st

from dann_transfer import DomainAdapter, tune
from dann_transfer.ground.processes import Processes
from dann_transfer.model.encoder import Encoder
from dann_transfer.texts.batches import PairedBatches
from dann_transfer.texts.tokens import Tokens

pytestmark = [
    pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning"),
    pytest.mark.filterwarnings("ignore::dann_transfer.judging.findings.FindingWarning"),
]

NAMES = ["source_only", *ADAPTING]
# Adam makes a full step from a gradient that is only rounding; a gradient penalty doubles it.
ROUNDING = {"wdgrl": 3e-3, "mcd": 1e-3}


@pytest.fixture(scope="module")
def still_encoder(tmp_path_factory):
    """The tiny encoder without dropout, which each process would draw differently."""
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return make_tiny_encoder(tmp_path_factory.mktemp("still") / "encoder", **off)


def fit(encoder, name, n_source=48, on_step=None, **params):
    source = toy_texts(n_source, "film plot actor scene the", 0)
    target = toy_texts(40, "tweet lol omg today friend", 1)[0]
    # By default a class's share decides close calls between labels, which would follow rounding.
    options = {"neighbors": 10} if name == "student" else None
    adapter = DomainAdapter(
        encoder, **{**TINY, "method": name, "method_options": options, **params}
    )
    return adapter.fit(*source, X_target=target, on_step=on_step)


def work(rank, encoder, out):
    """Do all that the tests check in each process at once: starting processes is slowest."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with pytest.raises(ValueError, match=r"in the source texts.*Pass the same to all processes\."):
        fit(encoder, "dann", n_source=48 + 2 * rank)
    with pytest.raises(ValueError, match="tune searches in one process; start it without torchrun"):
        tune(*toy_texts(48, "film", 0), X_target=toy_texts(40, "lol", 1)[0], encoder=encoder)
    with pytest.raises(Killed):
        fit(encoder, "dann", checkpoint_dir=Path(out, "killed"), on_step=kill_at(4))
    for name in NAMES:
        own = weights(fit(encoder, name))
        for other in Processes.current().all_of(own):
            assert all(torch.equal(value, own[key]) for key, value in other.items()), name
        if rank == 0:
            torch.save(own, Path(out, f"{name}.pt"))


def parallel(function, *args, n=2):
    # A port that is free now, and not the default, which other runs on this machine may use.
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with idist.Parallel(backend="gloo", nproc_per_node=n, master_port=port) as processes:
        processes.run(function, *args)


@pytest.fixture(scope="module")
def by_two(still_encoder, tmp_path_factory):
    """The folder with the weights of every method, trained by two processes."""
    out = tmp_path_factory.mktemp("two")
    parallel(work, still_encoder, str(out))
    return out


def assert_close(one, other, name):
    for key, value in one.items():
        assert torch.allclose(value, other[key], atol=ROUNDING.get(name, 1e-4)), key


@pytest.fixture(scope="module")
def start(still_encoder):
    """The weights of encoder and head before training, the same for every method."""
    return weights(fit(still_encoder, "source_only", learning_rate=1e-12, head_learning_rate=1e-12))


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_give_the_weights_of_one(name, by_two, still_encoder, start):
    one = weights(fit(still_encoder, name))
    assert_close(one, torch.load(by_two / f"{name}.pt", weights_only=True), name)
    # The weights have moved.
    assert max((one[key] - start[key]).abs().max() for key in start) > 2e-4


@pytest.mark.parametrize("name", NAMES)
def test_parts_of_a_batch_give_the_weights_of_the_whole(name, still_encoder):
    whole = weights(fit(still_encoder, name))
    assert_close(whole, weights(fit(still_encoder, name, micro_batch_size=5)), name)


def test_frozen_states_pass_in_parts(still_encoder):
    params = {"freeze_layers": 1, "batch_size": 24}
    whole = weights(fit(still_encoder, "dann", **params))
    assert_close(whole, weights(fit(still_encoder, "dann", micro_batch_size=7, **params)), "dann")


def test_no_more_texts_pass_at_once_than_asked_for(still_encoder, monkeypatch):
    passed = []
    forward = Encoder.forward

    def counted(self, input_ids, attention_mask):
        if self.training:
            passed.append(len(input_ids))
        return forward(self, input_ids, attention_mask)

    monkeypatch.setattr(Encoder, "forward", counted)
    fit(still_encoder, "dann", micro_batch_size=7, epochs=1)
    assert max(passed) <= 7
    passed.clear()
    fit(still_encoder, "dann", epochs=1)
    assert max(passed) > 7


def test_a_run_goes_on_with_another_number_of_processes(by_two, still_encoder):
    steps = []
    resumed = fit(
        still_encoder,
        "dann",
        checkpoint_dir=by_two / "killed",
        on_step=lambda engine, model: steps.append(engine.state.iteration),
    )
    assert steps[0] == 4
    assert_close(weights(fit(still_encoder, "dann")), weights(resumed), "dann")


def one_dies(rank, encoder):
    fit(encoder, "dann", on_step=kill_at(3) if rank == 1 else None)


def test_a_process_that_dies_ends_the_others_with_its_error(still_encoder):
    started = time.monotonic()
    with pytest.raises(Exception, match="Killed"):
        parallel(one_dies, still_encoder)
    assert time.monotonic() - started < 60


def test_torchrun_starts_the_command_line(tiny_encoder, tmp_path):
    texts, labels = toy_texts(60, "film plot actor", 0)
    pd.DataFrame({"text": texts, "label": labels}).to_csv(tmp_path / "s.csv", index=False)
    pd.DataFrame({"text": toy_texts(40, "lol omg", 1)[0]}).to_csv(tmp_path / "t.csv", index=False)
    command = "-m torch.distributed.run --standalone --nproc-per-node 2 "
    command += "-m dann_transfer adapt s.csv t.csv m"
    options = ["--encoder", tiny_encoder, "--method", "dann", "--epochs", "1", "--max-length", "32"]
    done = subprocess.run(
        [sys.executable, *command.split(), *options, "--set", "device=cpu"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("60 labelled source texts") == done.stdout.count("saved to m") == 1
    assert len(DomainAdapter.from_pretrained(tmp_path / "m").predict(texts)) == 60


def test_what_several_processes_cannot_share_is_refused_and_an_allocation_is_no_task(monkeypatch):
    from typer.testing import CliRunner

    from dann_transfer import cli

    monkeypatch.setenv("WORLD_SIZE", "2")
    done = CliRunner().invoke(cli.app, ["predict", "model", "texts.csv"])
    assert done.exit_code == 2
    assert "predict runs in one process; start it without torchrun" in done.stderr
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    done = CliRunner().invoke(cli.app, ["predict", "model", "texts.csv"])
    assert "'model' is not a folder" in done.stderr


def tokens(rng, n):
    return Tokens.from_rows([np.arange(k) for k in rng.integers(1, 9, n)])


@settings(max_examples=60, deadline=None)
@given(
    n_source=st.integers(1, 60),
    n_target=st.integers(1, 60),
    batch_size=st.integers(1, 20),
    world=st.integers(1, 7),
    seed=st.integers(0, 2**32 - 1),
    start=st.integers(0, 40),
)
def test_any_processes_share_any_plan(n_source, n_target, batch_size, world, seed, start):
    """Each source text passes once per epoch, in one process, wherever the run is resumed."""
    rng = np.random.default_rng(seed)
    source, target = tokens(rng, n_source), tokens(rng, n_target)

    def plan():
        return PairedBatches(source, np.zeros(n_source, int), target, batch_size, seed)

    whole, resumed = plan(), plan()
    seen = []
    for step in range(start, start + len(whole)):
        rows = whole.rows(step)
        for own, again in zip(rows, resumed.rows(step), strict=True):
            assert (own == again).all()
        n = sum(map(len, rows))
        shares = [np.arange(n)[Processes(rank, world).share(n)] for rank in range(world)]
        if n >= world:
            assert sorted(np.concatenate(shares)) == list(range(n))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
        else:
            assert all((share == np.arange(n)).all() for share in shares)
        seen += rows[0].tolist()
    if start % len(whole) == 0:
        assert sorted(seen) == list(range(n_source))
