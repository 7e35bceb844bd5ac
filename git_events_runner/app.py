"""The complete controller: builds every object, starts and stops every task; start order is the nesting."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from git_events_runner.concurrency.pools import Pool
from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.doubtful_jobs import DoubtfulJobs
from git_events_runner.edges.kube.event_recorder import Events
from git_events_runner.edges.kube.lease import Fence, Lease
from git_events_runner.edges.kube.secrets import Secrets
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiError, FenceLost
from git_events_runner.flow.annotation_requests import AnnotatedRequests
from git_events_runner.flow.checks import Checks
from git_events_runner.flow.checks.compute_rules import NamespaceComputeRules
from git_events_runner.flow.checks.files import Files
from git_events_runner.flow.checks.gate import ConfiguredPolicyGate
from git_events_runner.flow.checks.handled import HandledTimes
from git_events_runner.flow.checks.keyed_workers import KeyedWorkers
from git_events_runner.flow.checks.open_requests import OpenRequests
from git_events_runner.flow.checks.runs import Runs
from git_events_runner.flow.config import Config
from git_events_runner.flow.crds import Crds
from git_events_runner.flow.jobs.queue import Queue, live_jobs
from git_events_runner.flow.jobs.results import JobEvents, JobLog, JobMetrics, Results
from git_events_runner.flow.jobs.secret_copies import SecretCopies
from git_events_runner.flow.jobs.starts import Starts
from git_events_runner.flow.jobs.tracking import Tracking
from git_events_runner.flow.next_checks import NextChecks
from git_events_runner.flow.reconciler import Reconciler
from git_events_runner.flow.retries import Retries
from git_events_runner.flow.scheduler import Scheduler
from git_events_runner.flow.status_writer import GroupedStatusWriter
from git_events_runner.flow.trigger_cleanup import TriggerCleanup
from git_events_runner.flow.utility import Health, Probes
from git_events_runner.flow.waits import Waits
from git_events_runner.flow.webhooks import SecretChecks, Webhooks
from git_events_runner.flow.webhooks.missed import MissedDeliveries
from git_events_runner.flow.webhooks.recorder import DeliveryRecorder
from git_events_runner.resources.kinds import KINDS, OURS, Kind
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.messages import CheckRequest
from git_events_runner.serving import Limits, listening, running, served
from git_events_runner.serving.certificates import Certificates
from git_events_runner.serving.webhook_port import WebhookPort
from git_events_runner.settings import RuntimeConfig, Settings, parse_runtime_config, restricts
from git_events_runner.telemetry.log_stream import LogStream
from git_events_runner.telemetry.loop_lag import LoopLag
from git_events_runner.telemetry.metrics import Metrics
from git_events_runner.telemetry.trigger_series import Detail
from git_events_runner.wiring.clock_skew import ClockSkew
from git_events_runner.wiring.config import (
    CurrentPolicy,
    git_remote,
    history_limit,
    host_key_policy,
    job_defaults,
    weight_of,
)
from git_events_runner.wiring.deletions import Deletions
from git_events_runner.wiring.git_sources import GitSources, Remotes, SecretCopier
from git_events_runner.wiring.host_keys import HostKeys
from git_events_runner.wiring.kept_responses import KeptResponses
from git_events_runner.wiring.live_triggers import LiveTriggers
from git_events_runner.wiring.liveness import expect_responses, follow_log
from git_events_runner.wiring.messages import messages
from git_events_runner.wiring.owner import owner_reference
from git_events_runner.wiring.repositories import Repositories
from git_events_runner.wiring.restores import Restores
from git_events_runner.wiring.served_namespaces import ServedNamespaces
from git_events_runner.wiring.source_hosts import SourceHosts
from git_events_runner.wiring.status_page import status_page
from git_events_runner.wiring.unreadable_namespaces import UnreadableNamespaces
from git_events_runner.wiring.watched_kinds import informers_of
from git_events_runner.wiring.write_health import WriteHealth

log = structlog.get_logger(target="app")

_PROBES = Limits(header_bytes=32 * 1024, headers=100, message_bytes=64 * 1024)
_GATHER_S = 0.010
_CHECKED_S, _CHECKED_BYTES = 5.0, 2**20  # checks of webhook Secrets drop nothing that requests and git need
_LONGEST_BACKOFF_S = 60.0
_DRAIN_S = 20.0
_INFORMER_S = 700.0  # the longest watch and its grace
_WRITE_LEASES = 4  # durations of the lease: by then another replica is the leader, if there is one
_LEASE_S = 60.0
_DISTRUSTED_S = 300.0  # its CA was read again at each attempt: only a new start can help


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Ports of webhooks and of probes and metrics; `notified` waits until no Job runs and no message waits."""

    webhooks_port: int
    utility_port: int
    notified: Callable[[], Awaitable[None]]


