"""The parts of a pod in an Action: what its schema refuses, Kubernetes refuses in a Job; the rest is stored whole."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from git_events_runner.errors import ApiInvalid
from git_events_runner.local.apiserver import schema as in_process
from git_events_runner.resources.crds import crds
from tests.cluster import podschema
from tests.cluster.api import Api, Refused

from .conftest import World

SEED, CASES = 20_260_102, 600
# Behind feature gates that are off: the API server drops them from a Job.
GATED = ("fileKeyRef", "clusterTrustBundle", "podCertificate")
KEY = {"name": "k", "key": "v"}
SELECTOR = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
TERM = {"topologyKey": "kubernetes.io/hostname", "labelSelector": SELECTOR}
PARTS: dict[str, Any] = {
    "env": [
        {"name": "A", "value": "1"},
        {"name": "A", "valueFrom": {"secretKeyRef": KEY}},
        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
    ],
    "envFrom": [{"configMapRef": {"name": "c", "optional": True}}, {"prefix": "P_", "secretRef": {"name": "s"}}],
    "resources": {"requests": {"cpu": 0.5, "memory": "64Mi"}, "limits": {"cpu": 2, "memory": "1e9"}},
    "volumes": [
        {"name": "a", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "b", "configMap": {"name": "c", "defaultMode": 0o440, "items": [{"key": "k", "path": "p"}]}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
        {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 600}}]}},
        {"name": "e", "hostPath": {"path": "/x", "type": "Directory"}},
    ],
    "volumeMounts": [{"name": "a", "mountPath": "/a", "readOnly": False}, {"name": "b", "mountPath": "/b"}],
    "imagePullSecrets": [{"name": "registry"}],
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": SELECTOR}
    ],
    "podSecurityContext": {"fsGroup": 1, "runAsUser": 1, "supplementalGroups": [7], "sysctls": [{"name": "a.b"}]},
    "securityContext": {
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "Unconfined"},
    },
    "tolerations": [
        {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": -1},
        {"key": "b", "operator": "", "value": "x", "effect": ""},
    ],
    "affinity": {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 5, "preference": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}}
            ]
        },
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]},
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": TERM}]
        },
    },
    "podFailurePolicy": {
        "rules": [
            {"action": "FailJob", "onExitCodes": {"containerName": "worker", "operator": "In", "values": [1, 2]}},
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        ]
    },
}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"env": [{"name": "A", "value": 1}]}, r"env\[0\]\.value in body must be of type string"),
    ({"env": [{"value": "1"}]}, r"env\[0\]\.name: Required value"),
    ({"env": [{"name": "A", "text": "1"}]}, r'unknown field "spec\.actionJob\.env\[0\]\.text"'),
    ({"env": "A=1"}, r"env in body must be of type array"),
    ({"resources": {"limits": {"cpu": "lots"}}}, r"resources\.limits\.cpu in body should match"),
    ({"resources": {"limits": {"cpu": True}}}, r"resources\.limits\.cpu"),
    ({"resources": {"limits": {"cpu": {"a": 1}}}}, r"resources\.limits\.cpu"),
    ({"tolerations": [{"operator": "Exits"}]}, r'Unsupported value: "Exits": supported values: .*"Exists"'),
    (
        {"securityContext": {"runAsUser": -1}},
        r"securityContext\.runAsUser in body should be greater than or equal to 0",
    ),
    ({"volumes": [{"name": "a", "secret": {"defaultMode": 512}}]}, r"defaultMode in body should be less than or equal"),
    ({"volumeMounts": [{"name": "a"}]}, r"volumeMounts\[0\]\.mountPath: Required value"),
]


def action(job: dict[str, Any]) -> dict[str, Any]:
    """An Action with that Job."""
    return {"kind": "Action", "spec": {"actionJob": job}}


async def test_every_part_is_stored_whole(world: World):
    """Parts with every form of value are stored as given: nothing is dropped, nothing is filled in."""
    made = await world.create(action(PARTS))
    assert {name: made["spec"]["actionJob"][name] for name in PARTS} == PARTS


@pytest.mark.parametrize("name", sorted(PARTS))
async def test_null_is_as_absent(world: World, name: str):
    """A part that is null, and a part with nulls in it, are taken, as in a pod."""
    await world.create({**action({name: None}), "metadata": {"name": "null"}})
    holes = {
        "env": [{"name": "A", "value": None}],
        "volumes": [{"name": "a", "emptyDir": {}, "secret": None}],
        "resources": {"limits": None},
        "tolerations": [{"key": None, "operator": "Exists"}],
        "securityContext": {"runAsUser": None},
    }
    await world.create({**action(holes), "metadata": {"name": "holes"}})


@pytest.mark.parametrize(("job", "words"), REFUSED)
async def test_what_no_pod_may_have_is_refused(world: World, job: dict[str, Any], words: str):
    """A mistake in a part of a pod is refused when the Action is applied, by the field's name."""
    with pytest.raises(ApiInvalid, match=words):
        await world.create(action(job))


def test_the_schema_is_that_of_the_api_server(api: Api):
    """`podschema.json` is what tests/cluster/podschema.py makes of this API server's OpenAPI."""
    assert podschema.FILE.read_text(encoding="utf-8") == podschema.text(podschema.made(api))


