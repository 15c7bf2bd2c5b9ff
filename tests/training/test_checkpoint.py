from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from conftest import TINY, toy_texts

from dann_transfer import methods
from dann_transfer.model.encoder import Encoder
from dann_transfer.model.heads import TaskHead
from dann_transfer.model.model import Classifier
from dann_transfer.model.runtime import Runtime
from dann_transfer.settings import Settings
from dann_transfer.texts.batches import PairedBatches
from dann_transfer.texts.corpus import tokenize
from dann_transfer.training.loop import Trainer


class Stop(Exception):
    pass


def trainer(folder: str, name: str, labels: list) -> Trainer:
    """A run of two epochs of the task, and of two more where the method has a second phase."""
    torch.manual_seed(0)
    encoder = Encoder.from_pretrained(folder)
    method = methods.create(name, {"extra_epochs": 2} if name in {"adda", "shot"} else None)
    method.attach(encoder, 1)
    head = TaskHead(encoder.features, 2)
    method.build(encoder.features, 2)
    remember = method.remember

    def counted(predict_target, progress):
        memory = remember(predict_target, progress)
        labels.append(memory)
        return memory

    method.remember = counted
    texts, y = toy_texts(64, "film plot actor", 0)
    source, target = (
        tokenize(encoder.tokenizer, own, 32)[0] for own in (texts, toy_texts(50, "tweet lol", 1)[0])
    )
    codes = np.unique(y, return_inverse=True)[1]
    batches = PairedBatches(source, codes, target, 16, seed=0)
    settings = Settings.of(TINY, 0, method.default_strength)
    phases, runtime = method.phases(settings.epochs), Runtime.of("cpu")
    model = Classifier(encoder, head)
    return Trainer(model, method, phases, batches, settings, runtime, (source, codes))


@pytest.mark.parametrize("step", [2, 3])
@pytest.mark.parametrize("name", ["dann", "self_training", "mlm", "shot", "adda"])
def test_a_run_goes_on_from_the_middle_of_an_epoch_and_relabels_nothing(name, step, tiny_encoder):
    """Ignite's EPOCH_STARTED fires again there, and would label the target with new weights."""
    whole_labels: list = []
    whole = trainer(tiny_encoder, name, whole_labels)
    # The second phase begins with step 9.
    step += 8 if name in {"adda", "shot"} else 0
    snapshot: dict = {}

    def look(engine):
        if engine.state.iteration == step:
            whole.history.settle()
            snapshot.update({k: copy.deepcopy(v.state_dict()) for k, v in whole.states.items()})

    whole.run(on_step=look)
    labels: list = []
    again = trainer(tiny_encoder, name, labels)
    for key, state in snapshot.items():
        again.states[key].load_state_dict(state)
    again.run()
    for (key, a), (_, b) in zip(
        whole.parts.state_dict().items(), again.parts.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), key
    assert again.history.steps == whole.history.steps
    later = (whole.timeline.at(k) for k in range(step + 1, whole.timeline.total + 1))
    assert len(labels) == sum(moment.starts_epoch for moment in later) > 0
    for own, before in zip(labels, whole_labels[len(whole_labels) - len(labels) :], strict=True):
        assert own.keys() == before.keys()
        assert all(torch.equal(own[k], before[k]) for k in own)
