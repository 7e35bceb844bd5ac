"""Which calls in the package parse bytes: found in its syntax, by the names of functions that do."""

import ast
from pathlib import Path

import git_events_runner

PACKAGE = Path(git_events_runner.__file__).parent
# Programs for one user, who gives them his own bytes.
ALONE = {"cli", "cloner", "local"}
FUNCTIONS = {
    "loads", "load", "safe_load", "yaml_load", "JSONDecoder", "b64decode", "b85decode", "a85decode", "b32decode",
    "b16decode", "a2b_hex", "a2b_base64", "unhexlify", "fromhex", "unpack", "unpack_from", "iter_unpack",
    "decompressobj", "decompress", "croniter", "fromisoformat", "strptime", "parsedate_to_datetime",
    "ip_address", "ip_network", "ip_interface", "IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network",
    "urlsplit", "urlparse", "parse_qs", "parse_qsl", "unquote", "unquote_to_bytes", "unquote_plus", "URL",
    "import_private_key", "import_public_key", "import_known_hosts", "import_certificate", "load_pem_x509_certificate",
    "load_pem_private_key", "load_ssh_private_key", "load_ssh_public_key", "load_der_private_key", "from_public_bytes",
    "fnmatch", "fnmatchcase", "model_validate", "model_validate_json", "TypeAdapter", "ZoneInfo",
    "match", "fullmatch", "search", "findall", "finditer", "sub", "literal_eval", "from_string", "HttpResponseParser",
    "HttpRequestParser", "fromstring", "parse_headers", "idna_encode",
}  # fmt: skip


def calls():
    """Each parsing call as `module:function`, once for a module."""
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).with_suffix("")
        if module.parts[0] in ALONE:
            continue
        name = ".".join(module.parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            numeric = called == "int" and len(node.args) > 1
            trusting = called == "create_default_context" and any(each.arg == "cadata" for each in node.keywords)
            if called in FUNCTIONS or numeric or trusting:
                found.add(f"{name}:{called}")
    return found
