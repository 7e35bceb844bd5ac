"""Text that others chose, in messages for people."""

from itertools import pairwise

import pytest

from git_events_runner.rules.notifications.plain_text import plain


@pytest.mark.parametrize(
    "text",
    [
        "<!channel>",
        "<!here> <@U123> <#C1>",
        "@everyone @here @all",
        "<b>bold</b> &lt;b&gt;",
        "**bold** `code` ~~gone~~ ||hidden||",
        "[click](https://evil.example)",
        "![image](https://evil.example/x.png)",
        "@**all**",
        "# heading",
        "<https://evil.example|click>",
        "\\*escaped\\*",
    ],
)
def test_nothing_in_it_is_markup_or_a_mention(text):
    """None of the characters that begin something in Slack, Discord, Matrix, Teams, Telegram or Zulip is left."""
    found = plain(text, 200)
    assert not set(found) & set("<>&*`~|[]\\")
    assert "@" not in found or all(after == "\u200b" for before, after in pairwise(found) if before == "@")
    assert not found.startswith("# ")


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\tb", "a\u2028b", "a\u202eb", "a\x00b", "a\u200bb"])
def test_it_is_one_line_without_hidden_characters(text):
    """No line break, no control character, nothing that turns the direction of writing."""
    assert plain(text, 10) == "a b"


def test_it_is_cut():
    """To the characters that are allowed, with a sign that it was."""
    assert plain("x" * 100_000, 50) == "x" * 49 + "…"
    assert plain("x" * 50, 50) == "x" * 50


def test_what_names_contain_stays():
    """Names, references, commits and addresses can be read and copied."""
    for text in ("team/build", "app.v1_2-x", "heads/feature_x", "https://git.example/a/b", "0123abcd"):
        assert plain(text, 100) == text
