#!/bin/sh
# Builds the three images with docker, podman or buildah, whichever is there (ENGINE names another).
# REGISTRY and VERSION make the names; OPTIONS is passed on (--platform linux/amd64,linux/arm64, --build-arg BASE=…).
set -eu
cd "$(dirname "$0")/.."
engine=${ENGINE:-}
for name in docker podman buildah; do
  [ -n "$engine" ] || ! command -v "$name" >/dev/null || engine=$name
done
[ -n "$engine" ] || { echo "none of docker, podman and buildah is installed" >&2; exit 1; }
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
for pair in controller:git-events-runner cloner:gitrepo-cloner worker:action-worker; do
  image="$REGISTRY/${pair#*:}:$VERSION"
  # shellcheck disable=SC2086  # OPTIONS is a list of words
  "$engine" build -f "Dockerfile.${pair%%:*}" -t "$image" \
    --build-arg "VERSION=$VERSION" --build-arg "REVISION=$revision" ${OPTIONS:-} .
  echo "built $image with $engine"
done
