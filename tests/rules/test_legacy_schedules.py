"""Differential tests of schedules against v0.4's own parsers, over random expressions (seeded) and their next times."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from git_events_runner.errors import InvalidObject
from git_events_runner.rules.schedule.cron import Cron
from git_events_runner.rules.schedule.intervals import parse_interval
from tests.servers.legacy import asked

SEED = 20_260_101
CASES = 4000
TIMES = 6
ZONES = ("Europe/Kyiv", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")
MONTHS = ("JAN", "feb", "Mar", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "mon", "Tue", "WED", "THU", "FRI", "SAT")


class Expressions:
    """Random cron expressions of v0.4's grammar, with a few mistakes among them."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def __call__(self):
        """One expression."""
        choose = self._random.choice
        second, minute, hour = self._field(0, 59), self._field(0, 59), self._field(0, 23)
        month, year = choose(["*", self._field(1, 12, MONTHS)]), choose(["*", self._field(2024, 2034)])
        free, day, weekday = choose("*?"), choose(["*", self._monthday()]), choose(["*", self._weekday()])
        monthday, weekday = choose([(day, free), (free, weekday), (day, "*"), (day, weekday)])
        fields = [minute, hour, monthday, month, weekday]
        fields = choose([fields, [second, *fields], [second, *fields, year]])
        zone = choose(["", "", f"TZ={choose(ZONES)} ", f"tz={choose(ZONES)} "])
        return zone + choose([" ", "  "]).join(fields)

    def _value(self, low, high, words=()):
        if words and self._random.random() < 0.4:
            return self._random.choice(words)
        beyond = self._random.random() < 0.01
        text = str(high + 1 if beyond else self._random.randint(low, high))
        return self._random.choice(["", "", "", "", "", "0", "+"]) + text

    def _plain(self, low, high, words=()):
        value = self._value(low, high, words)
        form = self._random.choice(["value", "value", "range", "steps", "range steps", "all steps"])
        if "range" in form:
            first, last = sorted((self._random.randint(low, high), self._random.randint(low, high)))
            value = f"{first}-{last}"
        elif "all" in form:
            value = "*"
        return value + (f"/{self._random.randint(1, 8)}" if "steps" in form else "")

    def _field(self, low, high, words=()):
        return self._list(lambda: self._plain(low, high, words))

    def _monthday(self):
        plain, value = self._plain(1, 31), self._value(1, 28)
        return self._list(lambda: self._random.choice([plain, "L", f"{value}W", f"{self._value(1, 28)}W"]))

    def _weekday(self):
        def item():
            value = self._value(0, 6, DAYS)
            first, last = sorted((self._random.randint(0, 6), self._random.randint(0, 6)))
            count = self._random.randint(1, 4)
            return self._random.choice([value, f"{value}L", f"{value}#{count}", f"{first}-{last}"])

        return self._list(item)

    def _list(self, item):
        return ",".join(item() for _ in range(self._random.choice([1, 1, 1, 2, 3])))


def ours(text, after, count):
    """The next times as v0.4's program gives them; None: refused."""
    try:
        cron = Cron.parse(text)
    except InvalidObject:
        return None
    found, moment = [], after - timedelta(seconds=1)
    for _ in range(count):
        moment = cron.next_due(moment)
        if moment is None:
            break
        found.append(int(moment.timestamp()))
    return found


def calm(seconds, zone):
    """Whether no clock of the zone changes within a day of a time."""
    moment = datetime.fromtimestamp(seconds, UTC)
    day = timedelta(days=1)
    return len({(moment + shift).astimezone(zone).utcoffset() for shift in (-day, timedelta(0), day)}) == 1


def zone_of(text):
    """The zone of an expression."""
    return ZoneInfo(text.split()[0].partition("=")[2] if "=" in text else "UTC")


