"""Files with one source: CRDs, docs tables, chart and manifests. `--check` names stale ones, `--write` renews."""

import json
import sys
from pathlib import Path

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from git_events_runner.resources import conditions
from git_events_runner.resources.crds import crds, to_yaml
from git_events_runner.resources.parsers import PARSERS
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.settings import OPTIONS, VARIABLES, default_runtime_config_yaml
from git_events_runner.settings.runtime import RuntimeConfig
from git_events_runner.telemetry.log_events import LOG_EVENTS
from git_events_runner.telemetry.metrics import Metrics
from tests.repo import chart, command_line, kind_pages

ROOT = Path(__file__).parents[2]
REFERENCE = "docs/reference.md"


def files():
    """Path → text of every generated file."""
    made = {f"manifests/crds/{crd['spec']['names']['plural']}.yaml": to_yaml(crd) for crd in crds()}
    made |= {REFERENCE: reference(), "docs/logs.md": logs(), "docs/metrics.md": metrics(), "docs/bounds.md": bounds()}
    made |= {"docs/command-line.md": command_line.page()} | command_line.schemas() | kind_pages.pages()
    return made | chart.files()


def logs():
    """The page of log events."""
    lines = [
        "# Logs",
        "",
        "One line per event on standard output: a time, a level, a constant event name, fields. `--json-logs` writes",
        "JSON. The filter is `GIT_EVENTS_RUNNER_LOG` (or `RUST_LOG`): a level, or `target=level` in a comma-separated",
        "list, such as `info,checks=debug`. An error is logged once, where it is handled. No credential is logged.",
        "",
        "Fields: `kind`, `namespace`, `name` of the trigger, `source`, `job`, `commit`, `verdict`, `reason`, `error`,",
        "`seconds`, `exit_code`, `status` (HTTP), `task` (the id in the 202 response), `identity` (of the",
        "replica), `target` (of the filter).",
        "",
        "| event | level | meaning |",
        "| --- | --- | --- |",
    ]
    return "\n".join(lines + [f"| `{n}` | {level} | {text} |" for n, (level, text) in LOG_EVENTS.items()]) + "\n"


def metrics():
    """The page of metrics."""
    lines = [
        "# Metrics",
        "",
        "`GET /metrics` on the utility port. Counters end in `_total`; those of v0.4 are also exposed under its",
        "names (ending in `_count`). Labels name existing objects only (otherwise `unknown`). Series are",
        "removed with their object. The prefix is `--metrics-prefix`. Only the leader counts Jobs: the series of the",
        "queue are 0 on other replicas; `jobs_not_starting` and `jobs_waiting_too_long` have no series there.",
        "",
        "The process's own metrics (`process_cpu_seconds_total`, `process_resident_memory_bytes`,",
        "`process_open_fds`, `process_start_time_seconds`) have the names of the Prometheus client library.",
        "",
        "A series begins with the first event that it counts, so the first failure of a trigger is a series that",
        "begins at 1: `increase()` does not see it. The chart's alerts cover both: `increase(x[1h]) > 0 or (x unless",
        "x offset 1h) > 0`. Do the same in rules of your own.",
        "",
        "Durations by trigger are summaries without quantiles: `rate(x_sum[5m]) / rate(x_count[5m])` is the mean of",
        "each. Their buckets count all triggers together, so `histogram_quantile(0.99, sum by (le)",
        "(rate(x_bucket[5m])))` is the same as in v0.4. A filter by trigger or namespace matches no bucket. The option",
        "`--metrics-by-trigger` (chart: `controllerOptions.metricsByTrigger`) has three values:",
        "",
        "| value | series of a trigger |",
        "| --- | --- |",
        "| `sums` (default) | counters under both names, sums and counts of durations |",
        "| `histograms` | as in v0.4: also the buckets of each duration, seven to eight more series for each |",
        "| `lean` | as `sums`, without the names of counters that v0.4 has; for thousands of triggers |",
        "",
        "A response is rendered once for all scrapes within 20 times its rendering time (at most 5 s). `le` is the",
        "upper bound of a bucket.",
        "",
        "| metric | type | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for metric in Metrics(prefix="git_events_runner").described():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.type} | {labels} | {metric.text} |")
    lines += [
        "",
        "## Results of checks",
        "",
        "The label `verdict` of `check_verdicts_total`, and the field `verdict` of the log event `check.finished`.",
        "Those that begin with `fire-` are also the reason of the Job, in its annotation.",
        "",
        "| result | meaning |",
        "| --- | --- |",
        *(f"| `{result}` | {result.meaning} |" for result in CheckResult),
    ]
    return "\n".join(lines) + "\n"


