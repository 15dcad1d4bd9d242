"""Schedules against their own length: stepped for more steps than they were made for (GL212, GL213).

Judges what a run has counted; must not know torch.
"""

from __future__ import annotations

from gradlint.runtime.schedule import Schedule

_CLOSE = 0.1
_WINDOW = 2
_TWICE = 2  # what the last step of all sets is used by nobody


def counts_updates(schedule: Schedule) -> bool:
    """Tell whether a schedule has the length of the updates, and moved on several times with each (GL212)."""
    return _is_about(schedule.length, schedule.taken) and schedule.steps >= _WINDOW * schedule.taken


def counts_steps(schedule: Schedule) -> bool:
    """Tell whether a schedule was stepped as often as it is long."""
    return _is_about(schedule.length, schedule.steps)


def overrun(schedule: Schedule) -> str | None:
    """Return what it does that a schedule was stepped beyond its end (GL213), None if it was not.

    What the last step of all sets is used by nobody. Whole periods of a cosine are a choice, as are several of them.
    """
    length, used = schedule.length, schedule.last - 1
    if schedule.below >= _TWICE and not schedule.restarted:
        return f"is stepped {schedule.last} times, and has come below 0 before: with a negative rate each step goes away from the minimum"
    if length is None or schedule.restarted or used <= length:
        return None
    told = f"is stepped {schedule.last} times, but its schedule is {length} steps long"
    if schedule.cls == "CosineAnnealingLR" and used < 2 * length - 1:
        return f"{told}: after that the learning rate rises again"
    if schedule.cls in ("PolynomialLR", "LambdaLR") and schedule.rests:
        return f"{told}: after that the learning rate is 0 and nothing is trained"
    return None


def _is_about(length: int | None, count: int) -> bool:
    return length is not None and count > 0 and abs(length - count) <= _CLOSE * count
