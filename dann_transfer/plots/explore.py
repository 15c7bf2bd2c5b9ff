"""An interactive map of texts in one offline HTML page: hover over a point to read its text."""

from __future__ import annotations

import html
import textwrap
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dann_transfer.ground.folders import write_whole
from dann_transfer.plots.alignment import AlignmentDisplay
from dann_transfer.plots.display import PALETTE, shortened
from dann_transfer.plots.maps import limits_of, ranges_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

RIGHT, WRONG = "#C8C8C8", "#D40000"
# Panels side by side are too small on a phone, so there they are placed one below the other.
_STACK = """
const page = document.getElementById('{plot_id}'), n = COUNT;
function place() {
  const narrow = window.innerWidth < 640, moved = {height: narrow ? 380 * n + 170 : null};
  for (let i = 0; i < n; i++) {
    const axis = i ? i + 1 : '', top = 1 - i / n, side = 0.01 * (n - 1);
    moved[`xaxis${axis}.domain`] = narrow ? [0, 1] : [i / n + side * (i > 0), (i + 1) / n];
    moved[`yaxis${axis}.domain`] = narrow ? [top - 0.86 / n, top] : [0, 1];
    moved[`annotations[${i}].x`] = narrow ? 0.5 : (i + 0.5) / n;
    moved[`annotations[${i}].y`] = narrow ? top : 1;
  }
  Plotly.relayout(page, moved);
}
let before = null;
function watch() {
  const narrow = window.innerWidth < 640;
  if (narrow !== before) { before = narrow; place(); }
}
window.addEventListener('resize', watch);
watch();
"""
SYMBOLS = (
    "circle", "triangle-up", "square", "diamond", "triangle-down", "star", "cross", "x",
    "pentagon", "hexagram", "bowtie", "hourglass", "star-diamond", "diamond-wide", "circle-open",
    "triangle-up-open", "square-open", "diamond-open", "triangle-down-open", "star-open",
)  # fmt: skip


def hover(text: str, width: int = 60, lines: int = 8) -> str:
    """Wrap and escape a text for a hover label, which would otherwise read it as HTML.

    Examples
    --------
    >>> hover("<script>alert(1)</script> & more")
    '&lt;script&gt;alert(1)&lt;/script&gt; &amp; more'

    """
    wrapped = textwrap.wrap(text, width, max_lines=lines, placeholder=" …")
    return "<br>".join(html.escape(line) for line in wrapped)


def figure(display: AlignmentDisplay) -> go.Figure:
    """Turn a display into a plotly figure: a panel per model, an entry per domain and class.

    Raises
    ------
    ImportError
        If plotly is not installed.

    """
    try:
        from plotly.subplots import make_subplots
    except ImportError as error:
        raise ImportError(
            "interactive pictures need plotly: pip install 'dann_transfer[explore]'"
        ) from error

    titles = [
        f"{html.escape(shortened(title))}<br><sup>{display.measured(title)}</sup>"
        for title in display.points
    ]
    page = make_subplots(1, len(titles), subplot_titles=titles, horizontal_spacing=0.02)
    frame = display.frame()
    labelled = display.labels is not None
    kinds = frame["label"] if labelled else frame["predicted"]
    frame["kind"] = ["" if kind is None else str(kind) for kind in kinds]
    domains = list(dict.fromkeys(display.domains))
    classes = sorted(frame["kind"].unique())
    for column, title in enumerate(display.points, start=1):
        for domain in domains:
            for kind in classes:
                rows = frame[frame["model"] == title]
                rows = rows[(rows["domain"] == domain) & (rows["kind"] == kind)]
                if rows.empty:
                    continue
                marker = {
                    "color": PALETTE[domains.index(domain) % len(PALETTE)],
                    "symbol": SYMBOLS[classes.index(kind) % len(SYMBOLS)],
                    "size": 7,
                    "opacity": 0.65,
                }
                _add_points(page, rows, domain, kind, labelled, column, marker)
    # Points outside can be reached with the mouse.
    x, y = ranges_of(limits_of(np.concatenate(list(display.points.values()))))
    page.update_xaxes(visible=False, range=x)
    page.update_yaxes(visible=False, range=y)
    page.update_layout(
        template="plotly_white",
        legend={"orientation": "h", "y": -0.02, "yanchor": "top"},
        hoverlabel={"align": "left", "bgcolor": "white", "font": {"color": "black"}},
        margin={"l": 10, "r": 10, "t": 105, "b": 10},
    )
    if labelled and frame["predicted"].notna().all():
        _add_switch(page)
    return page


