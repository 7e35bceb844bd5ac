#!/bin/sh
# Everything of the release workflow that needs no registry, into DIST (dist): wheel, chart, images with their SBOMs where
# an engine works, checksums, and a signature of the chart by a key that is created for this and deleted after it.
set -eu
cd "$(dirname "$0")/.."
dist=${DIST:-dist}
rm -rf "$dist"
if [ "${IMAGES:-yes}" = yes ]; then
  images/build.sh
  DIST=$dist images/sbom.sh
fi
.venv/bin/python -m release build --dist "$dist"
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export GNUPGHOME="$home"
gpg --batch --quiet --passphrase '' --quick-generate-key "release dry run" rsa3072 sign never 2>/dev/null
gpg --batch --quiet --export-secret-keys >"$home/secret.gpg"
gpg --batch --quiet --export >"$home/public.gpg"
.venv/bin/python - "$dist" "$home" <<'PYTHON'
import pathlib
import sys

import helm_python

dist, home = map(pathlib.Path, sys.argv[1:])
(chart,) = dist.glob("git-events-runner-*.tgz")
helm_python.sign(chart, key="release dry run", keyring=home / "secret.gpg")
print(f"verified: {helm_python.verify(chart, home / 'public.gpg')['signed_by']}")
PYTHON
(cd "$dist" && sha256sum --check --quiet SHA256SUMS && ls)
