"""Features in motion: where texts lie in feature space while a model trains."""

from __future__ import annotations

import io
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dann_transfer.ground.checks import check_number
from dann_transfer.ground.folders import write_whole
from dann_transfer.judging.diagnostics import FEWEST, proxy_a_distance
from dann_transfer.model.model import Classifier, infer
from dann_transfer.model.runtime import Runtime
from dann_transfer.plots.display import Display, axes_for
from dann_transfer.plots.maps import embed_all, feature_map, legend_for, limits_of
from dann_transfer.texts.reading import Domain, as_domain
from dann_transfer.texts.tokens import Tokens, tokenize

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd
    from ignite.engine import Engine
    from matplotlib.axes import Axes
    from PIL import Image


def _draw(
    source: Domain | Sequence[str],
    target: Domain | Sequence[str],
    names: tuple[str, str],
    max_texts: int,
    random_state: int,
) -> tuple[list[str], list[Any] | None, list[str]]:
    """Choose the texts to show; return them, their labels if all have one, and their domains."""
    rng = np.random.default_rng(random_state)
    texts, labels, domains = [], [], []
    for name, sample in zip(names, (source, target), strict=True):
        domain = as_domain(sample, f"the {name} domain")
        if len(domain.texts) < FEWEST:
            raise ValueError(
                f"the {name} domain has {len(domain.texts)} texts; the A-distance needs at least "
                f"{FEWEST} of each domain."
            )
        rows = rng.permutation(len(domain.texts))[:max_texts]
        texts += [domain.texts[i] for i in rows]
        domains += [name] * len(rows)
        if domain.labels is not None:
            labels += np.asarray(domain.labels)[rows].tolist()
    labelled = len(labels) == len(texts) and not any(x is None or x != x for x in labels)
    return texts, labels if labelled else None, domains


class FeatureWatcher:
    """Record the features of texts while a model trains; pass it to ``fit(on_step=watcher)``.

    The model is the same as it would be without a watcher.

    Parameters
    ----------
    source, target : Domain, or texts
        Texts to show, preferably unseen in training, with or without labels.
    names : pair of str
    frames : int
        Number of steps to record, at least 2: the first, the last, and others evenly in between.
    max_texts : int
        At most this many texts of each domain.
    max_length : int
        Tokens per text, as for ``DomainAdapter``.
    random_state : int
        Chooses the texts.

    Attributes
    ----------
    features : dict of int to ndarray, shape (n, width)
        The features at each recorded step.
    texts, domains : list of str, shape (n,)
    labels : list or None
        True classes, if both domains have them.

    Raises
    ------
    TypeError, ValueError
        If a number is too small, both domains have the same name, or one of them has fewer than ten
        texts.

    Examples
    --------
    ```python
    watcher = plots.FeatureWatcher(Domain(reviews), Domain(tweets))
    adapter.fit(X, y, X_target=T, on_step=watcher)
    plots.animation(watcher, "training.gif")
    ```

    """

    def __init__(
        self,
        source: Domain | Sequence[str],
        target: Domain | Sequence[str],
        names: tuple[str, str] = ("source", "target"),
        frames: int = 12,
        max_texts: int = 300,
        max_length: int = 256,
        random_state: int = 0,
    ) -> None:
        for what, value, least in (
            ("frames", frames, 2),
            ("max_texts", max_texts, FEWEST),
            ("max_length", max_length, 1),
        ):
            check_number(f"{what}={value!r}", value, least, whole=True)
        if names[0] == names[1]:
            raise ValueError(f"names={names!r} gives both domains the same name; use two names.")
        self.frames, self.max_length, self.random_state = frames, max_length, random_state
        sample = _draw(source, target, names, max_texts, random_state)
        self.texts, self.labels, self.domains = sample
        self.features: dict[int, np.ndarray] = {}
        self._tokens: Tokens | None = None
        # The engine leads to the model, which the watcher need not keep alive.
        self._engine: weakref.ref[Engine] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_engine": None}

    def __call__(self, engine: Engine, model: Classifier) -> None:
        """Record the features after a step, if it is one to record.

        Of several runs, such as those of ``method="auto"``, the last one is kept.
        """
        if self._engine is None or engine is not self._engine():
            self._engine, self._tokens = weakref.ref(engine), None
            self.features = {}
        state = engine.state
        steps = np.linspace(1, state.epoch_length * state.max_epochs, self.frames).round()
        if state.iteration not in steps:
            return
        if self._tokens is None:
            self._tokens = tokenize(model.encoder.tokenizer, self.texts, self.max_length)[0]
        runtime = Runtime(next(model.parameters()).device)
        self.features[state.iteration] = infer(model, self._tokens, runtime)[0].numpy()


