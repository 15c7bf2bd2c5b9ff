from __future__ import annotations

import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from conftest import toy_texts
from sklearn.exceptions import NotFittedError

from dann_transfer import Domain, DomainAdapter, plots
from dann_transfer.plots.report import _held_out
from dann_transfer.texts.tokens import TruncationWarning

EVIL = "<script>document.title='stolen'</script>"


@pytest.fixture(scope="module")
def page(fitted, tmp_path_factory):
    source = Domain(*toy_texts(30, "film plot actor scene the", 5))
    target = Domain([*toy_texts(30, "tweet lol omg today friend", 6)[0], EVIL])
    out = tmp_path_factory.mktemp("report") / "report.html"
    plt.close("all")
    assert plots.report(fitted, out, source, target) == out
    return out


def test_a_report_tells_the_run(page, fitted):
    text = page.read_text()
    assert "<h1>dann, source → target: 90 and 70 texts</h1>" in text
    assert text.count("<img ") == 2
    assert not plt.get_fignums()
    rows = dict(re.findall(r'<tr><td class="text">(\w+)</td><td class="text">(.*?)</td>', text))
    assert rows["max_strength"] == "0.1"
    assert rows["epochs"] == "8"
    # Where files lie is of no use to others.
    assert rows["encoder"] == "&#39;encoder&#39;"
    assert str(Path(fitted.encoder).parent) not in text
    for epoch in fitted.validation_:
        assert f'<td class="number">{epoch["validation_accuracy"]:.3f}</td>' in text
    assert '<td class="text">neg</td>' in text
    # No prior is estimated from nine held-out texts.
    assert fitted.target_prior_ == {}
    assert "prior by" not in text
    assert text.count('<td class="text">&lt;script&gt;') == 1
    assert "<script" not in text


def test_a_report_needs_no_texts(fitted, tmp_path):
    text = plots.report(fitted, tmp_path / "plain.html").read_text()
    assert text.count("<img ") == 1
    assert "Most and least" not in text
    with pytest.raises(NotFittedError):
        plots.report(DomainAdapter(), tmp_path / "none.html")


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 390])
def test_the_report_in_chromium(browser, page, width):
    opened, errors, requests = browser(page, width, 800)
    opened.wait_for_load_state("load")
    assert opened.title().startswith("dann, source")
    for image in opened.locator("img").all():
        assert image.evaluate("i => i.naturalWidth") > 300
    # Nothing is wider than a phone's screen.
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    opened.close()


def test_a_report_of_labelled_target_texts(fitted, tiny, source, target, tmp_path):
    texts, labels = toy_texts(30, "tweet lol omg today friend", 6)
    groups = ["<b>"] * 20 + ["other"] * 10
    before = tiny(method="source_only", epochs=1).fit(*source, X_target=target)
    out = tmp_path / "report.html"
    shown = Domain(*toy_texts(12, "film plot actor", 5)), Domain(texts, labels)
    names = "films", "tweets"
    plots.report(fitted, out, *shown, groups=groups, baseline=before, names=names)
    text = out.read_text()
    assert "<h1>dann, films → tweets: 90 and 70 texts</h1>" in text
    assert "<h2>Labelled texts: tweets</h2>" in text
    # The map, scores and losses show both models, in pairs with captions.
    for model in (before, fitted):
        accuracy = model.score(shown[0].texts, shown[0].labels)
        assert f'<td class="number">{accuracy:.3f}</td>' in text
    assert text.count("<figcaption>") == text.count("<img ") == 7
    assert len(re.findall('<div class="pictures">', text)) == 2
    gain = fitted.score(texts, labels) - before.score(texts, labels)
    assert f"{fitted.score(texts, labels):.1%} of 30 texts are right" in text
    assert f"a gain of {100 * gain:+.1f} points" in text
    alts = re.findall(r'<img alt="(.*?)"', text)
    assert alts[:4] == [
        "Which classes are confused: without adaptation",
        "Which classes are confused: dann",
        "Accuracy over the share of texts that are answered",
        "Accuracy over confidence",
    ]
    trained = fitted.trained_
    minute = trained["date"][:16].replace("T", " ")
    assert f"{minute} UTC in {trained['seconds']:.0f} seconds on cpu: " in text
    row = re.search(r'<td class="text">&lt;b&gt;</td><td class="number">20</td>(.*?)</tr>', text)
    assert row
    assert f'<td class="number">{fitted.score(texts[:20], labels[:20]):.3f}</td>' in row[1]
    assert "<h2>Findings</h2>" in text
    alone = plots.report(
        fitted, tmp_path / "alone.html", target=Domain(texts, labels), groups=groups
    )
    assert "gain" not in alone.read_text()
    assert ">low</th>" in alone.read_text()
    with pytest.raises(ValueError, match="need a target with labels"):
        plots.report(fitted, tmp_path / "no.html", target=texts, groups=groups)
    assert not (tmp_path / "no.html").exists()


