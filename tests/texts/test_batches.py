from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dann_transfer.texts.batches import PairedBatches, by_length, cut, pad
from dann_transfer.texts.tokens import Tokens, tokenize


def fake(n: int, seed: int = 0, first: int = 10) -> Tokens:
    """Return texts whose first token identifies them."""
    rng = np.random.default_rng(seed)
    return Tokens.from_rows([[first + i] + [1] * rng.integers(2, 40) for i in range(n)])


@pytest.mark.parametrize(("n_source", "n_target", "size"), [(100, 37, 8), (37, 100, 8), (5, 3, 32)])
def test_each_source_text_once_an_epoch_and_each_target_text_once_a_pass(n_source, n_target, size):
    batches = PairedBatches(fake(n_source), np.zeros(n_source), fake(n_target, 1), size, seed=0)
    source_rows, target_rows = [], []
    for step in range(6 * len(batches)):
        source, target = batches.rows(step)
        assert len(source) == len(target)
        source_rows.append(source)
        target_rows.append(target)
    for epoch in range(6):
        rows = np.concatenate(source_rows[epoch * len(batches) : (epoch + 1) * len(batches)])
        assert sorted(rows) == list(range(n_source))
    counts = np.bincount(np.concatenate(target_rows), minlength=n_target)
    assert counts.max() - counts.min() <= 1


def test_batch_k_is_a_pure_function_of_seed_and_k():
    def make(seed=3):
        return PairedBatches(fake(50), np.arange(50), fake(40, 1), 8, seed)

    one, other = make(), make()
    in_order = [one[k] for k in range(20)]
    for k in reversed(range(20)):
        batch = other[k]
        assert torch.equal(batch.input_ids, in_order[k].input_ids)
        assert torch.equal(batch.labels, in_order[k].labels)
    assert not np.array_equal(make(4).rows(0)[0], one.rows(0)[0])


def test_batch_composition_changes_between_epochs():
    n, size = 2400, 32
    batches = PairedBatches(fake(n), np.zeros(n), None, size, seed=0)

    def together(epoch: int) -> set[tuple[int, int]]:
        steps = range(epoch * len(batches), (epoch + 1) * len(batches))
        return {pair for k in steps for pair in combinations(sorted(batches.rows(k)[0]), 2)}

    first, second = together(0), together(1)
    # Buckets keep texts of similar length together, but more than half of the pairs are new.
    assert len(first & second) / len(first) < 0.5
    assert [tuple(batches.rows(k)[0]) for k in range(5)] != sorted(
        tuple(batches.rows(k)[0]) for k in range(5)
    )


def test_labels_follow_their_texts_and_target_has_none():
    batches = PairedBatches(fake(50), np.arange(50), fake(40, 1, 500), 8, seed=0)
    batch = batches[3]
    assert (batch.input_ids[: batch.n_source, 0] - 10).tolist() == batch.labels.tolist()
    assert (batch.input_ids[batch.n_source :, 0] >= 500).all()
    assert len(batch.input_ids) == 2 * batch.n_source


@pytest.mark.parametrize("n_target", [50, 300])
def test_a_small_target_does_not_fill_a_batch_with_copies(n_target):
    batches = PairedBatches(fake(2400), np.zeros(2400), fake(n_target, 1), 32, seed=0)
    distinct = [len(set(batches.rows(k)[1])) for k in range(len(batches))]
    assert min(distinct) >= 20


def test_no_batch_is_a_small_rest():
    batches = PairedBatches(fake(65), np.zeros(65), None, 32, seed=0)
    assert [len(batches.rows(k)[0]) for k in range(len(batches))] in ([32, 33], [33, 32])


def test_by_length_covers_all_longest_first():
    tokens = fake(30)
    seen = list(by_length(tokens, 7))
    assert sorted(np.concatenate([rows for rows, _, _ in seen])) == list(range(30))
    assert seen[0][1].shape[1] == tokens.lengths.max()


def test_pad_marks_padding():
    ids, mask = pad([np.array([4, 5]), np.array([6])], 9)
    assert ids.tolist() == [[4, 5], [6, 9]]
    assert mask.tolist() == [[1, 1], [1, 0]]