@asynccontextmanager
async def controller(  # noqa: PLR0915  the one function where everything is built
    settings: Settings, client: Client, *, ports: bool = True, logs: LogStream | None = None
) -> AsyncIterator[Addresses]:
    """The controller at work while entered; on leaving it stops in order and gives its lease back.

    Args:
        settings: Flags and environment.
        client: The API server to work with.
        ports: Whether webhooks, probes and metrics are served; without, nothing listens.
        logs: Where log lines go, if that can be stuck.

    Raises:
        ExceptionGroup: A task failed; its exceptions have which and why.
    """
    metrics = Metrics(prefix=settings.metrics_prefix, detail=Detail(settings.metrics_by_trigger))
    now, loop = client.clock.now, asyncio.get_running_loop()
    health = Health(clock=loop.time)
    doubts = DoubtfulJobs()
    store = Store(share=lambda: config.current.policy.object_mebibytes_per_namespace * 2**20, doubts=doubts)

    def edge_failed(kind: Kind | None, error: ApiError) -> None:
        metrics.edge_failed(kind.name if kind else "Lease")
        log.warning("api.failed", kind=kind.name if kind else "Lease", error=str(error))

    def crds_checked(problem: str | None) -> None:
        health.set_problem("crds", problem)
        lanes.hold(held=problem is not None)

    def submit(request: CheckRequest) -> None:
        lanes.submit(request)

    def leadership_changed(leader: bool) -> None:  # noqa: FBT001  a callback of one fact
        metrics.set_leader(leader=leader)
        log.info("lease.acquired" if leader else "lease.lost", identity=settings.identity)

    def weight(namespace: str) -> int:
        return weight_of(config.current, namespace)

    events = Events(
        api=client,
        identity=settings.identity,
        now=now,
        failed=lambda error: edge_failed(KINDS["Event"], error),
        weight=weight,
    )
    config_ref = Ref("ConfigMap", settings.namespace, settings.config_map_name)
    page = status_page(
        settings,
        store=store,
        leader=lambda: lease.holder,
        action=lambda: config.current.action,
        observer=metrics.git,
        now=now,
    )
    config: Config[RuntimeConfig] = Config(
        store=store,
        ref=config_ref,
        parse=parse_runtime_config,
        restricts=restricts,
        default=RuntimeConfig(),
        announcer=events,
        metrics=metrics,
        report_problem=partial(health.set_problem, "config"),
    )
    secrets = Secrets(
        reader=client, cache_s=settings.secrets_cache_time_s, clock=loop.time, objects=store.sizes.objects
    )
    host_keys = HostKeys(
        api=client, store=store, announcer=events, policy=lambda: host_key_policy(config.current), now=now
    )
    remotes = Remotes(
        settings=lambda: config.current.git,
        make=partial(
            git_remote,
            weight=weight,
            room=store.sizes.requests,
            observer=page.observer,
            own_addresses=settings.own_addresses,
            loopback=settings.allow_loopback,
        ),
    )
    answers = KeptResponses(now=now, shared=metrics.git.shared, room=store.sizes.requests)
    repositories = Repositories(store=store, forget=(remotes.forget, answers.forget))
    git = GitSources(
        secrets=secrets, host_keys=host_keys, remote=remotes.current, build=repositories.build, answers=answers
    )
    hosts = SourceHosts(store=store, keep=page.keep_hosts)
    leader_timeout_s = max(settings.lease.duration_s - settings.lease.renew_deadline_s, 1.0)
    gate = ConfiguredPolicyGate(store=store, policy=CurrentPolicy(lambda: config.current), announcer=events, now=now)
    writer = GroupedStatusWriter(
        api=client,
        store=store,
        metrics=metrics,
        history_limit=lambda wanted: history_limit(config.current, wanted),
        next_check=NextChecks(store=store, gate=gate, now=now).of,
        gather_s=_GATHER_S,
    )
    triggers = LiveTriggers(reader=client, store=store)
    copies = SecretCopier(api=client, resolve=gate.resolve, secrets=secrets)
    notifications = messages(
        client, settings, store=store, secrets=secrets, events=events, config=lambda: config.current, metrics=metrics
    )
    deletions = Deletions(
        api=client, writer=writer, events=events, messages=notifications, request_timeout_s=leader_timeout_s, now=now
    )
    secret_copies = SecretCopies(
        deletions=deletions, store=store, copies=copies, writer=writer, announcer=events, now=now, weight=weight
    )
    tracking = Tracking(api=client, store=store, doubts=doubts, announcer=events, request_timeout_s=leader_timeout_s)
    queue = Queue(
        api=client,
        list_jobs=live_jobs(client, settings.job_namespaces, scopes=store),
        store=store,
        copies=copies,
        writer=writer,
        announcer=events,
        gate=gate,
        limit=lambda: config.current.action.max_running_jobs,
        share=lambda: config.current.action.max_running_jobs_per_namespace,
        weight=lambda namespace: weight_of(config.current, namespace),
        waiting_timeout_s=lambda: config.current.action.job_waiting_timeout_seconds,
        start_timeout_s=lambda: config.current.action.start_timeout_seconds,
        request_timeout_s=leader_timeout_s,
        deletions=deletions,
        find_lost=tracking.find_lost,
        trigger_deleted=triggers.is_deleted,
        metrics=metrics,
        now=now,
    )
    runs = Runs(
        api=client,
        store=store,
        gate=gate,
        writer=writer,
        slots=queue,
        compute=NamespaceComputeRules(api=client),
        announcer=events,
        defaults=lambda: job_defaults(config.current),
        identity=settings.identity,
        metrics=metrics,
        now=now,
    )
    missed = MissedDeliveries(store=store, writer=writer, announcer=events, metrics=metrics, now=now, weight=weight)
    handled = HandledTimes(
        store=store,
        writer=writer,
        pending=lambda uid, source: pending(uid, source),  # noqa: PLW0108  it is built below
        now=now,
    )
    waits = Waits(store=store, gate=gate, submit=submit, metrics=metrics, now=now)
    checks = Checks(
        store=store,
        gate=gate,
        reader=client,
        git=git,
        files=Files(store=store, git=git, writer=writer, pool=Pool("patterns", threads=2, own=1), now=now),
        writer=writer,
        runs=runs,
        handled=handled,
        waits=waits,
        submit=submit,
        missed=missed.note,
        decided=page.decided,
        metrics=metrics,
        now=now,
    )
    lanes = KeyedWorkers(
        check=checks.check,
        schedule_parallelism=settings.schedule_parallelism,
        webhook_parallelism=settings.webhooks_parallelism,
        longest_backoff_s=_LONGEST_BACKOFF_S,
        weight=weight,
    )

    pending, forget = waits.together_with(pending=lanes.pending, forget=lanes.forget)
    scheduler = Scheduler(
        store=store, gate=gate, submit=lanes.submit, forget=forget, edited=handled.edited, now=now, weight=weight
    )
    results = Results(
        api=client,
        store=store,
        writer=writer,
        observers=(JobLog(), JobMetrics(metrics), JobEvents(events), notifications),
        submit=lanes.submit,
        deleted_as=deletions.phase_of,
        job_deleted=tracking.is_deleted,
        trigger_deleted=triggers.is_deleted,
        most_retries=lambda: config.current.trigger.max_retry_limit,
        messages=notifications,
        request_timeout_s=leader_timeout_s,
        now=now,
        weight=weight,
    )
    retries = Retries(
        reader=client,
        store=store,
        gate=gate,
        runs=runs,
        announcer=events,
        most=lambda: config.current.trigger.max_retry_limit,
        metrics=metrics,
        now=now,
        weight=weight,
    )
    requests = OpenRequests(store=store, submit=lanes.submit, pending=pending, now=now)
    reconciler = Reconciler(
        api=client,
        store=store,
        gate=gate,
        writer=writer,
        announcer=events,
        requests=requests,
        metrics=metrics,
        now=now,
        weight=weight,
    )
    annotated = AnnotatedRequests(
        store=store, writer=writer, submit=lanes.submit, announcer=events, now=now, weight=weight
    )
    secret_checks = SecretChecks(
        store=store,
        secrets=Secrets(reader=client, cache_s=_CHECKED_S, clock=time.monotonic, kept_bytes=_CHECKED_BYTES),
        writer=writer,
        announcer=events,
        now=now,
        weight=weight,
    )
    starts = Starts(store=store, metrics=metrics, now=now)
    crds = Crds(reader=client, checked=crds_checked)

    async def lead(fence: Fence) -> None:
        """The leader's tasks; the first to fail ends them all."""
        waits.begin()
        try:
            async with asyncio.TaskGroup() as group:
                for part in (
                    tracking,
                    queue,
                    secret_copies,
                    results,
                    notifications,
                    retries,
                    starts,
                    reconciler,
                    annotated,
                    secret_checks,
                    scheduler,
                ):
                    group.create_task(part.run_as_leader(fence))
        except* FenceLost as lost:
            log.warning("lease.fenced", error=str(lost.exceptions[0]))

    lease = Lease(
        api=client,
        ref=Ref("Lease", settings.namespace, settings.leader_lease_name),
        identity=settings.identity,
        timing=settings.lease,
        owner=partial(owner_reference, store, config_ref),
        marks=ServedNamespaces(served=settings.job_namespaces, store=store, announcer=events, ref=config_ref),
        changed=leadership_changed,
        failed=lambda error: edge_failed(None, error),
    )
    cleanup = TriggerCleanup(
        store=store, forget_lane=forget, forget_metrics=metrics.forget, with_metrics=metrics.triggers
    )
    webhooks = Webhooks(
        store=store,
        counter=DeliveryRecorder(store=store, writer=writer, submit=lanes.submit, now=now),
        secrets=secrets,
        recheck_secret=secret_checks.note,
        default_header=lambda: config.current.trigger.webhook.default_auth_header,
        uniform=lambda: config.current.trigger.webhook.refusals == "uniform",
        aliases=lambda: config.current.trigger.webhook.host_aliases,
        rates=settings.rates,
        trusted_proxies=settings.trusted_proxies,
        ready=lambda: not health.not_ready(),
        metrics=metrics,
        now=now,
    )
    certificates = Certificates(
        tls=settings.tls, secrets=secrets, namespace=settings.namespace, announcer=events, metrics=metrics
    )
    informers = informers_of(settings, client=client, store=store, failed=edge_failed)
    clock = ClockSkew(
        clock=client.clock,
        metrics=metrics,
        announcer=events,
        store=store,
        ref=config_ref,
        identity=settings.identity,
    )
    namespaces = UnreadableNamespaces(
        served=settings.job_namespaces,
        store=store,
        metrics=metrics,
        announcer=events,
        ref=config_ref,
        note=partial(health.note, "namespaces"),
        none_served=partial(health.set_problem, "namespaces"),
    )
    writes = WriteHealth(
        client=client,
        lease=lease,
        limit_s=_WRITE_LEASES * settings.lease.duration_s,
        report_problem=partial(health.set_problem, "writes"),
        note=partial(health.note, "writes"),
    )
    restores = Restores(
        history=client.history,
        store=store,
        metrics=metrics,
        events=events,
        ref=config_ref,
        identity=settings.identity,
    )
    follow_log(logs, metrics, health)
    health.expect("certificate of the API server", client.trusted_at, _DISTRUSTED_S, problem="not trusted for")
    health.set("caches", ready=False, why="not synced yet")
    health.set("crds", ready=False, why="not checked yet")
    with (
        listening(settings.utility_port, settings.host, ports=ports) as utility,
        listening(settings.webhooks_port, settings.host, ports=ports) as hooks,
    ):
        hooks_port = hooks.getsockname()[1] if hooks else 0
        utility_port = utility.getsockname()[1] if utility else 0
        async with (
            served(Probes(health=health, metrics=metrics, ui=page.app).app, utility, limits=_PROBES),
            running(
                status_page=page.run(),
                crds=crds.run(),
                heartbeat=LoopLag(metrics=metrics).run(),
                events=events.run(),
                restores=restores.run(),
            ),
            WebhookPort(webhooks, hooks, certificates, settings.trusted_proxies) as hook_port,
        ):
            await hook_port.open(must=False)
            await crds.wait_good()
            async with running(**{name: informer.run() for name, informer in informers.items()}):
                await store.wait_synced(*OURS, "Job", "Namespace", "ConfigMap")
                for name, informer in informers.items():
                    health.expect(name, partial(getattr, informer, "moved_at"), _INFORMER_S)
                    expect_responses(health, name, informer)
                await config.wait_usable()
                await hook_port.open(must=True)
                async with running(
                    config=config.run(),
                    clock=clock.run(),
                    namespaces=namespaces.run(),
                    status=writer.run(),
                    lanes=lanes.run(),
                    waits=waits.run(),
                    cleanup=cleanup.run(),
                    tracking=tracking.run(),
                    hosts=hosts.run(),
                    repositories=repositories.run(),
                    missed=missed.run(),
                    secret_checks=secret_checks.run(),
                    certificates=certificates.run(),
                ):
                    try:
                        await requests.resume()
                        async with running(lease=lease.run(lead), writes=writes.run()):
                            health.set("caches", ready=True)
                            health.expect("lease", partial(getattr, lease, "moved_at"), _LEASE_S)
                            expect_responses(health, "lease", lease)
                            try:
                                log.info("controller.started", identity=settings.identity)
                                at = {"webhooks_port": hooks_port, "utility_port": utility_port}
                                yield Addresses(**at, notified=notifications.drained)
                            finally:
                                health.set("stopping", ready=False, why="this replica is stopping")
                                await hook_port.close()
                                drain_s = _DRAIN_S if client.history.problem is None else 0.0
                                with contextlib.suppress(TimeoutError):
                                    async with asyncio.timeout(drain_s):
                                        await lanes.drain()
                                        handled.flush()
                                        await writer.flush()
                    finally:
                        await remotes.close()
                        log.info("controller.stopped", identity=settings.identity)
