"""Which options a schema offers, and which of them an object uses."""

from git_events_runner.resources.pod_parts import pod_parts


def offered(schema, path="spec"):
    """Every option of a schema; those with few values, and booleans, once for each value.

    Of the parts of a pod, whose schema is Kubernetes' own, only the part itself.
    """
    for name, below in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        if path != "spec.actionJob" or name not in pod_parts():
            yield from offered(below, f"{path}.{name}")
    if "items" in schema:
        yield from offered(schema["items"], f"{path}[]")
    values = (True, False) if schema.get("type") == "boolean" else schema.get("enum", ())
    yield from (f"{path}={value}" for value in values)


def used(value, path="spec"):
    """The options that an object uses, named as `offered` names them."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield f"{path}.{name}"
            yield from used(below, f"{path}.{name}")
    elif isinstance(value, list):
        for each in value:
            yield from used(each, f"{path}[]")
    else:
        yield f"{path}={value}"
