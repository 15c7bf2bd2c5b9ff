"""How often voters are right: from labels, and from their agreement where there are none."""

from __future__ import annotations

import numpy as np

ABSTAINS = -1
EXPECTED, BELIEF = 0.7, 2.0
"""A voter that was never seen to vote is right this often, which counts like so many texts."""
MOST = 0.99


def accuracies(
    votes: np.ndarray,
    codes: np.ndarray,
    unlabelled: np.ndarray,
    classes: int,
    steps: int = 100,
    tolerance: float = 1e-5,
) -> np.ndarray:
    """Estimate how often each voter is right where it votes, by expectation and maximisation.

    Voters are taken to err independently of each other, given the class, and towards all other
    classes alike; that one abstains says nothing. Labelled texts count as they are. Unlabelled
    ones count by the classes that all votes together make likely, and weigh for each voter at most
    as much as its labelled ones and the first belief do: voters that copy each other agree always,
    whether they are right or not.

    Parameters
    ----------
    votes : ndarray of int, shape (n, voters)
        Class positions for labelled texts; -1 where a voter abstains.
    codes : ndarray of int, shape (n,)
        The true class positions.
    unlabelled : ndarray of int, shape (m, voters)
        Votes for other texts.
    classes : int
    steps : int
        The largest number of steps.
    tolerance : float
        The estimate ends once a step moves every accuracy by less than this.

    Returns
    -------
    ndarray, shape (voters,)

    References
    ----------
    Dawid and Skene, Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm,
    Applied Statistics 1979; Ratner et al., Training Complex Models with Multi-Task Weak
    Supervision, AAAI 2019, for voters that abstain.

    Examples
    --------
    Two voters agree on what is unlabelled, and the third contradicts them.

    >>> unlabelled = np.array([[0, 0, 1], [1, 1, 0]] * 50)
    >>> nothing = np.empty((0, 3), int)
    >>> accuracies(nothing, np.empty(0, int), unlabelled, 2).round(1).tolist()
    [0.8, 0.8, 0.4]

    """
    voted = votes != ABSTAINS
    right = ((votes == codes[:, None]) & voted).sum(0) + EXPECTED * BELIEF
    total = voted.sum(0) + BELIEF
    estimate = right / total
    cast = unlabelled != ABSTAINS
    counted = cast.sum(0)
    # At most as much as what is known otherwise.
    share = np.minimum(1.0, total / np.maximum(counted, 1))
    for _ in range(steps):
        p = np.exp(log_likelihood(unlabelled, estimate, classes))
        p /= p.sum(1, keepdims=True)
        likely = np.take_along_axis(p, np.where(cast, unlabelled, 0), 1)
        agreed = (likely * cast).sum(0)
        before, estimate = estimate, (right + share * agreed) / (total + share * counted)
        if np.abs(estimate - before).max(initial=0) < tolerance:
            break
    return estimate.clip(1 - MOST, MOST)


def log_likelihood(votes: np.ndarray, accuracy: np.ndarray, classes: int) -> np.ndarray:
    """Return the logarithm of how likely votes are in each class, less its mean: (n, classes)."""
    gain = np.log(accuracy.clip(1 - MOST, MOST) * (classes - 1) / (1 - accuracy).clip(1 - MOST))
    sums = np.zeros((len(votes), classes))
    rows, voters = np.nonzero(votes != ABSTAINS)
    np.add.at(sums, (rows, votes[rows, voters]), gain[voters])
    return np.asarray(sums - sums.mean(1, keepdims=True))
