"""What a student gains on every board: `board.py`, and `students.py` for the large encoder."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean

from tables import by_pair, mean_of_means, of_board, read

from studies import family


def lost(groups: Iterable[list[float]]) -> list[float]:
    """Return by how much each run lost that did."""
    return [-gain for gains in groups for gain in gains if gain < 0]


def large_encoder() -> dict[str, str]:
    sentiment, banking, finance = (
        of_board(read("base"), name) for name in ("sentiment", "banking", "finance")
    )
    gains = by_pair(sentiment, "student")
    by_domain = by_pair(finance, "student")
    joined = [r["a_distance"] for r in sentiment if r["method"] == "student+dann"]
    return {
        "pairs": str(len(gains)),
        "runs": str(sum(map(len, gains.values()))),
        "worst": f"{max(lost(gains.values())):.1f}",
        "banking": f"{mean_of_means(by_pair(banking, 'student').values()):.1f}",
        "finance_loss": f"{-mean_of_means(by_domain.values()):.1f}",
        "finance_tweets_loss": f"{-mean(by_domain['news', 'tweets']):.1f}",
        "finance_news": f"{mean(by_domain['tweets', 'news']):.1f}",
        "joined": f"{mean_of_means(by_pair(sentiment, 'student+dann').values()):.1f}",
        "joined_distance": f"{mean(joined):.2f}",
    }


def small_encoder() -> dict[str, str]:
    gains = by_pair(of_board(read("scored"), "sentiment"), "student")
    banking = by_pair(of_board(read("scored"), "banking"), "student")
    means = [mean(values) for values in gains.values()]
    whole = by_pair(family.single_sources(), "student")
    return {
        "small": f"{mean(means):.1f}",
        "small_worst": f"{-min(means):.1f}",
        "small_lost": str(len(lost(gains.values()))),
        "small_runs": str(sum(map(len, gains.values()))),
        "to_assistant": f"{mean(banking['banking77', 'clinc150']):.1f}",
        "to_bank": f"{mean(banking['clinc150', 'banking77']):.1f}",
        "tweets": f"{mean(whole['movies', 'tweets']):.1f}",
        "nyt": f"{mean(whole['tweets', 'nyt']):.1f}",
    }


def figures() -> dict[str, str]:
    return large_encoder() | small_encoder()