def test_tokenize_cuts_and_counts(tiny_encoder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    tokens, cut = tokenize(tokenizer, ["good " * 20, "bad film"], 8)
    assert cut == 1
    assert tokens.lengths.tolist() == [8, 4]
    # The final special token survives truncation.
    assert tokens.text(0)[-1] == tokenizer.sep_token_id


@pytest.mark.real
def test_padding_is_at_most_a_tenth_on_the_sentiment_domains(minilm):
    from transformers import AutoTokenizer

    from dann_transfer import datasets

    tokenizer = AutoTokenizer.from_pretrained(minilm)
    domains = {
        name: tokenize(tokenizer, domain.texts, 128)[0]
        for name, domain in datasets.load("sentiment").items()
    }
    shares = []
    for source, target in permutations(domains, 2):
        a, b = domains[source], domains[target]
        batches = PairedBatches(a, np.zeros(len(a)), b, 32, seed=0)
        shares.append(batches.padding_share(len(batches)))
    print(f"padding: mean {np.mean(shares):.3f}, worst pair {max(shares):.3f}")
    assert np.mean(shares) <= 0.10


def test_labelled_target_rows_stand_between_source_and_target():
    few = fake(3, 2, first=500), np.array([1, 0, 1])
    target = fake(40, 1, first=100)
    args = fake(32), np.arange(32) % 2, target, 16, 0
    batches = PairedBatches(*args, target_labelled=few, domains=np.arange(32) // 16)
    seen = []
    for step in range(3 * len(batches)):
        batch, first = batches[step], batches[step].input_ids[:, 0]
        assert (batch.n_source, batch.n_task) == (16, 19)
        assert batch.source_domains.tolist() == ((first[:16] - 10) // 16).tolist()
        assert sorted(first[16:19].tolist()) == [500, 501, 502]
        assert batch.task_labels[16:].tolist() == few[1][first[16:19] - 500].tolist()
        assert first[19:].tolist() == (100 + batch.target_rows).tolist()
        seen.append(batch.target_rows)
    # 96 rows over 40 texts: two whole passes, and 16 of the third.
    assert torch.cat(seen).bincount().unique(return_counts=True)[1].tolist() == [24, 16]


def test_labelled_target_rows_weigh_one():
    few = fake(3, 2), np.array([1, 0, 1])
    weights = np.linspace(0.5, 1.5, 32)
    batch = PairedBatches(fake(32), np.zeros(32), None, 16, 0, weights, target_labelled=few)[0]
    assert batch.task_weights.tolist() == [*batch.weights.tolist(), 1, 1, 1]
    assert batch.target_rows is None


def test_rows_of_like_length_go_together():
    assert cut(torch.ones(8, 5)) is None
    assert cut(torch.ones(1, 5)) is None
    few = torch.ones(40, 10)
    few[0, 9:] = 0
    assert cut(few) is None


@st.composite
def plans(draw):
    """A batch plan of any size, with or without labelled target texts."""
    n_source, size = draw(st.integers(1, 120)), draw(st.integers(1, 40))
    n_target = draw(st.one_of(st.none(), st.integers(1, 150)))
    labelled = draw(st.integers(0, 12)) if n_target else 0
    few = (fake(labelled, 2), np.zeros(labelled, int)) if labelled else None
    target = None if n_target is None else fake(n_target, 1)
    seed = draw(st.integers(0, 2**32 - 1))
    return lambda: PairedBatches(
        fake(n_source), np.arange(n_source), target, size, seed, target_labelled=few
    )


@given(plans(), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_any_plan_shows_each_text_as_often_as_it_should(make, first_epoch):
    batches = make()
    steps = range(first_epoch * len(batches), (first_epoch + 1) * len(batches))
    source, target = zip(*(batches.rows(k) for k in steps), strict=True)
    assert sorted(np.concatenate(source)) == list(range(len(batches.source)))
    sizes = [len(rows) for rows in source]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) < 2 * batches.batch_size or len(batches) == 1
    if batches.target is not None:
        assert [len(rows) for rows in target] == sizes
        # From the first step on, no target text is repeated until all have appeared.
        seen = np.concatenate([batches.rows(k)[1] for k in range(steps.stop)])
        counts = np.bincount(seen, minlength=len(batches.target))
        assert counts.max() - counts.min() <= 1
    # A resumed run sees the same batch at any step, whatever came before.
    k = steps[-1]
    again = make()[k]
    assert torch.equal(again.input_ids, batches[k].input_ids)
    assert len(again.input_ids) == again.n_task + len(target[-1])
    rows = batches.rows(k)[0]
    assert again.labels.tolist() == rows.tolist()
    for row, (ids, mask) in zip(
        rows, zip(again.input_ids, again.attention_mask, strict=True), strict=False
    ):
        assert ids[mask.bool()].tolist() == batches.source.text(row).tolist()


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_any_rows_are_parted_without_loss(lengths):
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    parts = cut(mask)
    if parts is not None:
        assert sorted(torch.cat(parts).tolist()) == list(range(len(lengths)))
        spared = sum(len(rows) * int(mask[rows].sum(1).max()) for rows in parts)
        assert spared <= 0.95 * mask.numel()
