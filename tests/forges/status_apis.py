"""What the forges publish of their API for commit statuses, and a validator of requests."""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from jsonschema import Draft202012Validator, FormatChecker

FOLDER = Path(__file__).parent / "apis"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A POST of an OpenAPI document: where, its parameters, what is in the body, how it authenticates."""

    server: str
    path: str
    parameters: list
    body: dict
    security: dict

    def problems(self, request):
        """What of a request is not as the document has it."""
        return [*self._of_address(request.url), *self._of_headers(request.headers), *self._of_body(request.body)]

    def values(self, url):
        """The values in the path, by their names; None: it is another path."""
        path = re.escape(urlsplit(self.server).path + self.path)
        found = re.fullmatch(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", path), urlsplit(url).path)
        return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}

    def _of_address(self, url):
        values = self.values(url)
        if values is None:
            yield f"{url} is not {self.path}"
        parts = urlsplit(url)
        if parts.netloc != urlsplit(self.server).netloc or parts.fragment:
            yield f"{url} is not at {self.server}"
        given = {name: one for name, [one] in parse_qs(parts.query, keep_blank_values=True).items()}
        for parameter in self.parameters:
            place = given if parameter["in"] == "query" else values or {}
            if parameter["name"] in place:
                yield from _errors(parameter["schema"], place.pop(parameter["name"]), parameter["name"])
            elif parameter["required"]:
                yield f"{parameter['name']} is missing"
        yield from (f"{name} is no parameter" for name in given)

    def _of_headers(self, headers):
        if headers.get("Content-Type") != "application/json":
            yield "the content type is not application/json"
        if not any(_authenticates(scheme, headers) for scheme in self.security.values()):
            yield f"it authenticates in no way of {', '.join(self.security)}"

    def _of_body(self, body):
        yield from _errors(self.body, json.loads(body), "body")


def _errors(schema, value, name):
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    return (f"{name}: {error.json_path} {error.message}" for error in validator.iter_errors(value))


def _authenticates(scheme, headers):
    if scheme["type"] == "apiKey":
        value = headers.get(scheme["name"], "")
        return value.startswith(scheme.get("x-prefix", "")) and bool(value.removeprefix(scheme.get("x-prefix", "")))
    kind, _, rest = headers.get("Authorization", "").partition(" ")
    if scheme["scheme"] == "basic" and kind == "Basic":
        try:
            return b":" in base64.b64decode(rest, validate=True)
        except binascii.Error:
            return False
    return scheme["scheme"] == "bearer" and kind == "Bearer" and bool(rest)


def operation_of(forge):
    """The operation that sets a commit status at a forge."""
    document = yaml.safe_load((FOLDER / f"{forge}.yaml").read_text())
    [(path, found)] = document["paths"].items()
    return Operation(
        server=document["servers"][0]["url"],
        path=path,
        parameters=found["parameters"],
        body=found["post"]["requestBody"]["content"]["application/json"]["schema"],
        security=document["components"]["securitySchemes"],
    )
