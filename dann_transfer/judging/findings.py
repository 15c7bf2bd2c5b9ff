"""Findings about a run: what one is, how they read as text, HTML and a table, and their warning."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from dann_transfer.ground.notices import warn

if TYPE_CHECKING:
    import pandas as pd

SEVERITIES = ("severe", "warning", "note")
"""From the worst to the mildest. A severe finding makes a run useless."""
UNLEARNT = "unlearnt source"
"""The finding that a model answers held-out source texts hardly better than a constant does."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a run, or worth knowing about it.

    Parameters
    ----------
    name : str
        A noun, such as "collapsed class".
    severity : str
        One of `SEVERITIES`.
    evidence : str
        What was observed, with numbers.
    remedy : str
        What to do.

    Raises
    ------
    ValueError
        If there is no such severity.

    """

    name: str
    severity: str
    evidence: str
    remedy: str

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity={self.severity!r} must be one of {SEVERITIES}.")


NO_FINDINGS = (
    "No findings: nothing looks wrong in the losses, the features, the predictions and the texts. "
    "Whether adaptation helped is known only from labelled target texts."
)
_COLOURS = {"severe": "#D55E00", "warning": "#E69F00", "note": "#0072B2"}


class Findings(tuple[Finding, ...]):
    """Findings, the severe ones first: a tuple that reads as text and as HTML.

    Examples
    --------
    >>> note = Finding("cut texts", "note", "300 of 900 source texts are cut.", "Raise max_length.")
    >>> severe = Finding("collapsed class", "severe", "All are 'a'.", "Lower max_strength.")
    >>> findings = Findings([note, severe])
    >>> print(findings)
    severe: collapsed class
      All are 'a'.
      What to do: Lower max_strength.
    note: cut texts
      300 of 900 source texts are cut.
      What to do: Raise max_length.
    >>> len(findings), findings[0].name, len(findings.severe)
    (2, 'collapsed class', 1)
    >>> Findings.from_json(findings.to_json()) == findings
    True

    """

    __slots__ = ()

    def __new__(cls, findings: Iterable[Finding] = ()) -> Findings:
        """Sort findings by severity; within one they keep their order."""
        return super().__new__(cls, sorted(findings, key=lambda f: SEVERITIES.index(f.severity)))

    def __repr__(self) -> str:
        blocks = (f"{f.severity}: {f.name}\n  {f.evidence}\n  What to do: {f.remedy}" for f in self)
        return "\n".join(blocks) or NO_FINDINGS

    def _repr_html_(self) -> str:
        # Blocks below one another, since a table of sentences is unreadable on a narrow screen.
        # No definition list: JupyterLab sets its terms in a column of a fifth of the width.
        def block(finding: Finding) -> str:
            text = {key: html.escape(value) for key, value in asdict(finding).items()}
            return (
                f'<div style="border-left:4px solid {_COLOURS[finding.severity]};'
                'padding:0 0 0 .8em;margin:0 0 1em">'
                f"<div><b>{text['name']}</b> ({text['severity']})</div>"
                f"<div>{text['evidence']}</div>"
                f"<div><b>What to do:</b> {text['remedy']}</div></div>"
            )

        blocks = "".join(map(block, self)) or f"<div>{html.escape(NO_FINDINGS)}</div>"
        style = "max-width:42em;line-height:1.45;overflow-wrap:anywhere;text-align:left"
        return f'<div style="{style}">{blocks}</div>'

    @property
    def severe(self) -> Findings:
        """The findings that make the run useless."""
        return Findings(f for f in self if f.severity == "severe")

    def frame(self) -> pd.DataFrame:
        """Return the findings as a pandas DataFrame, one per row."""
        import pandas as pd

        return pd.DataFrame(self.to_json(), columns=[f.name for f in fields(Finding)])

    def to_json(self) -> list[dict[str, str]]:
        """Return the findings in a form that JSON can hold."""
        return [asdict(finding) for finding in self]

    @classmethod
    def from_json(cls, values: Iterable[Mapping[str, str]]) -> Findings:
        """Rebuild the findings from what `to_json` returned; other keys are ignored."""
        return cls(Finding(**{f.name: row[f.name] for f in fields(Finding)}) for row in values)


class FindingWarning(UserWarning):
    """A run is useless, for a reason that its losses and predictions show."""


def warn_of_findings(findings: Findings) -> None:
    """Warn of severe findings, except those that `fit` has already warned of.

    A collapsed class, and tokens that the encoder does not know, have warnings of their own.
    """
    for finding in findings.severe:
        if finding.name not in {"collapsed class", "unknown tokens"}:
            warn(f"{finding.name}: {finding.evidence} {finding.remedy}", FindingWarning)
