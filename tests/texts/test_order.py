from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dann_transfer.texts.order import order_of, ranks_of, stated
from dann_transfer.texts.reading import Domain


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        ([str(n) for n in range(1, 11)], [str(n) for n in range(1, 11)]),
        ([3, -1, 20], [-1, 3, 20]),
        (["+1", "-2", "0"], ["-2", "0", "+1"]),
        ([2.0, 10.0, 1.0], [1.0, 2.0, 10.0]),
    ],
)
def test_numbers_are_ordered_by_value_also_in_writing(labels, order):
    classes = np.unique(labels)
    ordered = order_of(True, classes)
    assert ordered is not None
    assert ordered.tolist() == order
    assert classes[ranks_of(ordered, classes).argsort()].tolist() == order


def test_a_list_may_name_classes_that_do_not_occur_and_write_numbers_as_words():
    assert order_of(["1", "3", "2", "4"], np.array([1, 2, 3])).tolist() == [1, 3, 2]


CATEGORIES = pd.CategoricalDtype([3, 1, 2], ordered=True)
LABELS = pd.Series([1, 2, 3], dtype=CATEGORIES)
FRAME = pd.DataFrame({"text": list("abc"), "label": LABELS})


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (list("abc"), LABELS),
        (FRAME, None),
        (Domain(list("abc"), LABELS), None),
        ({"one": (list("abc"), [1, 2, 3]), "two": FRAME}, None),
    ],
)
def test_ordered_categories_state_their_order(X, y):
    assert stated(X, y, "label") == [3, 1, 2]
    assert order_of(True, np.array([1, 2, 3]), [3, 1, 2]).tolist() == [3, 1, 2]


def test_sources_that_disagree_about_the_order_are_refused():
    other = FRAME.assign(label=LABELS.astype(pd.CategoricalDtype([1, 2, 3], ordered=True)))
    with pytest.raises(ValueError, match="order their categories differently"):
        stated({"one": FRAME, "two": other}, None, "label")
    # Categories without an order state none.
    assert stated([], LABELS.astype("category").cat.as_unordered(), "label") is None