@dataclass
class AnimationDisplay(Display):
    """The domains in feature space, at several steps of one training run, in one map.

    Attributes
    ----------
    points : list of ndarray, shape (n, 2)
        One for each step, on the axes of one map.
    steps : list of int
    distances : list of float
        The proxy A-distance of the features at each step.
    domains : list of str, shape (n,)
    labels : list or None
        True classes, if both domains have them.

    """

    points: list[np.ndarray]
    steps: list[int]
    distances: list[float]
    domains: list[str]
    labels: list[Any] | None = None

    @classmethod
    def from_watcher(cls, watcher: FeatureWatcher, layout: str = "pca") -> AnimationDisplay:
        """Lay out what a watcher recorded during training.

        Parameters
        ----------
        watcher : FeatureWatcher
            One that was passed to ``fit(on_step=watcher)``.
        layout : {"umap", "aligned_umap", "tsne", "pca"}
            The two directions of "pca" are the same at every step, so that any motion is that of
            the features. Maps based on neighbours show little motion: over many similar steps,
            a text's nearest neighbours are mostly itself.

        Raises
        ------
        ValueError
            If the watcher recorded no step.

        """
        features = watcher.features
        if not features:
            raise ValueError(
                "the watcher saw no step: pass it to fit(on_step=watcher). A run that is already "
                "finished in checkpoint_dir takes no step, so use another folder."
            )
        of_source = np.array(watcher.domains) == watcher.domains[0]
        distances = [proxy_a_distance(x[of_source], x[~of_source]) for x in features.values()]
        points = embed_all(list(features.values()), watcher.random_state, layout)
        return cls(points, list(features), distances, watcher.domains, watcher.labels)

    def frame(self) -> pd.DataFrame:
        """Return a row for each step and text."""
        import pandas as pd

        parts = [
            pd.DataFrame(
                {
                    "step": step,
                    "x": xy[:, 0],
                    "y": xy[:, 1],
                    "domain": self.domains,
                    "label": self.labels,
                }
            )
            for step, xy in zip(self.steps, self.points, strict=True)
        ]
        return pd.concat(parts, ignore_index=True)

    def plot(
        self, ax: Axes | None = None, step: int | None = None, colour: str = "domain"
    ) -> AnimationDisplay:
        """Draw one step, the last if none is named; see `feature_map` for `colour`."""
        if step is not None and step not in self.steps:
            raise ValueError(f"step={step!r} is not one of the recorded steps, {self.steps}.")
        i = len(self.steps) - 1 if step is None else self.steps.index(step)
        self.axes_ = axes_for(ax, 1, 5.5, 5.6)
        heading = f"step {self.steps[i]}: A-distance {self.distances[i]:.2f} of 2"
        shared = limits_of(np.concatenate(list(self.points)))
        look = (self.ax_, False, colour, False, shared)
        feature_map(self.points[i], self.domains, self.labels, heading, *look)
        return self

    def save(self, path: str | PathLike[str], seconds: float = 0.6, colour: str = "domain") -> Path:
        """Write a GIF that shows each step for this many seconds, and the last one longest.

        The file is complete or absent: it is written next to its destination and then moved there.
        """
        from PIL import Image

        check_number(f"seconds={seconds!r}", seconds, 0, 600, above=True)
        images = [self._page(step, colour) for step in self.steps]
        # One palette for all, or colours would flicker from one picture to the next.
        palette = images[-1].quantize(64)
        still = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
        times = [round(1000 * seconds)] * len(still)
        times[-1] *= 4
        film = io.BytesIO()
        still[0].save(
            film, format="GIF", save_all=True, append_images=still[1:], duration=times, loop=0
        )
        return write_whole(path, film.getvalue())

    def _page(self, step: int, colour: str) -> Image.Image:
        import matplotlib.pyplot as plt
        from PIL import Image

        figure, ax = plt.subplots(figsize=(5.2, 5.4), dpi=90, layout="constrained")
        try:
            self.plot(ax, step, colour)
            legend_for(figure, self.domains, self.labels, colour, 4)
            page = io.BytesIO()
            figure.savefig(page, format="png")
        finally:
            plt.close(figure)
        return Image.open(page).convert("RGB")


def animation(
    watcher: FeatureWatcher, path: str | PathLike[str], layout: str = "pca", colour: str = "domain"
) -> AnimationDisplay:
    """Write a GIF that shows the domains in feature space during a training run.

    `watcher` was passed to ``fit(on_step=watcher)``; see `FeatureWatcher`.
    """
    display = AnimationDisplay.from_watcher(watcher, layout)
    display.save(path, colour=colour)
    return display
