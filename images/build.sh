#!/bin/sh
# Builds the images named (controller, cloner, worker; none: all) with docker, podman or buildah, whichever works
# (ENGINE names one). REGISTRY and VERSION make the names; OPTIONS is passed on (--platform linux/amd64,linux/arm64,
# --build-arg BASE=…).
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=images/names.sh
. images/names.sh
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[ $# -gt 0 ] || set -- controller cloner worker
for part in "$@"; do
  image=$(image_of "$part")
  # Images of several architectures are a list; docker makes one of any number by itself.
  name=-t
  case "${engine##*/} ${OPTIONS:-}" in
    docker*) ;;
    *--platform*,*) name=--manifest ;;
  esac
  # Labels by option: as arguments of the build some engines take those of an earlier one from their cache.
  # shellcheck disable=SC2086  # OPTIONS is a list of words
  "$engine" build -f "Dockerfile.$part" "$name" "$image" --label "org.opencontainers.image.version=$VERSION" \
    --label "org.opencontainers.image.revision=$revision" ${OPTIONS:-} .
  echo "built $image with $engine"
done
