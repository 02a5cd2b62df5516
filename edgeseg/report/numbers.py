"""Numbers as text for a report. None stands for what is not finite, since JSON has no such number."""

from __future__ import annotations

NOT_FINITE = "not a number"
MINUS = "\N{MINUS SIGN}"
JOINED = "\N{NO-BREAK SPACE}"
"""Between a number and its unit, which stay on one line."""


def number(value: float | None) -> str:
    """Four significant digits, six from 0.1 on, where a gate's last digits decide: 7.868e-06, 0.981432."""
    if value is None:
        return NOT_FINITE
    return _signed(format(value, ".6g" if abs(value) >= 0.1 else ".4g"))


def margin(value: float | None) -> str:
    """Three significant digits with a sign."""
    return NOT_FINITE if value is None else _signed(format(value, "+.3g" if value else "g"))


def overlap(value: float | None) -> str:
    """A mask IoU with four decimals, more where four would round it up to a perfect 1."""
    if value is None:
        return NOT_FINITE
    return next((text for text in (f"{value:.{d}f}" for d in (4, 6)) if value >= 1 or float(text) < 1), "> 0.999999")


def cosine(value: float | None) -> str:
    """A cosine near 1 by its distance from 1, which four decimals would hide."""
    if value is None:
        return "undefined"
    if value >= 1:
        return "1"
    return f"1 {MINUS} {1 - value:.1e}" if value > 0.999 else _signed(f"{value:.4f}")


def decibels(value: float | None) -> str:
    """A signal-to-noise ratio in dB; None where there is no noise, or no signal."""
    return "infinite" if value is None else _signed(f"{value:.1f}")


def megabytes(count: int) -> str:
    """A number of bytes in units of 10^6, as gates count them."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def percent(value: float | None) -> str:
    """A ratio in percent with two decimals, more where two would round it up to a perfect 100."""
    if value is None:
        return NOT_FINITE
    text = next((t for t in (f"{100 * value:.{d}f}" for d in (2, 4)) if value >= 1 or float(t) < 100), "> 99.9999")
    return f"{_signed(text)}{JOINED}%"


def milliseconds(value: float) -> str:
    """Whole milliseconds from 100 on, one decimal from 10 on, two below."""
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}{JOINED}ms"


def duration(seconds: float) -> str:
    """How long a stage took, as people say it."""
    if seconds < 0.005:
        return f"<{JOINED}0.01{JOINED}s"
    if seconds < 59.95:
        return f"{seconds:.{2 if seconds < 9.995 else 1}f}{JOINED}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{JOINED}min {rest}{JOINED}s"
    return f"{minutes // 60}{JOINED}h {minutes % 60}{JOINED}min"


def moment(text: str) -> str:
    """An ISO 8601 time for people; whatever else is there stays as it is."""
    return text.replace("T", " ", 1).replace("+00:00", " UTC")


def _signed(text: str) -> str:
    return text.replace("-", MINUS, 1) if text.startswith("-") else text
