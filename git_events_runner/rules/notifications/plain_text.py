"""Text that others chose, for people: it mentions no user, and nothing in it is markup, in any chat system.

Chat systems read different languages (Slack's `<!channel>`, Markdown, HTML, Discord's `@everyone`), and a message
reaches several of them. So the characters that begin something in any of them are replaced by similar ones.
"""

from __future__ import annotations

import unicodedata

_BREAK = "\u200b"  # has no width: what follows is no name, address or markup together with what is before
_SIMILAR = str.maketrans(
    {
        "<": "‹",
        ">": "›",
        "&": "＆",
        "@": f"@{_BREAK}",
        "*": "∗",
        "`": "ˋ",
        "~": "∼",
        "|": "¦",
        "[": "⟦",
        "]": "⟧",
        "#": f"#{_BREAK}",
        "\\": "∖",
    }
)
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def plain(text: str, characters: int) -> str:
    """One line of at most so many characters in which nothing is markup or a mention.

    >>> plain("<!channel> see [this](https://x)", 100)
    '‹!channel› see ⟦this⟧(https://x)'
    >>> plain("a" * 10, 5)
    'aaaa…'
    """
    visible = "".join(" " if unicodedata.category(one) in _HIDDEN else one for one in text[: 4 * characters])
    line = " ".join(visible.split())
    if len(line) > characters or len(text) > 4 * characters:
        line = line[: characters - 1] + "…"
    return line.translate(_SIMILAR)