def test_cron_expressions_fire_when_v04_lets_them_fire(legacy):
    """Every random expression that v0.4 takes is taken, with the same next times wherever no clock changes."""
    made, chosen = Expressions(SEED), random.Random(SEED)
    cases = []
    for _ in range(CASES):
        after = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chosen.randrange(4 * 365 * 86_400))
        cases.append((made(), after))
    answers = asked(legacy, [("cron", int(after.timestamp()), TIMES, text) for text, after in cases])
    wrong, taken = [], 0
    for (text, after), answer in zip(cases, answers, strict=True):
        if not answer or answer == "panic":  # refused there, or never comes due
            continue
        taken += 1
        zone, mine = zone_of(text), ours(text, after, TIMES)
        theirs = [int(seconds) for seconds in answer]
        if mine == theirs:
            continue
        horizon = min(theirs[-1], mine[-1]) if mine and len(theirs) == len(mine) else None
        moments = (after.timestamp(), *theirs, *(mine or ()))
        if mine is None or horizon is None or all(calm(seconds, zone) for seconds in moments):
            wrong.append((text, after.isoformat(), theirs, mine))
            continue
        kept = [[s for s in times if s <= horizon and calm(s, zone)] for times in (theirs, mine)]
        if kept[0] != kept[1]:
            wrong.append((text, after.isoformat(), *kept))
    assert not wrong, f"{len(wrong)} of {taken} differ, as {wrong[:5]}"
    assert taken > CASES // 3


def test_the_forms_of_v04_that_were_refused_or_misread(legacy):
    """`5L`, lists of `W`, of `#` and of both with plain days mean what they mean in v0.4; `L5` is no form of either."""
    forms = ["0 0 * * 5L", "0 0 0 ? * FRIL", "0 0 1,15W * *", "0 0 10W,20W * *", "0 0 ? * 1#1,5", "0 0 * * MON#1,5L"]
    forms += ["0 0 * * MON#2,1", "0 0 1,L * ?", "0 0 * * 5LL", "0 0 * * 1#2#3", "0 0 L,15W * *"]
    after = datetime(2026, 1, 1, tzinfo=UTC)
    answers = asked(legacy, [("cron", int(after.timestamp()), 40, text) for text in forms])
    assert [ours(text, after, 40) for text in forms] == [[int(s) for s in found] for found in answers]
    assert asked(legacy, [("cron", 0, 1, "0 0 * * L5")]) == [ours("0 0 * * L5", after, 1)] == [None]


def test_aliases_and_zones_are_those_of_v04(legacy):
    """Each alias fires when it does there, and each zone that it knows is known, under any spelling of TZ=."""
    after = datetime(2026, 1, 1, tzinfo=UTC)
    names = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"]
    answers = asked(legacy, [("cron", int(after.timestamp()), 3, f"tZ=Asia/Kolkata {name}") for name in names])
    assert [ours(f"tZ=Asia/Kolkata {name}", after, 3) for name in names] == [[int(s) for s in a] for a in answers]
    (zones,) = asked(legacy, [("zones",)])
    assert set(zones) - available_timezones() == set()


def test_intervals_are_as_long_as_in_v04(legacy):
    """Every random interval from a second to a hundred years that v0.4 takes has the same length."""
    chosen = random.Random(SEED)
    units = ["ns", "µs", "ms", "millis", "s", "secs", "m", "mins", "h", "hours", "d", "w", "wk", "M", "y", "yrs", "x"]
    texts = []
    for _ in range(CASES):
        parts = []
        for _ in range(chosen.choice([1, 1, 2, 3])):
            number = str(chosen.randrange(10 ** chosen.randrange(1, 6)))
            number += chosen.choice(["", "", "", ".5", ".25", ". 125", "."])
            number = chosen.choice([number, number, f"{number} ", f"1 {number}"])
            parts.append(number + chosen.choice(units))
        texts.append(chosen.choice(["", " "]) + chosen.choice([" ", "", "  "]).join(parts))
    answers = asked(legacy, [("interval", text) for text in texts])
    second, taken = 10**9, 0
    for text, theirs in zip(texts, answers, strict=True):
        if theirs is not None and second <= int(theirs[0]) <= 100 * 31_557_600 * second:
            taken += 1
            assert parse_interval(text) == int(theirs[0]) // 10**6, text
    assert taken > CASES // 3
