from __future__ import annotations

import json
import pickle
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from dann_transfer.judging.findings import Finding, Findings

BOLD = Finding("collapsed class", "severe", "99% are '<b>'.", "Lower <i>max_strength</i> & wait.")
MILD = Finding("cut texts", "note", "Some are cut.", "Raise max_length.")
MIDDLE = Finding("shared texts", "warning", "Some are shared.", "Take them out.")


def test_findings_are_an_immutable_sequence_with_the_severe_first():
    findings = Findings([MILD, BOLD, MIDDLE, replace(BOLD, name="second")])
    assert [f.severity for f in findings] == ["severe", "severe", "warning", "note"]
    assert [f.name for f in findings[:2]] == ["collapsed class", "second"]
    assert findings.severe == findings[:2]
    assert isinstance(findings.severe, Findings)
    with pytest.raises(TypeError, match="item assignment"):
        findings[0] = MILD
    with pytest.raises(AttributeError):
        findings[0].name = "other"
    assert pickle.loads(pickle.dumps(findings)) == findings
    with pytest.raises(ValueError, match="severity='bad' must be one of"):
        Finding("x", "bad", "", "")


def test_text():
    assert str(Findings([MILD, BOLD])).splitlines() == [
        "severe: collapsed class",
        "  99% are '<b>'.",
        "  What to do: Lower <i>max_strength</i> & wait.",
        "note: cut texts",
        "  Some are cut.",
        "  What to do: Raise max_length.",
    ]
    assert str(Findings()).startswith("No findings: ")


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.open, self.text = set(), [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_html_is_escaped():
    page = Elements(Findings([MILD, BOLD])._repr_html_())
    assert page.open == []
    assert page.tags == {"div", "b"}
    for words in (BOLD.evidence, BOLD.remedy, BOLD.name, "severe", MILD.evidence):
        assert words in page.text
    assert page.text.index(BOLD.name) < page.text.index(MILD.name)
    assert Elements(Findings()._repr_html_()).text == str(Findings())


def test_frame_and_json():
    findings = Findings([MILD, BOLD])
    assert Findings.from_json(json.loads(json.dumps(findings.to_json()))) == findings
    assert findings.to_json()[0]["remedy"] == BOLD.remedy
    more = [{**row, "since": "later"} for row in findings.to_json()]
    assert Findings.from_json(more) == findings
    frame = findings.frame()
    assert frame.columns.tolist() == ["name", "severity", "evidence", "remedy"]
    assert frame["name"].tolist() == ["collapsed class", "cut texts"]
    assert Findings().frame().shape == (0, 4)
    assert Findings().to_json() == []
    assert not Findings().severe
