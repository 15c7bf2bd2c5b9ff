from __future__ import annotations

import re

import matplotlib.pyplot as plt
import pytest
from conftest import toy_texts
from sklearn.exceptions import NotFittedError

from dann_transfer import Domain, DomainAdapter

EVIL = "<script>document.title='stolen'</script>"


@pytest.fixture(scope="module")
def page(fitted, tmp_path_factory):
    source = Domain(*toy_texts(30, "film plot actor scene the", 5))
    target = Domain([*toy_texts(30, "tweet lol omg today friend", 6)[0], EVIL])
    out = tmp_path_factory.mktemp("report") / "report.html"
    plt.close("all")
    assert fitted.report(out, source, target) == out
    return out


def test_a_report_tells_the_run(page, fitted):
    text = page.read_text()
    assert "<h1>dann: 90 source and 70 target texts</h1>" in text
    assert text.count("<img ") == 2
    assert not plt.get_fignums()
    rows = dict(re.findall(r'<tr><td class="text">(\w+)</td><td class="text">(.*?)</td>', text))
    assert rows["max_strength"] == "0.1"
    assert rows["epochs"] == "8"
    for epoch in fitted.validation_:
        assert f'<td class="number">{epoch["validation_accuracy"]:.3g}</td>' in text
    assert '<td class="text">neg</td>' in text
    # Of nine held-out texts no prior is estimated.
    assert fitted.target_prior_ == {}
    assert "prior by" not in text
    assert text.count('<td class="text">&lt;script&gt;') == 1
    assert "<script" not in text


def test_a_report_needs_no_texts(fitted, tmp_path):
    text = fitted.report(tmp_path / "plain.html").read_text()
    assert text.count("<img ") == 1
    assert "Target texts" not in text
    with pytest.raises(NotFittedError):
        DomainAdapter().report(tmp_path / "none.html")


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 390])
def test_the_report_in_chromium(browser, page, width):
    opened, errors, requests = browser(page, width, 800)
    opened.wait_for_load_state("load")
    assert opened.title().startswith("dann: 90 source")
    for image in opened.locator("img").all():
        assert image.evaluate("i => i.naturalWidth") > 300
    # Nothing hangs over the side of a phone.
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    opened.close()
