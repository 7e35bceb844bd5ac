#!/bin/sh
# Writes a CycloneDX list of what is in the images named (controller, cloner, worker; none: all), as build.sh built them,
# to NAME.cdx.json in DIST (dist).
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=images/names.sh
. images/names.sh
dist=${DIST:-dist}
mkdir -p "$dist"
[ $# -gt 0 ] || set -- controller cloner worker
for part in "$@"; do
  image=$(image_of "$part")
  name=${image##*/} name=${name%:*}
  archive="$dist/$name.tar" list="$dist/$name.cdx.json"
  rm -f "$archive"
  case $engine in
    *buildah) "$engine" push -q "$image" "docker-archive:$archive:$image" ;;
    *) "$engine" save -o "$archive" "$image" ;;
  esac
  SYFT_CHECK_FOR_APP_UPDATE=false .venv/bin/syft scan "docker-archive:$archive" -q \
    --source-name "${image%:*}" --source-version "$VERSION" -o "cyclonedx-json=$list"
  rm -f "$archive"
  echo "wrote $list"
done