def test_a_report_gives_each_warning_once(fitted, tiny, source, tmp_path):
    texts, labels = toy_texts(12, "tweet lol omg today friend", 6)
    shown = Domain([f"{text} lol" + " lol" * 40 for text in texts], labels)
    plain = tiny(method="source_only").fit(*source)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        plots.report(fitted, tmp_path / "r.html", shown, shown, baseline=plain)
    said = [str(w.message) for w in heard if issubclass(w.category, TruncationWarning)]
    assert len(said) == len(set(said)) > 0


def test_a_report_takes_tables_and_few_texts(fitted, tmp_path):
    texts, labels = toy_texts(9, "tweet lol omg today friend", 6)
    table = pd.DataFrame({"text": texts, "label": labels, "who": ["a"] * 5 + ["b"] * 4})
    out = plots.report(fitted, tmp_path / "r.html", table, table, groups="who")
    text = out.read_text()
    assert "<h2>By group</h2>" in text
    # Nine texts are too few for a distance.
    assert "near points have like features" not in text


def test_a_report_refuses_what_it_would_misread(fitted, tiny, source, target, tmp_path):
    labels = ["other", *source[1][1:]]
    other = tiny(method="source_only", epochs=1, validation_fraction=0).fit(source[0], labels)
    own = Domain(*toy_texts(30, "tweet lol omg today friend", 6))
    for change, words in (
        ({"baseline": other}, r"the baseline has the classes \['neg', 'other', 'pos'\], not"),
        ({"examples": -1}, "examples=-1 must be a whole number"),
        ({"examples": "8"}, "examples='8' must be a whole number"),
    ):
        with pytest.raises(ValueError, match=words):
            plots.report(fitted, tmp_path / "r.html", None, own, **change)
    assert not list(tmp_path.iterdir())
    assert not plt.get_fignums()


def test_a_model_that_gives_all_texts_the_same_has_no_map_and_still_a_report(fitted, tmp_path):
    texts = toy_texts(30, "film plot actor scene the", 5)[0]
    same = Domain(texts[:1] * 30)
    text = plots.report(fitted, tmp_path / "page.html", same, same).read_text()
    assert "There is no map: features of shape (60, 32) cannot be laid out: only 1 rows" in text
    assert text.count("<img ") == 1


def test_long_names_are_whole_in_the_tables(tiny, source, tmp_path):
    names = {"pos": "p" * 1000, "neg": "n" * 1000}
    labels = [names[label] for label in source[1]]
    adapter = tiny(epochs=1, method="source_only").fit(source[0], labels)
    texts, kinds = toy_texts(30, "tweet lol omg", 6)
    target = Domain(texts, [names[kind] for kind in kinds])
    text = plots.report(adapter, tmp_path / "page.html", Domain(texts), target).read_text()
    for name in names.values():
        assert f'<td class="text">{name}</td>' in text


def test_a_report_says_why_a_student_loses_on_the_source():
    history = [{"epoch": 1, "task_loss": 0.5}, {"epoch": 2, "pseudo_loss": 0.4}]
    scores = [{"epoch": epoch, "validation_accuracy": 0.9 - epoch / 10} for epoch in (1, 2)]
    run = SimpleNamespace(history_=history, validation_=scores)
    shown = _held_out(run, ("films", "tweets"))
    assert shown["rows"] == [(1, 0.8), (2, 0.7)]
    assert shown["note"].startswith("After epoch 1 the model learns from the target alone (tweets)")
    run.history_ = history[:1]
    assert not _held_out(run, ("films", "tweets"))["note"]
