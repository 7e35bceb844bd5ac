# shellcheck shell=sh
# For build.sh and sbom.sh: the engine, and the names of the images.
engine=${ENGINE:-}
for name in docker podman buildah; do
  [ -n "$engine" ] || ! "$name" version >/dev/null 2>&1 || engine=$name
done
[ -n "$engine" ] || { echo "none of docker (is its daemon running?), podman and buildah works" >&2; exit 1; }

image_of() {
  case $1 in
    controller) name=git-events-runner ;;
    cloner) name=gitrepo-cloner ;;
    worker) name=action-worker ;;
    *) echo "no image is called $1; there are controller, cloner and worker" >&2; exit 1 ;;
  esac
  echo "$REGISTRY/$name:$VERSION"
}
