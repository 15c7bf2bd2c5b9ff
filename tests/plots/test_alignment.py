from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import toy_texts
from drawn import drawn

from dann_transfer import Domain, plots
from dann_transfer.judging.diagnostics import mixing, proxy_a_distance
from dann_transfer.plots.alignment import AlignmentDisplay
from dann_transfer.texts.reading import EmptyTextWarning

pytestmark = pytest.mark.usefixtures("no_figure_shown_or_left")


def test_alignment_shows_each_model_with_its_distance(fitted, tiny, source, target):
    other = tiny(method="source_only", epochs=1).fit(*source)
    shown = Domain(*toy_texts(60, "film plot actor scene the", 5))
    unseen = Domain(*toy_texts(50, "tweet lol omg today friend", 6))
    axes = plots.alignment(
        {"before": other, "after": fitted}, shown, unseen, names=("movies", "tweets"), max_texts=40
    )
    assert len(axes) == 2
    for ax, title, adapter in zip(axes, ("before", "after"), (other, fitted), strict=True):
        features = adapter.transform(shown.texts), adapter.transform(unseen.texts)
        distance, mixed = proxy_a_distance(*features), mixing(*features)
        assert ax.get_title() == (
            f"{title}\nA-distance {distance:.2f} of 2, mixing {mixed:.2f} of 1"
        )
        assert sorted(drawn(ax).values()) == [40, 40]
    assert axes[0].get_xlim() == axes[1].get_xlim()
    (legend,) = axes[0].figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["movies", "tweets", "neg", "pos"]


def test_labels_of_a_series_are_taken_by_place(fitted):
    texts, labels = toy_texts(40, "film plot", 5)
    shuffled = pd.DataFrame({"text": texts, "label": labels}).sample(frac=1, random_state=0)
    domain = Domain(shuffled.text, shuffled.label)
    display = AlignmentDisplay.from_estimator(fitted, domain, domain, layout="pca")
    rng = np.random.default_rng(0)
    expected = [shuffled.label.iloc[i] for _ in range(2) for i in rng.permutation(40)]
    assert display.labels == expected


def test_features_are_computed_once_for_many_pictures(fitted, tiny, source, monkeypatch):
    other = tiny(method="source_only", epochs=1).fit(*source)
    shown = Domain(*toy_texts(60, "film plot actor scene the", 5))
    unseen = Domain(*toy_texts(50, "tweet lol omg today friend", 6))
    models = {"before": other, "after": fitted}
    at_once = AlignmentDisplay.from_estimator(models, shown, unseen, max_texts=40, layout="pca")
    frame = plots.features_frame(models, shown, unseen)
    assert list(frame) == ["model", "domain", "text", "label", "predicted", "features"]
    assert len(frame) == 2 * (60 + 50)
    monkeypatch.setattr(type(fitted), "outputs", lambda *_: pytest.fail("encoded again"))
    again = AlignmentDisplay.from_frame(frame, max_texts=40, layout="pca")
    pd.testing.assert_frame_equal(again.frame(), at_once.frame())
    assert again.distances == at_once.distances
    axes = plots.alignment(frame[["domain", "features"]][:110], layout="pca")
    assert [ax.get_title().split("\n")[0] for ax in axes] == ["features"]
    assert sorted(drawn(axes[0]).values()) == [50, 60]


def test_a_features_frame_that_cannot_be_drawn_is_refused(fitted):
    frame = pd.DataFrame({"domain": ["a", "b", "a", "b"], "features": list(np.eye(4))})
    with pytest.raises(ValueError, match="no column 'features'; it has"):
        plots.alignment(frame[["domain"]])
    with pytest.raises(ValueError, match="a source and a target are needed"):
        plots.alignment(frame[frame.domain == "a"])
    with pytest.raises(ValueError, match="leave out source and target"):
        plots.alignment(frame, Domain(["x"]), Domain(["y"]))
    with pytest.raises(ValueError, match="model 'n' has other texts than 'm'"):
        plots.alignment(frame.assign(model=["m", "m", "m", "n"]))
    with pytest.raises(ValueError, match="pass source=Domain"):
        plots.alignment(fitted)
    with pytest.raises(TypeError, match="a list is neither an adapter nor a mapping"):
        plots.alignment([fitted], Domain(["x"]), Domain(["y"]))
    with pytest.raises(ValueError, match="gives both domains the same name"):
        plots.features_frame(fitted, Domain(["x"]), Domain(["y"]), names=("a", "a"))


@pytest.mark.parametrize("layout", ["umap", "aligned_umap", "tsne", "pca"])
def test_a_display_is_drawn_again_and_read_as_a_table(layout, fitted, tiny, source):
    other = tiny(method="source_only", epochs=1).fit(*source)
    shown = Domain(*toy_texts(40, "film plot actor scene the", 5))
    unseen = Domain(toy_texts(30, "tweet lol omg today friend", 6)[0])
    models = {"before": other, "after": fitted}
    display, again = (
        AlignmentDisplay.from_estimator(models, shown, unseen, max_texts=25, layout=layout)
        for _ in range(2)
    )
    frame = display.frame()
    assert (frame[["x", "y"]].to_numpy() == again.frame()[["x", "y"]].to_numpy()).all()
    assert frame.groupby(["model", "domain"]).size().tolist() == [25] * 4
    # Labels of only one domain do not count as labels of the picture.
    assert display.labels is None
    row = frame[frame.model == "after"].iloc[3]
    assert row.predicted == fitted.predict([row.text])[0]
    for _ in range(2):
        assert len(display.plot().axes_) == 2
    with pytest.raises(ValueError, match="colour='class' must be 'domain', or 'class' if"):
        display.plot(colour="class")


def test_texts_may_be_lists_and_tables(fitted):
    texts, labels = toy_texts(20, "film plot", 5)
    table = pd.DataFrame({"text": texts, "label": labels})
    frame = plots.features_frame(fitted, texts, table)
    own = frame["domain"] == "target"
    assert frame["label"][own].tolist() == labels
    assert frame["label"][~own].isna().all()
    with pytest.raises(ValueError, match="the target domain has 20 texts and 3 labels"):
        plots.features_frame(fitted, texts, Domain(texts, labels[:3]))
    with pytest.raises(ValueError, match="max_texts=1 must be a whole number of at least 2"):
        plots.alignment(frame, max_texts=1)


def test_an_empty_text_is_named_once(fitted):
    texts = toy_texts(20, "film plot", 5)[0]
    with pytest.warns(EmptyTextWarning) as warned:
        plots.features_frame(fitted, texts, [*texts, " "])
    assert ["the target domain[20]" in str(w.message) for w in warned] == [True]
