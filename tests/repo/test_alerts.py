"""The chart's alerts, judged by Prometheus' own tool: they are rules, and fire when they should and not otherwise."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.repo import helm
from tests.repo.test_chart import one

ROOT = Path(__file__).parents[2]


def promtool(*arguments, cwd):
    """Run it; its output must say that all is well."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: apt-get install --no-install-recommends prometheus)")
    done = subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should(tmp_path):
    """Each of them on series where it has to, none of them on those of a healthy installation."""
    values = {"prometheus": {"force": True, "rules": {"enabled": True, "alertLabels": {"team": "platform"}}}}
    rule = one(helm.objects(values), "PrometheusRule")
    for alert in (alert for group in rule["spec"]["groups"] for alert in group["rules"]):
        page, _, section = alert["annotations"].pop("runbook_url").partition("/blob/main/")[2].partition("#")
        assert f"## {alert['alert']}\n" in (ROOT / page).read_text()
        assert section == alert["alert"].lower()
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": rule["spec"]["groups"]}))
    shutil.copy(Path(__file__).parent / "alerts.yaml", tmp_path)
    promtool("check", "rules", "rules.yaml", cwd=tmp_path)
    promtool("test", "rules", "alerts.yaml", cwd=tmp_path)
    tested = yaml.safe_load((tmp_path / "alerts.yaml").read_text())["tests"]
    fired = {t["alertname"] for test in tested for t in test["alert_rule_test"] if t.get("exp_alerts")}
    assert fired == {alert["alert"] for group in rule["spec"]["groups"] for alert in group["rules"]}