def test_what_an_action_may_not_have_no_job_may_have(api: Api, namespace: str):
    """Of random mistakes in parts of pods, the CRD refuses none that a Job may have, and both API servers agree."""
    chosen = random.Random(SEED)
    definition = next(crd for crd in crds() if crd["spec"]["names"]["kind"] == "Action")
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    wrong, refused = [], 0
    for _ in range(CASES):
        job = mistaken(chosen)
        theirs = verdict(
            api, f"/apis/git-events-runner.rs/v1alpha1/namespaces/{namespace}/actions", "Action", action(job)
        )
        ours = in_process_verdict(schema, job)
        if (theirs is None) != (ours is None):
            wrong.append((job, "the API servers differ", theirs, ours))
        if theirs is None:
            continue
        refused += 1
        if verdict(api, f"/apis/batch/v1/namespaces/{namespace}/jobs", "Job", pod_of(job)) is None:
            wrong.append((job, "a Job may have it", theirs, ours))
    assert not wrong, "\n".join(map(str, wrong[:20]))
    assert CASES // 5 < refused < CASES


def test_what_an_action_needs_every_job_needs(api: Api, namespace: str):
    """Each field that the schema requires is one without which Kubernetes refuses the Job, by that field's name."""
    missed, tried = [], 0
    for name, schema in podschema.made(api).items():
        for path, part in without_one(schema, name):
            if any(field in path for field in GATED):
                continue
            tried += 1
            told = verdict(api, f"/apis/batch/v1/namespaces/{namespace}/jobs", "Job", pod_of({name: part})) or ""
            above, _, field = path.rpartition(".")
            words = (field, f"{above}[0]: Required value", "ownerReferences: Forbidden")
            if not any(word in told for word in words):
                missed.append((path, told))
    assert not missed, "\n".join(map(str, missed))
    assert tried > 50


def without_one(schema: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """For each required field below a schema: its path, and the least value that has all others and lacks it."""
    if schema.get("type") == "array":
        yield from ((where, [value]) for where, value in without_one(schema["items"], path))
    if "additionalProperties" in schema:
        yield from ((where, {"a": value}) for where, value in without_one(schema["additionalProperties"], path))
    for name, below in schema.get("properties", {}).items():
        beside = least(schema)
        if name in schema.get("required", ()):
            yield f"{path}.{name}", {key: value for key, value in beside.items() if key != name}
        yield from ((where, {**beside, name: value}) for where, value in without_one(below, f"{path}.{name}"))


def least(schema: dict[str, Any]) -> Any:
    """A value with what is required."""
    if "enum" in schema:
        return next(value for value in schema["enum"] if value)
    match schema.get("type"):
        case "object":
            return {name: least(schema["properties"][name]) for name in schema.get("required", ())}
        case "array":
            return [least(schema["items"])]
        case "integer":
            return max(schema["minimum"], 1)
        case "boolean":
            return True
    return "x" if schema.get("type") == "string" else 1


def mistaken(chosen: random.Random) -> dict[str, Any]:
    """A few parts, one of which has one random change somewhere in it."""
    names = chosen.sample(sorted(PARTS), 2)
    job = {name: copy.deepcopy(PARTS[name]) for name in names}
    place: Any = job
    key: Any = names[0]
    while isinstance(place[key], dict | list) and place[key] and chosen.random() < 0.8:
        place = place[key]
        key = chosen.choice(list(place)) if isinstance(place, dict) else chosen.randrange(len(place))
    values = [None, 5, -1, 0, 1.5, 2**31, 1000, True, "x", "", "Exits", "0.5", [], {}, ["x"], {"x": "y"}, [None]]
    match chosen.choice(["set", "set", "set", "remove", "rename"]):
        case "remove":
            del place[key]
        case "rename" if isinstance(place, dict) and place is not job:
            place[f"{key}x"] = place.pop(key)
        case _:
            place[key] = chosen.choice(values)
    return job


def verdict(api: Api, path: str, kind: str, body: dict[str, Any]) -> str | None:
    """What a strict dry run is refused with; None: it is not."""
    version = "batch/v1" if kind == "Job" else "git-events-runner.rs/v1alpha1"
    whole = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": body["spec"]}
    try:
        api.post(f"{path}?dryRun=All&fieldValidation=Strict", whole)
    except Refused as refused:
        if refused.status not in {400, 422}:
            raise
        return str(refused)
    return None


def in_process_verdict(schema: dict[str, Any], job: dict[str, Any]) -> str | None:
    """The same from the schema as `local` reads it."""
    spec = copy.deepcopy(action(job)["spec"])
    found = [*in_process.prune(spec, schema, "spec")]
    in_process.default(spec, schema)
    found += [cause.message for cause in in_process.problems(spec, schema, "spec")]
    return "; ".join(found) or None


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    """A Job whose pod has those parts."""
    container = {"name": "worker", "image": "x"}
    container |= {
        name: job[name] for name in ("env", "envFrom", "resources", "volumeMounts", "securityContext") if name in job
    }
    pod: dict[str, Any] = {"restartPolicy": "Never", "containers": [container]}
    in_pod = ("volumes", "imagePullSecrets", "topologySpreadConstraints", "tolerations", "affinity")
    pod |= {name: job[name] for name in in_pod if name in job}
    if "podSecurityContext" in job:
        pod["securityContext"] = job["podSecurityContext"]
    if "volumes" not in job:
        pod["volumes"] = PARTS["volumes"]
    spec: dict[str, Any] = {"template": {"spec": pod}}
    if "podFailurePolicy" in job:
        spec["podFailurePolicy"] = job["podFailurePolicy"]
    return {"spec": spec}
