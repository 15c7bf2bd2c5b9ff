"""The probability from which each of several labels is predicted, chosen on labelled texts."""

from __future__ import annotations

import numpy as np

FEWEST = 5
"""With fewer texts with a label, or without it, its threshold stays at one half."""


def thresholds_of(p: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Return the threshold of each label whose F1 on labelled texts is highest, shape (labels,).

    Of equally good ones it is the nearest to 0.5, between the probabilities that it separates.

    Parameters
    ----------
    p : ndarray, shape (n, labels)
        Probabilities of labelled texts that the model has not learnt.
    marks : ndarray of 0 and 1, shape (n, labels)

    References
    ----------
    Yang, A Study on Thresholding Strategies for Text Categorization, SIGIR 2001 (SCut).

    Examples
    --------
    >>> p = np.array([[0.1], [0.2], [0.4], [0.3], [0.35]] * 3)
    >>> thresholds_of(p, (p > 0.25).astype(int)).round(3).tolist()
    [0.25]

    """
    chosen = np.full(p.shape[1], 0.5)
    for k in range(p.shape[1]):
        right = marks[:, k].astype(bool)
        if min(right.sum(), (~right).sum()) < FEWEST:
            continue
        levels = np.unique(p[:, k])
        between = np.concatenate([[0.5], (levels[1:] + levels[:-1]) / 2])
        answers = p[:, k][:, None] >= between
        hits = (answers & right[:, None]).sum(0)
        f1 = 2 * hits / (answers.sum(0) + right.sum())
        best = between[f1 >= f1.max() - 1e-12]
        chosen[k] = best[abs(best - 0.5).argmin()]
    return chosen