def _add_points(
    page: go.Figure,
    rows: Any,
    domain: str,
    kind: str,
    labelled: bool,
    column: int,
    marker: dict[str, Any],
) -> None:
    """Draw the texts of a domain and class into a panel."""
    hovers = [
        [
            hover(row.text),
            html.escape(shortened(row.label)),
            html.escape(shortened(row.predicted)),
            # Numbers may be of several types.
            bool(row.label == row.predicted) or str(row.label) == str(row.predicted),
        ]
        for row in rows.itertuples()
    ]
    parts = ["labelled %{customdata[1]}"] if labelled else []
    parts += ["predicted %{customdata[2]}"] if rows["predicted"].notna().all() else []
    page.add_scatter(
        x=rows["x"],
        y=rows["y"],
        mode="markers",
        marker=marker,
        name=html.escape(": ".join(shortened(part) for part in (domain, kind) if part)),
        # One entry of the legend controls all panels.
        legendgroup=f"{domain}: {kind}",
        showlegend=column == 1,
        customdata=hovers,
        hovertemplate=(
            "%{customdata[0]}<br><br>"
            f"<b>{html.escape(shortened(domain))}</b>"
            f"{': ' if parts else ''}{', '.join(parts)}<extra></extra>"
        ),
        row=1,
        col=column,
    )


def _add_switch(page: go.Figure) -> None:
    """Let the reader colour points by domain, or mark wrongly predicted ones in red."""
    colours = [trace.marker.color for trace in page.data]
    hits = [[RIGHT if row[3] else WRONG for row in trace.customdata] for trace in page.data]
    buttons = [
        {"label": name, "method": "restyle", "args": [{"marker.color": values}]}
        for name, values in (("by domain", colours), ("wrong in red", hits))
    ]
    page.update_layout(
        updatemenus=[
            {
                "type": "buttons",
                "direction": "right",
                "buttons": buttons,
                "x": 0,
                "xanchor": "left",
                "y": 1,
                "yanchor": "bottom",
                "pad": {"b": 52},
            }
        ],
        margin={"t": 150},
    )


def explore(display: AlignmentDisplay, path: str | PathLike[str], title: str = "Features") -> Path:
    """Write an interactive page of a map: hovering shows a text, its classes and its domain.

    If the texts have labels, a button marks those that are predicted wrongly. The page contains
    everything it needs (4 MB) and makes no network requests.

    Parameters
    ----------
    display : AlignmentDisplay
        As ``AlignmentDisplay.from_estimator`` computes it.
    path : str or path
        The HTML file to write. It appears whole or not at all.
    title : str

    Returns
    -------
    Path

    """
    options: dict[str, Any] = {
        "displaylogo": False,
        "responsive": True,
        # Without the button that would send the texts elsewhere.
        "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
    }
    drawing = figure(display)
    said = "Hover over a point, or tap it, to read its text."
    heading = {
        "text": f"{html.escape(title)}<br><sup>{said}</sup>",
        "x": 0.02,
        "y": 0.98,
        "yanchor": "top",
    }
    drawing.update_layout(title=heading)
    stack = _STACK.replace("COUNT", str(len(display.points)))
    page = drawing.to_html(include_plotlyjs=True, full_html=True, config=options, post_script=stack)
    # Otherwise a phone would lay out the page as if it were 980 pixels wide.
    meta = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    page = page.replace("<head>", f"<head>{meta}", 1)
    page = page.replace("<head>", f"<head><title>{html.escape(title)}</title>", 1)
    return write_whole(path, page)
