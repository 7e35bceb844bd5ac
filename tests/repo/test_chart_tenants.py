"""The chart for tenants: the profile, who may read the utility port, memory, and one list of what `baseline` allows."""

import re

import pytest
import yaml

from git_events_runner.rules.jobs.pod_settings import CAPABILITIES, SELINUX_TYPES, SYSCTLS
from git_events_runner.settings import RuntimeConfig
from git_events_runner.wiring.config import job_defaults, policy_of
from tests.repo import helm
from tests.repo.rendered import render_case
from tests.repo.test_chart import one
from tests.repo.test_chart_values import config, settings

PODS = {"podSelector": {}}
ANYWHERE = {"namespaceSelector": {}}


def utility_from(values=None):
    """Peers that the default policy lets read the utility port; None: everybody."""
    policy = one(helm.objects(values), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    assert "egress" not in policy
    hooks, utility = policy["ingress"]
    assert hooks == {"ports": [{"port": "webhook", "protocol": "TCP"}]}, "webhooks come from anywhere"
    assert utility["ports"] == [{"port": "utility", "protocol": "TCP"}]
    return utility.get("from")


def test_the_utility_port_is_for_the_own_namespace_and_monitoring():
    """Without a word of scraping, pods of tenants cannot read probes and metrics."""
    own, monitoring = utility_from()
    assert own == PODS
    [names] = monitoring["namespaceSelector"]["matchExpressions"]
    assert names["key"] == "kubernetes.io/metadata.name"
    assert {"monitoring", "prometheus", "openshift-user-workload-monitoring"} <= set(names["values"])
    assert utility_from({"networkPolicy": {"monitoringNamespaces": []}}) == [PODS]
    peers = [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
    assert utility_from({"networkPolicy": {"utilityFrom": peers}}) == peers


PROXY = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "oauth2-proxy"}}}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"prometheus": {"podMonitor": {"enabled": True}}},
        {"podAnnotations": {"prometheus.io/scrape": "true"}},
        {"service": {"utility": {"type": "ClusterIP"}}},
        {"profile": "multiTenant"},
    ],
)
def test_the_status_page_is_not_open_to_pods_of_every_namespace(more):
    """With the page the utility port is for the own namespace, monitoring and `ui.from`, whatever is scraped."""
    own, monitoring, proxy = utility_from(more | {"ui": {"enabled": True, "from": [PROXY]}})
    assert (own, proxy) == (PODS, PROXY)
    assert "matchExpressions" in monitoring["namespaceSelector"]
    assert PROXY not in (utility_from(more | {"ui": {"enabled": False, "from": [PROXY]}}) or ())


@pytest.mark.parametrize(
    ("values", "peers"),
    [
        ({"prometheus": {"podMonitor": {"enabled": True}}}, [ANYWHERE]),
        ({"prometheus": {"serviceMonitor": {"enabled": True}}}, [ANYWHERE]),
        ({"prometheus": {"podAnnotations": {"prometheus.io/scrape": "true"}}}, [ANYWHERE]),
        ({"podAnnotations": {"prometheus.io/scrape": "true"}}, [ANYWHERE]),
        ({"service": {"utility": {"type": "ClusterIP"}}}, [ANYWHERE]),
        ({"service": {"utility": {"type": "NodePort"}}}, None),
        ({"service": {"utility": {"type": "LoadBalancer"}}}, None),
    ],
)
def test_who_scrapes_already_goes_on(values, peers):
    """An upgrade with values that say how metrics are read shuts no Prometheus out; with the profile they are named."""
    assert utility_from(values) == peers
    if peers:
        assert utility_from(values | {"profile": "multiTenant"})[0] == PODS


def test_without_the_policy():
    """`utilityPort: false` renders none; `enabled` restricts what goes out, too."""
    assert not [o for o in helm.objects({"networkPolicy": {"utilityPort": False}}) if o["kind"] == "NetworkPolicy"]
    both = one(helm.objects({"networkPolicy": {"enabled": True, "utilityPort": False}}), "NetworkPolicy")["spec"]
    assert both["policyTypes"] == ["Ingress", "Egress"]
    more = {"networkPolicy": {"extraIngress": [{"ports": [{"port": 15020}]}]}}
    assert one(helm.objects(more), "NetworkPolicy")["spec"]["ingress"][2] == {"ports": [{"port": 15020}]}


