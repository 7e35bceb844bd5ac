#!/bin/sh
# Writes a CycloneDX list of what is in each image that build.sh built to dist/NAME.cdx.json.
set -eu
cd "$(dirname "$0")/.."
mkdir -p dist
engine=${ENGINE:-}
for name in docker podman buildah; do
  [ -n "$engine" ] || ! command -v "$name" >/dev/null || engine=$name
done
for name in git-events-runner gitrepo-cloner action-worker; do
  image="$REGISTRY/$name:$VERSION" archive="dist/$name.tar"
  rm -f "$archive"
  case $engine in
    buildah) buildah push "$image" "docker-archive:$archive:$image" ;;
    *) "$engine" save -o "$archive" "$image" ;;
  esac
  SYFT_CHECK_FOR_APP_UPDATE=false .venv/bin/syft scan "docker-archive:$archive" -q -o "cyclonedx-json=dist/$name.cdx.json"
  rm -f "$archive"
  echo "wrote dist/$name.cdx.json"
done
