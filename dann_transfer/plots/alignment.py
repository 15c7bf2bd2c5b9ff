"""Show whether domains overlap in feature space: the features as a table, and their map."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dann_transfer.adapter import DomainAdapter
from dann_transfer.fitting.predicting import Outputs
from dann_transfer.ground.checks import check_number
from dann_transfer.ground.notices import each_once
from dann_transfer.judging.decision import labels
from dann_transfer.judging.diagnostics import mixing, proxy_a_distance
from dann_transfer.plots.display import Display, axes_for, named, plain
from dann_transfer.plots.maps import embed_all, feature_map, legend_for, limits_of
from dann_transfer.texts.reading import Domain, EmptyTextWarning, as_domain

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@each_once()
def features_frame(
    adapters: DomainAdapter | Mapping[str, DomainAdapter],
    source: Domain | Sequence[str],
    target: Domain | Sequence[str],
    names: tuple[str, str] = ("source", "target"),
) -> pd.DataFrame:
    """Return the features of texts as a table, computed once for any number of pictures.

    Parameters
    ----------
    adapters : DomainAdapter, or mapping from title to DomainAdapter
        Fitted.
    source, target : Domain, or texts
        Texts, preferably unseen in training.
    names : pair of str
        Names of the two domains.

    Returns
    -------
    DataFrame
        A row for each model and text, with the columns ``model``, ``domain``, ``text``,
        ``label`` (None if the domain has no labels), ``predicted`` and ``features`` (an array
        of the encoder's width).

    Raises
    ------
    ValueError
        If both domains have the same name, or a domain's labels are not as many as its texts.
    ImportError
        If pandas is not installed.

    Examples
    --------
    ```python
    frame = features_frame({"source only": before, "adapted": after}, source, target)
    plots.alignment(frame)
    plots.alignment(frame, layout="tsne")
    ```

    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("tables need pandas: pip install 'dann_transfer[plots]'") from error
    if names[0] == names[1]:
        raise ValueError(f"names={names!r} gives both domains the same name; use two names.")
    parts = []
    for title, adapter in named(adapters).items():
        columns = adapter.text_column, adapter.label_column
        for name, texts, role in zip(names, (source, target), ("source", "target"), strict=True):
            domain = as_domain(texts, f"the {name} domain", *columns)
            with warnings.catch_warnings():
                # Empty texts are named above.
                warnings.simplefilter("ignore", EmptyTextWarning)
                # One pass gives both features and predictions.
                outputs = adapter.outputs(domain.texts, role)
            parts.append(rows_of(title, name, domain, outputs, adapter.classes_))
    return pd.concat(parts, ignore_index=True)


def rows_of(
    title: str, name: str, domain: Domain, outputs: Outputs, classes: np.ndarray
) -> pd.DataFrame:
    """Return the rows of `features_frame` for one model and domain, from computed outputs."""
    import pandas as pd

    table = {
        "model": title,
        "domain": name,
        "text": domain.texts,
        "label": None if domain.labels is None else list(domain.labels),
        "predicted": labels(outputs.probabilities, classes),
        "features": list(outputs.features),
    }
    return pd.DataFrame(table).astype({"label": object})


def _by_model(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Check a table of features, and return the rows of each model."""
    missing = [name for name in ("domain", "features") if name not in frame]
    if missing:
        raise ValueError(
            f"the frame has no column {missing[0]!r}; it has {list(frame.columns)}. "
            "`features_frame` makes one."
        )
    domains = list(dict.fromkeys(frame["domain"]))
    if len(domains) != 2:
        raise ValueError(
            f"column 'domain' has {domains}; a source and a target are needed, in that order."
        )
    if "model" not in frame:
        return {"features": frame}
    models = {str(title): rows for title, rows in frame.groupby("model", sort=False, dropna=False)}
    first = next(iter(models.values()))
    for title, rows in models.items():
        same = [
            rows[name].tolist() == first[name].tolist()
            for name in ("domain", "text")
            if name in frame
        ]
        if not all(same):
            raise ValueError(
                f"model {title!r} has other texts than {next(iter(models))!r}, or the same in "
                "another order; a map needs the same texts in the same order for every model."
            )
    return models


@dataclass
class AlignmentDisplay(Display):
    """The domains in the feature spaces of several models, side by side in one map.

    Attributes
    ----------
    points : dict of str to ndarray, shape (n, 2)
        Positions in the map, for each model's title.
    distances : dict of str to float
        The proxy A-distance of each model's features, which the picture cannot show.
    texts, domains : list of str, shape (n,)
    labels : list or None
        True classes, if both domains have them.
    predicted : dict of str to list
        Predicted classes, for each model's title.
    mixings : dict of str to float
        How far each model's features mix the domains: `diagnostics.mixing`.

    """

    points: dict[str, np.ndarray]
    distances: dict[str, float]
    texts: list[str]
    domains: list[str]
    labels: list[Any] | None = None
    predicted: dict[str, list[Any]] = field(default_factory=dict)
    mixings: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_estimator(
        cls,
        adapters: DomainAdapter | Mapping[str, DomainAdapter],
        source: Domain | Sequence[str],
        target: Domain | Sequence[str],
        names: tuple[str, str] = ("source", "target"),
        max_texts: int = 700,
        random_state: int = 0,
        layout: str = "umap",
    ) -> AlignmentDisplay:
        """Lay out the features of texts, preferably unseen in training, for one or more adapters.

        At most `max_texts` texts of each domain are laid out; the distance uses up to 2,000.
        """
        frame = features_frame(adapters, source, target, names)
        return cls.from_frame(frame, max_texts, random_state, layout)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        max_texts: int = 700,
        random_state: int = 0,
        layout: str = "umap",
    ) -> AlignmentDisplay:
        """Lay out precomputed features, as `features_frame` returns them.

        Only the columns ``domain`` and ``features`` are needed.

        Raises
        ------
        ValueError
            If a column is missing, if there are not two domains, if the models differ in texts, or
            if `max_texts` is below 2.

        """
        check_number(f"max_texts={max_texts!r}", max_texts, 2, whole=True)
        models = _by_model(frame)
        first = next(iter(models.values()))
        rng = np.random.default_rng(random_state)
        places = [
            np.flatnonzero(first["domain"] == name) for name in dict.fromkeys(first["domain"])
        ]
        rows_shown = np.concatenate(
            [rows[rng.permutation(len(rows))[:max_texts]] for rows in places]
        )
        sample = first.iloc[rows_shown]
        distances, mixings, features, predicted = {}, {}, [], {}
        for title, rows in models.items():
            x = np.stack(rows["features"].tolist())
            pair = x[places[0]], x[places[1]]
            distances[title], mixings[title] = proxy_a_distance(*pair), mixing(*pair)
            features.append(x[rows_shown])
            if "predicted" in rows:
                predicted[title] = rows["predicted"].iloc[rows_shown].tolist()
        layouts = embed_all(features, random_state, layout)
        labelled = "label" in sample and sample["label"].notna().all()
        return cls(
            dict(zip(models, layouts, strict=True)),
            distances,
            sample["text"].tolist() if "text" in sample else [""] * len(sample),
            sample["domain"].astype(str).tolist(),
            sample["label"].tolist() if labelled else None,
            predicted,
            mixings,
        )

    def measured(self, title: str) -> str:
        """State how far a model's features are aligned."""
        distance = f"A-distance {self.distances[title]:.2f} of 2"
        if title not in self.mixings:
            return distance
        return f"{distance}, mixing {self.mixings[title]:.2f} of 1"

    def frame(self) -> pd.DataFrame:
        """Return a row for each model and text."""
        import pandas as pd

        parts = [
            pd.DataFrame(
                {
                    "model": title,
                    "x": xy[:, 0],
                    "y": xy[:, 1],
                    "domain": self.domains,
                    "label": self.labels,
                    "predicted": self.predicted.get(title),
                    "text": self.texts,
                }
            )
            for title, xy in self.points.items()
        ]
        return pd.concat(parts, ignore_index=True)

    def plot(
        self,
        ax: Axes | Sequence[Axes] | None = None,
        colour: str = "domain",
        density: bool | None = None,
    ) -> AlignmentDisplay:
        """Draw a panel for each model; see `feature_map` for `colour` and `density`."""
        self.axes_ = axes_for(ax, len(self.points), 5.2, 5.4)
        shared = limits_of(np.concatenate(list(self.points.values())))
        for axes, (title, xy) in zip(self.axes_, self.points.items(), strict=True):
            heading = f"{plain(title)}\n{self.measured(title)}"
            feature_map(
                xy, self.domains, self.labels, heading, axes, False, colour, density, shared
            )
        legend_for(self.figure_, self.domains, self.labels, colour, 6)
        return self


def alignment(
    adapters: DomainAdapter | Mapping[str, DomainAdapter] | pd.DataFrame,
    source: Domain | Sequence[str] | None = None,
    target: Domain | Sequence[str] | None = None,
    ax: Axes | Sequence[Axes] | None = None,
    names: tuple[str, str] = ("source", "target"),
    max_texts: int = 700,
    random_state: int = 0,
    layout: str = "umap",
    colour: str = "domain",
    density: bool | None = None,
) -> list[Axes]:
    """Show the domains in the feature spaces of one model or several, side by side.

    One map is fitted on the features of all models pooled, so that the panels share it. The
    proxy A-distance and the mixing in each title are measured in feature space, because overlap in
    two dimensions is not alignment.

    Parameters
    ----------
    adapters : DomainAdapter, mapping from title to DomainAdapter, or DataFrame
        Fitted, such as ``{"source only": before, "adapted": after}``; or their features, as
        `features_frame` returns them, which already hold texts and names of the domains.
    source, target : Domain, or texts, optional
        Texts to show, preferably unseen in training. Labels, if given, choose the markers.
    ax : Axes or sequence of Axes, optional
        One for each model.
    names : pair of str
        Names of the two domains in the legend.
    max_texts : int
        At most this many texts of each domain are drawn; the distance uses up to 2,000.
    random_state : int
    layout : {"umap", "aligned_umap", "tsne", "pca"}
    colour : {"domain", "class"}
    density : bool, optional
        See `feature_map`.

    Raises
    ------
    ValueError
        If adapters come without texts, or features come with texts.

    """
    if not hasattr(adapters, "columns"):
        adapters = named(adapters)
        if source is None or target is None:
            raise ValueError(
                "adapters need texts to show: pass source=Domain(texts) and target=Domain(texts)."
            )
        display = AlignmentDisplay.from_estimator(
            adapters, source, target, names, max_texts, random_state, layout
        )
    else:
        if source is not None or target is not None:
            raise ValueError("a features frame already holds texts; leave out source and target.")
        display = AlignmentDisplay.from_frame(adapters, max_texts, random_state, layout)
    return display.plot(ax, colour, density).axes_
