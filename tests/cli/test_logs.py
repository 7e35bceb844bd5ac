"""`logs`: which pod's log it shows, and why there is none."""

from starlette.responses import JSONResponse, PlainTextResponse

from tests.cli.test_explain import job, status
from tests.cli.test_status import RAN


def pods(cluster, *names):
    """The cluster has these pods of every Job; their logs name what was requested."""

    async def intercept(request, proceed):
        path = request.url.path
        if path.endswith("/pods"):
            job_name = request.query_params["labelSelector"].partition("=")[2]
            spec = {"initContainers": [{"name": "action-cloner"}], "containers": [{"name": "action-worker"}]}
            items = [
                {"metadata": {"name": f"{job_name}-{name}", "namespace": "default"}, "spec": spec} for name in names
            ]
            return JSONResponse({"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": items})
        if path.endswith("/log"):
            return PlainTextResponse(f"{path.split('/')[-2]} {request.query_params['container']}\n")
        return await proceed()

    cluster.server.intercept = intercept


async def test_the_newest_run_or_the_one_of_a_number(cluster):
    """Without a number it is the newest run's worker; --run and --cloner choose others."""
    await cluster.world()
    trigger = await cluster.trigger(status=status())
    first, second = [await job(cluster, trigger, number) for number in (1, 2)]
    pods(cluster, "p")
    done = await cluster.run("logs", "nightly", "--run", "1", "--cloner")
    assert (done.code, done.out) == (0, f"{first}-p action-cloner\n")
    done = await cluster.run("logs", "nightly", "--run", "2", "-f")
    assert (done.code, done.out) == (0, f"{second}-p action-worker\n")


async def test_why_there_is_no_log(cluster):
    """A run without a pod ends with 1, and with the reason."""
    await cluster.world()
    trigger = await cluster.trigger(status=RAN)
    pods(cluster)
    done = await cluster.run("logs", "nightly")
    assert (done.code, "its Jobs are deleted, or it never ran" in done.err) == (1, True)
    await job(cluster, trigger, 4, suspend=True)
    done = await cluster.run("logs", "nightly")
    assert (done.code, "waits for a slot, so it has no pod yet" in done.err) == (1, True)
    done = await cluster.run("logs", "nightly", "--run", "9")
    assert (done.code, "no such run has a Job" in done.err) == (1, True)
