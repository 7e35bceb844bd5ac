"""`next`: scheduled times, and when the runs of changes start."""

import pytest

from git_events_runner.__main__ import main

AFTER = ["--after", "2026-05-06T06:00:00Z"]
OFFICE = ["--allow", "9h TZ=Europe/Berlin 0 9 * * 1-5"]


def printed(capsys, *arguments):
    code = main(["next", *arguments])
    told = capsys.readouterr()
    return code, told.out.splitlines(), told.err


def test_windows_show_when_the_run_of_a_change_starts(capsys):
    """Each scheduled time, and the opening that a change which is found then waits for."""
    code, lines, _ = printed(capsys, "0 */30 6-9 * * *", *OFFICE, "--deny", "1h 0 8 * * *", *AFTER, "-n", "4")
    assert code == 0
    assert lines == [
        "2026-05-06T06:30:00+00:00  runs at 2026-05-06T07:00:00+00:00",
        "2026-05-06T07:00:00+00:00  runs immediately",
        "2026-05-06T07:30:00+00:00  runs immediately",
        "2026-05-06T08:00:00+00:00  runs at 2026-05-06T09:00:00+00:00",
    ]


def test_a_window_that_opens_no_more_is_named(capsys):
    """The calendar has no time for its run."""
    _, lines, _ = printed(capsys, "@daily", "--allow", "1h 0 0 0 1 1 * 2020", *AFTER, "-n", "1")
    assert lines == ["2026-05-07T00:00:00+00:00  runs never"]


@pytest.mark.parametrize("window", ["9h 0 9 * *", "9q 0 9 * * *", "9h"])
def test_a_window_that_cannot_be_read_is_refused(capsys, window):
    """With the option, and how a window is written."""
    code, lines, error = printed(capsys, "@daily", "--deny", window)
    assert (code, lines) == (2, [])
    assert "--deny" in error
    assert "9h 0 8 * * *" in error


TRIGGER = """\
apiVersion: git-events-runner.rs/v1alpha1
kind: ScheduleTrigger
metadata: {name: nightly, namespace: shop}
spec:
  sources: {names: [app]}
  schedule: {cron: "0 */30 6-9 * * *"}
  windows:
    - {allow: "0 9 * * 1-5", duration: 9h, timeZone: Europe/Berlin}
  action: {kind: Action, name: build}
---
apiVersion: git-events-runner.rs/v1alpha1
kind: WebhookTrigger
metadata: {name: hook}
spec:
  suspend: true
  sources: {names: [app]}
  webhook: {multiSource: true}
  schedule: {interval: 1h}
  action: {kind: Action, name: build}
---
apiVersion: git-events-runner.rs/v1alpha1
kind: GitRepo
metadata: {name: app}
spec: {repoUri: "https://git.example.com/app.git"}
"""


def test_the_triggers_of_manifests(capsys, tmp_path):
    """Each trigger with a schedule has its times, and with windows the start of its runs; a folder is read as well."""
    path = tmp_path / "m.yaml"
    path.write_text(TRIGGER)
    for name in (path, tmp_path):
        code, lines, _ = printed(capsys, str(name), *AFTER, "-n", "2")
        assert (code, lines) == (
            0,
            [
                "ScheduleTrigger shop/nightly",
                "  2026-05-06T06:30:00+00:00  runs at 2026-05-06T07:00:00+00:00",
                "  2026-05-06T07:00:00+00:00  runs immediately",
                "WebhookTrigger default/hook (suspended)",
                "  2026-05-06T07:00:00+00:00",
                "  2026-05-06T08:00:00+00:00",
            ],
        )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("cron: ", "crom: ", "m.yaml:6: spec.schedule"),
        ("0 */30 6-9 * * *", "0 61 * * *", "m.yaml:6: spec.schedule.cron: "),
        ("duration: 9h", "duration: 9q", "m.yaml:8: spec.windows[0].duration: "),
        ("kind: ScheduleTrigger", "kind: [", "m.yaml:4: is no YAML"),
    ],
)
def test_wrong_manifests(capsys, tmp_path, old, new, told):
    """What cannot be read ends with 2, the file, the line and the field."""
    path = tmp_path / "m.yaml"
    path.write_text(TRIGGER.replace(old, new, 1))
    code, lines, error = printed(capsys, str(path), *AFTER)
    assert (code, lines) == (2, [])
    assert told in error
    assert "Traceback" not in error


def test_manifests_without_a_schedule(capsys, tmp_path):
    """Nothing to show, a path that does not exist, and options of a schedule each end with 2 and say so."""
    path = tmp_path / "m.yaml"
    path.write_text(TRIGGER.split("---\n")[2])
    for words, told in (
        ([str(path)], "no trigger with a schedule in there"),
        ([str(tmp_path / "none.yaml")], "no such file or folder"),
        ([str(path), "--allow", "1h @daily"], "manifests have spec.windows"),
    ):
        code, lines, error = printed(capsys, *words)
        assert (code, lines, told in error) == (2, [], True), error
