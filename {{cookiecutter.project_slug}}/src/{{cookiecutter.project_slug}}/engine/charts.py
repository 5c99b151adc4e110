"""Learning curves as inline SVG, drawn without any library; their colors are those of the page (see `page.py`)."""

import math
from collections.abc import Callable, Sequence
from html import escape

from .panels import Panel, Scale
from .results import Curve

WIDTH, HEIGHT = 440, 250  # in the units of the picture, which scales with the page
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 26
POINTS = 8_000  # of all lines of a page together: a hundred metrics still make less than a megabyte
MOST, LEAST = 400, 60  # points of one line
MARKED = 60  # points up to which each is marked, and tells its value under the mouse; fewer with many charts
TICKS = 5
Point = tuple[float, float]


def chart(panel: Panel, budget: int) -> str:
    """Draw the curves of one metric.

    Args:
        panel: The curves.
        budget: Points that a line may have; a longer one keeps its highest and lowest.
    """
    scale = panel.scale()
    lines = panel.lines()
    steps = [step for _, _, curve in lines for step in curve]
    first, last = min(steps, default=0), max(steps, default=1)

    def x(step: float) -> float:
        return LEFT + (step - first) / max(1, last - first) * (WIDTH - LEFT - RIGHT)

    y = _vertical(scale)
    parts = [_axes(x, y, scale, first, last)]
    for kind, _, curve in lines:
        points = [(x(step), y(value)) for step, value in _thin(curve, budget)]
        parts.append(f'<path class="{kind}" d="{_path(points)}"/>')
        if kind != "batches" and len(curve) <= min(MARKED, budget // 4):
            parts += [
                f'<circle class="{kind}" cx="{x(step):.1f}" cy="{y(value):.1f}"><title>step {step}: {value:.5g}</title>'
                "</circle>"
                for step, value in curve.items()
                if math.isfinite(value)
            ]
    ends = [f"{label} {[*curve.values()][-1]:.4g}" for kind, label, curve in lines if kind != "batches"]
    about = escape(f"{panel.metric} by step; at the end: {', '.join(ends) or 'single batches only'}")
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{about}">{"".join(parts)}</svg>'


def legend(panel: Panel) -> str:
    """Name the lines of a chart, with their colors."""
    return "".join(f'<span class="key {kind}">{escape(label)}</span>' for kind, label, _ in panel.lines())


def budget_for(panels: Sequence[Panel]) -> int:
    """Return how many points a line may have, if so many panels share a page."""
    return min(MOST, max(LEAST, POINTS // max(1, len(panels))))


def sparkline(curve: Curve) -> str:
    """Draw a curve as small as a word; empty for less than two values."""
    values = [(step, value) for step, value in curve.items() if math.isfinite(value)]
    if len(values) < 2:
        return ""
    low, high = min(value for _, value in values), max(value for _, value in values)
    first, last = values[0][0], values[-1][0]
    points = [
        (2 + 76 * (step - first) / max(1, last - first), 18 - 16 * (value - low) / ((high - low) or 1))
        for step, value in _thin(dict(values), LEAST)
    ]
    return f'<svg class="spark" viewBox="0 0 80 20" aria-hidden="true"><path class="val" d="{_path(points)}"/></svg>'


def _vertical(scale: Scale) -> Callable[[float], float]:
    """Map values to heights; what lies outside stays at the edge."""

    def place(value: float) -> float:
        if scale.is_logarithmic:
            low, high, at = math.log(scale.low), math.log(scale.high), math.log(max(value, scale.low))
        else:
            low, high, at = scale.low, scale.high, value
        share = min(1.0, max(0.0, (at - low) / (high - low)))
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    return place


def _axes(x: Callable[[float], float], y: Callable[[float], float], scale: Scale, first: int, last: int) -> str:
    parts = []
    for value, text in _ticks(scale):
        at = f"{y(value):.1f}"
        parts.append(f'<path class="grid" d="M{LEFT} {at}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at}" dy=".35em" text-anchor="end">{text}</text>')
    for step in filter(float.is_integer, _round_numbers(first, last)):
        parts.append(f'<text x="{x(step):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{_short(step)}</text>')
    return "".join(parts)


def _ticks(scale: Scale) -> list[tuple[float, str]]:
    if scale.is_logarithmic:
        powers = range(math.ceil(math.log10(scale.low)), math.floor(math.log10(scale.high)) + 1)
        return [(10.0**power, f"{10.0**power:g}") for power in powers[:: -(-len(powers) // (TICKS + 1)) or 1]]
    numbers = _round_numbers(scale.low, scale.high)
    return [(number, f"{number:.10g}" if abs(number) < 1e5 else f"{number:.4g}") for number in numbers]


def _round_numbers(low: float, high: float) -> list[float]:
    """Return about `TICKS` round numbers between two numbers."""
    if not high > low:
        return [float(low)]
    raw = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    size = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    start, end = math.ceil(low / size), math.floor(high / size)
    return [float(f"{number * size:.10g}") for number in range(start, end + 1)]


def _short(step: float) -> str:
    """Write 20000 as 20k."""
    return f"{step / 1000:g}k" if abs(step) >= 10_000 else f"{step:g}"


def _thin(curve: Curve, most: int) -> list[Point]:
    """Return the finite points of a curve; of more than `most`, the lowest and the highest of every part."""
    points: list[Point] = [(step, value) for step, value in curve.items() if math.isfinite(value)]
    if len(points) <= most:
        return points
    size = -(-2 * len(points) // most)
    thin = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        thin += sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})
    return thin


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""