@pytest.mark.parametrize(
    ("given", "memory"),
    [
        ({}, "512Mi"),
        ({"requests": {"cpu": "1"}}, "512Mi"),
        ({"requests": {"memory": "512Mi"}}, "512Mi"),
        ({"requests": {"memory": "1Gi"}}, "1Gi"),
        ({"requests": {"memory": "600M"}}, "600M"),
        ({"requests": {"memory": 600000000}}, 600000000),
        ({"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}}, "2Gi"),
        ({"limits": {"memory": None}}, None),
        ({"limits": None}, None),
        ({"limits": {"cpu": "2"}}, "512Mi"),
    ],
)
def test_memory_is_limited_and_never_below_the_request(given, memory):
    """A release whose values ask for more than the new default limit is still a valid Deployment."""
    [container] = one(helm.objects({"resources": given}), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["resources"].get("limits", {}).get("memory") == memory


def test_the_profile_tightens_what_is_still_the_default():
    """Accounts, pod settings, cloner, volume, schedules and shares; what the values say otherwise stays."""
    plain, tenants = config(helm.objects()), config(helm.objects({"profile": "multiTenant"}))
    policy = policy_of(tenants)
    assert policy.service_accounts == ("ger-git-events-runner-action-job",)
    assert (policy.pod_settings, policy.cloner_images) == ("baseline", "none")
    assert policy.default_allowed_namespaces == "withoutCredentials"
    assert policy.minimum_interval_s == 30
    assert policy.unfinished_runs_per_namespace == 50
    assert "iam.amazonaws.com/" in policy.forbidden_annotation_prefixes
    job = job_defaults(tenants)
    assert job.workdir_size_limit == "4Gi"
    assert job.cloner_bounds.max_bytes == 2 * 2**30
    assert (tenants.action.max_running_jobs_per_namespace, tenants.action.max_active_deadline_seconds) == (4, 7200)
    assert (plain.trigger.webhook.refusals, tenants.trigger.webhook.refusals) == ("distinct", "uniform")
    assert tenants.git == plain.git
    chosen = policy_of(config(render_case("many tenants")))
    assert (chosen.minimum_interval_s, chosen.cloner_images) == (5, "withoutClusterCredentials")
    assert chosen.pod_settings == "baseline"
    assert config(render_case("many tenants")).git.cluster_networks == ("10.96.0.0/12",)


def test_the_default_install_restricts_no_tenant():
    """Without the profile the runtime config in the ConfigMap is the program's default, as an upgrade expects."""
    assert policy_of(config(helm.objects())) == policy_of(RuntimeConfig())
    assert not [o for o in helm.objects() if o["metadata"]["name"].endswith("-actions")]


def test_the_profile_brings_the_admission_policy():
    """The API server says at once what the controller would say at the run, by the profile's runtime config."""
    policy = one(render_case("many tenants"), "ValidatingAdmissionPolicy", "ger-git-events-runner-actions")
    text = yaml.dump(policy)
    assert "hostPath" in text
    assert "clonerImage" not in text
    assert "ger-git-events-runner-action-job" in text


def test_one_list_of_what_baseline_allows():
    """The admission policy and the controller's rule name the same capabilities, sysctls and SELinux types."""
    policy = one(helm.objects({"profile": "multiTenant"}), "ValidatingAdmissionPolicy", "ger-git-events-runner-actions")
    lists = {}
    for validation in policy["spec"]["validations"]:
        for word in ("capabilities.add", "sysctls", "selinux"):
            if word in validation["expression"]:
                inside = re.search(r" in \[(.*?)\]", validation["expression"], re.DOTALL)[1]
                lists[word] = tuple(re.findall(r"'([^']*)'", inside))
    assert lists == {"capabilities.add": CAPABILITIES, "sysctls": SYSCTLS, "selinux": SELINUX_TYPES}


def test_notes_name_what_is_still_open():
    """Tenants' sources lead into the cluster until its ranges are named; who may read metrics is said."""
    told = helm.render({"profile": "multiTenant"})["NOTES.txt"]
    assert "git.clusterNetworks" in told
    assert "pods of ger, monitoring, " in told
    named = {"profile": "multiTenant", "runtimeConfig": {"git": {"clusterNetworks": ["10.96.0.0/12"]}}}
    assert "git.clusterNetworks" not in helm.render(named)["NOTES.txt"]
    assert "pods of every namespace" in helm.render({"prometheus": {"podMonitor": {"enabled": True}}})["NOTES.txt"]


def test_the_pod_knows_its_addresses():
    """No source of a tenant leads to the controller's own pod: the downward API names its addresses."""
    _, container = settings(helm.objects())
    [own] = [each for each in container["env"] if each["name"] == "POD_IPS"]
    assert own["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIPs"}}