def bounds():
    """The page of what is parsed of others."""
    lines = [
        "# Bounds of external input",
        "",
        "All input from tenants, git servers and senders of webhooks that the controller parses. Each",
        "bound is checked before the parser is called. The time is the CPU time of the worst input within the bound.",
        "Where a pool is named, a thread of that pool spends it; one namespace never has all threads.",
        "",
        "| input | from | bound | beyond the bound | worst time | pool |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for each in PARSERS:
        lines.append(
            f"| {each.name} | {each.giver} | {each.bound} | {each.refused} | {each.worst_ms:,g} ms | {each.thread} |"
        )
    return "\n".join(lines) + "\n"


def reference():
    """The reference page: the kinds, options, variables, runtime config, conditions."""
    parts = [
        "# Reference",
        "",
        "Generated from the code by `make generate`; edit it there.",
        "",
        "## Kinds",
        "",
        "Group `git-events-runner.rs`, version `v1alpha1`. The page of each kind has an example, and every field.",
    ]
    parts += ["", "| kind | scope | short name | describes |", "| --- | --- | --- | --- |", *kind_pages.links()]
    parts += ["", "## Options of `git-events-runner run`", "", "| option | default | meaning |", "| --- | --- | --- |"]
    for option in OPTIONS:
        short = f"`-{option.short}`, " if option.short else ""
        default = f"`{option.default}`" if option.default else ""
        parts.append(f"| {short}`--{option.name} {option.form}` | {default} | {option.help} |")
    parts += ["| `-j`, `--json-logs` | | write logs as JSON |"]
    parts += ["", "## Environment", "", "| variable | meaning |", "| --- | --- |"]
    parts += [f"| `{name}` | {meaning} |" for name, meaning in VARIABLES.items()]
    parts += [
        "",
        "## Runtime config",
        "",
        "The ConfigMap's key `runtimeConfig`; an unknown key rejects the entire document. Defaults:",
    ]
    parts += ["", "```yaml", default_runtime_config_yaml(helm_template=False).rstrip("\n"), "```"]
    parts += ["", "| key | default | meaning |", "| --- | --- | --- |", *_keys(RuntimeConfig)]
    parts += ["", "A change takes effect with the next check, request or Job; existing Jobs do not change."]
    parts += ["", "## Reasons in conditions and Events", "", "| reason | meaning |", "| --- | --- |"]
    parts += [f"| `{reason.value}` | {reason.meaning} |" for reason in conditions.Reason]
    return "\n".join(parts) + "\n"


def _keys(section, path=""):
    """The rows of the runtime config's keys, as the models describe them."""
    for name, field in section.model_fields.items():
        key, default = f"{path}{field.alias or to_camel(name)}", field.default
        if isinstance(default, BaseModel):
            yield from _keys(type(default), f"{key}.")
        else:
            value = [*default] if isinstance(default, tuple) else "" if default is None else default
            text = value if isinstance(value, str) else json.dumps(value)
            shown = f"`{text}`" if text not in {"", "[]", "{}"} else ""
            yield f"| `{key}` | {shown} | {field.description} |"


def main(arguments):
    """Check or write; the exit code."""
    write, stale = "--write" in arguments, 0
    for made in (files, chart.manifests):  # the manifests are rendered from what the first wrote
        for path, text in made().items():
            file = ROOT / path
            if file.exists() and file.read_text(encoding="utf-8") == text:
                continue
            if write:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            stale += not write
            print(f"written: {path}" if write else f"stale: {path}; run make generate")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
