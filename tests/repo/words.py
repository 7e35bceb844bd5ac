"""Words that may not come back: each with what to write instead, and the reason."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One rule: what it finds, what to write instead, and why."""

    found: re.Pattern[str]
    instead: str
    reason: str


def _word(found: str, instead: str, reason: str) -> Word:
    pattern = re.compile(rf"\b(?:{found})\b".replace(" ", r"\s"), re.IGNORECASE)  # a phrase may go over two lines
    return Word(found=pattern, instead=instead, reason=reason)


_PRIVATE = "it is a word of this project alone: users and grep search for the field's word"
_ENGLISH = "it is no technical English: a reader stops at it"
_VAGUE = "it has several meanings: name the thing"
_LEGACY = "readers know that program by its version"

WORDS = (
    _word(r"a look|looks? (?:at|for|after)|looked at|looking at", "check, poll, inspect", _PRIVATE),
    _word(r"told|tells?|telling|said|says?|saying", "report, log, record, state; `a message contains`", _VAGUE),
    _word(r"asks?|asked|asking|asker|askers", "request, query; `requires`", _PRIVATE),
    _word(r"questions?", "request, query, `ls-refs` request", _PRIVATE),
    _word(r"(?<!in )places?|(?<!in )placed", "slot; location, source line; `is admitted`", _VAGUE),
    _word(r"the original|the original's|Rust (?:program|git-events-runner)", "v0.4", _LEGACY),
    _word(r"anew", "again, re-created", _ENGLISH),
    _word(
        r"nobody|somebody|anybody|everybody|whoever|whomever|who asks?|who leads?",
        "the noun: callers, no replica",
        _VAGUE,
    ),
    _word(r"goes|went|gone|(?:go|going) on|vanish(?:es|ed)?", "is deleted, is removed; `is sent`, `continues`", _VAGUE),
    _word(r"bears?|bore|borne", "has", _ENGLISH),
    _word(r"besides?", "next to, in addition to", _ENGLISH),
    _word(r"at once", "immediately; `at the same time`", "it means two things"),
    _word(r"wholes?(?! numbers?\b)|wholly", "complete, entire, full", _ENGLISH),
    _word(
        r"leads?|led|leading|(?:a|its|the) term|(?:start|beginning|end) of a term",
        "is the leader, leadership; `points to`",
        _VAGUE,
    ),
    _word(r"due(?! to)|overdue", "scheduled, scheduled time", _PRIVATE),
    _word(r"put(?:s|ting)? off|left alone|leaves? (?:it|them) alone", "backs off; `does not change`", _PRIVATE),
    _word(r"manners?|paces?|paced|pauses?|paused|pausing", "rate limiting, throttling, `Retry-After`", _PRIVATE),
    _word(r"company", "batching window", _PRIVATE),
    _word(
        r"(?:deliver(?:y|ies)|requests?) (?:is|are|was|were) counted|counted (?:deliver(?:y|ies)|requests?)",
        "recorded",
        _PRIVATE,
    ),
    _word(r"(?:answered|answers) (?:time|already)|time is answered", "handled", _PRIVATE),
    _word(r"unrun|hinders?|hindered|hindrance", "deleted before it started; `does not affect`", _ENGLISH),
    _word(r"judges?|judged|judging|judge?ments?", "validate, verify, evaluate", _PRIVATE),
    _word(
        r"believes?|believed|prove[sdn]?|proofs?|proving|unproven",
        "trusted, authenticates, verified; `the test`",
        _PRIVATE,
    ),
    _word(r"figures?", "benchmarks, values, numbers", _PRIVATE),
    _word(
        r"(?:one|two|each|a|single|\d+) (?:\w+ )?"
        r"(?:lines?|requests?|exchanges?|channels?|nouns?|runs?|rows?|clients?|timers?) an? "
        r"(?:event|look|check|push|question|request|file|command|trigger|source)",
        "`per`: one line per event, one request per check",
        _ENGLISH,
    ),
    _word(r"what (?:became|becomes) of|whatever becomes of", "status of, result of", _ENGLISH),
    _word(r"stands?|stood|standing", "is, is in; `stalls`", _ENGLISH),
    _word(r"mend(?:s|ed|ing)?", "fix", _ENGLISH),
    _word(r"whatever|all the same|but for", "any, independent of, also if; `except`", _ENGLISH),
    _word(r"(?:is|was|are|were) made up|side by side", "is handled once afterwards; `concurrently`", _ENGLISH),
    _word(r"he|him|his|himself", "it, its; the noun", "tenants and senders have no sex"),
    _word(r"for ever|as ever|no more the", "forever, without limit, as before", _ENGLISH),
)
