"""``python -m tests.bench.chart``: draws ``var/bench/results.json`` as ``deploy/bench.svg``.

A bar a measurement: how many plays a CPU second gets through, on a logarithmic scale, as the
slowest and the fastest are far apart. Colours serve light and dark pages, and text is the reader's
sans-serif.
"""

from __future__ import annotations

import io
import os
import platform
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import altair as alt

from tests.bench import results
from tests.bench.results import Result

OUT = Path("deploy/bench.svg")
_OURS, _PEERS, _INK = "#2f8f6b", "#8a8f98", "#808080"
"""All three have a contrast of at least 3 to white and to black."""
_NAMES, _BARS, _FIGURES, _ROW = 230, 440, 90, 26
_CPUINFO = Path("/proc/cpuinfo")


def per_cpu_second(result: Result) -> float:
    """Plays that a second of CPU gets through."""
    return 1e6 / max(result.cpu_s_per_million, 1e-9)


def draw(found: Sequence[Result], machine: str, day: date) -> str:
    """The chart as SVG, the most efficient on top."""
    rows = [
        {
            "rank": rank,
            "name": each.name,
            "rate": per_cpu_second(each),
            "text": f"{per_cpu_second(each):,.0f}",
            "fill": _PEERS if each.role == "peer" else _OURS,
        }
        for rank, each in enumerate(sorted(found, key=per_cpu_second, reverse=True))
    ]
    rates = [per_cpu_second(each) for each in found]
    low, high = min(rates) / 3, max(rates) * 1.1  # the shortest bar is to be seen, too
    x = alt.X(
        "rate:Q",
        axis=None,
        scale=alt.Scale(type="log", domain=(low, high), range=(_NAMES, _NAMES + _BARS)),
    )
    rank = alt.Y("rank:O", axis=None, scale=alt.Scale(paddingInner=0.35))
    base = alt.Chart(alt.InlineData(values=rows)).encode(y=rank)
    fill = alt.Color("fill:N", scale=None)
    bars = base.mark_bar(cornerRadius=2).encode(x=x, x2=alt.datum(low), color=fill)
    names = base.mark_text(align="left", limit=_NAMES - 8).encode(x=alt.value(0), text="name:N")
    figures = base.mark_text(align="left", dx=5).encode(x=x, text="text:N")
    title = alt.TitleParams(
        "Plays per CPU second, logarithmic scale",
        subtitle=f"{machine}; {day.isoformat()}. Green: Sotto Voce, its roles; grey: its peers",
    )
    chart = alt.layer(bars, names, figures).properties(
        width=_NAMES + _BARS + _FIGURES, height=alt.Step(_ROW), title=title
    )
    return _svg(chart)


def _svg(chart: alt.LayerChart | alt.FacetChart) -> str:
    styled = chart.properties(background="transparent", padding=8).configure(
        aria=False,
        font="sans-serif",
        view=alt.ViewConfig(stroke=None),
        text=alt.MarkConfig(color=_INK, fontSize=12),
        title=alt.TitleConfig(
            anchor="start",
            frame="group",
            offset=12,
            color=_INK,
            subtitleColor=_INK,
            fontSize=14,
            subtitleFontSize=11,
        ),
    )
    drawn = io.StringIO()
    styled.save(drawn, format="svg")
    return drawn.getvalue()


def machine() -> str:
    """Cores and CPU model of this machine."""
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores, {model}"


def main() -> None:
    """Draw what the last run measured, on the day it did."""
    measured = datetime.fromtimestamp(results.OUT.stat().st_mtime, UTC).date()
    OUT.write_text(draw(results.read(), machine(), measured) + "\n")


if __name__ == "__main__":
    main()
