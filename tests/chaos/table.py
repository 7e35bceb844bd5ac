"""The table of results: a line for each scenario and number of replicas."""

import statistics


def table(results, *, seed):
    """Markdown."""
    rows = {}
    for result in results:
        rows.setdefault((result.scenario, result.replicas), []).append(result)
    pushes, jobs = sum(each.pushes for each in results), sum(each.jobs for each in results)
    broken = sum(bool(each.found) for each in results)
    minutes = sum(each.seconds for each in results) / 60
    total = f"{len(results)} trials, {pushes} pushes, {jobs} Jobs, {broken} trials with a broken promise"
    lines = [
        f"Seed {seed}, {minutes:.0f} minutes: {total}.",
        "",
        "| fault | replicas | trials | pushes | accepted | Jobs | last run after the end, s: median, longest | found |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (name, replicas), found in sorted(rows.items()):
        ran = [each.ran_s for each in found]
        counts = [sum(getattr(each, what) for each in found) for what in ("pushes", "accepted", "jobs")]
        broken = "; ".join(dict.fromkeys(text for each in found for text in each.found)) or "nothing"
        reached = sum(each.reached for each in found)
        trials = len(found) if reached == len(found) else f"{len(found)}, {reached} reached the write"
        cells = [name, replicas, trials, *counts, f"{statistics.median(ran):.1f}, {max(ran):.1f}", broken]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)
