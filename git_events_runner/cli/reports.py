"""Problems of manifests in the forms that CI systems read: SARIF 2.1.0 and JUnit."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from git_events_runner.settings.runtime import VERSION

from .inspection import Inspection

_RULE = "invalid-manifest"
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(found: Inspection) -> dict[str, Any]:
    """The problems as a SARIF log."""
    results = [
        {
            "ruleId": _RULE,
            "level": "error",
            "message": {"text": f"{problem.field}: {problem.text}" if problem.field else problem.text},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": quote(problem.file)},
                        "region": {"startLine": problem.line or 1},
                    }
                }
            ],
        }
        for problem in found.problems
    ]
    driver = {
        "name": "git-events-runner check",
        "version": VERSION,
        "rules": [
            {"id": _RULE, "shortDescription": {"text": "A manifest that the cluster or the controller refuses."}}
        ],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def junit(found: Inspection) -> str:
    """The problems as a JUnit report: a test case for each file, a failure for each problem."""
    names = list(dict.fromkeys([*found.files, *(problem.file for problem in found.problems)]))
    wrong = {problem.file for problem in found.problems}
    suite = Element("testsuite", name="git-events-runner check", tests=str(len(names)), failures=str(len(wrong)))
    for name in names:
        case = SubElement(suite, "testcase", name=name, classname="manifests")
        mine = [str(problem) for problem in found.problems if problem.file == name]
        if mine:
            failure = SubElement(case, "failure", message=mine[0], type=_RULE)
            failure.text = "\n".join(mine)
    indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suite, encoding="unicode") + "\n"
