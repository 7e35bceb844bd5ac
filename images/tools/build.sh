#!/bin/sh
# Builds helm and kubectl into the folder given, with the versions that go.mod pins as the versions they report.
set -eu
version() { go list -m -f '{{.Version}}' "$1"; }
kubernetes=$(version k8s.io/kubectl)
kubernetes="1${kubernetes#v0}"
minor=${kubernetes#1.}
component=k8s.io/component-base/version
mkdir -p "$1"
go build -trimpath -o "$1/helm" \
  -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$(version helm.sh/helm/v3)" helm.sh/helm/v3/cmd/helm
go build -trimpath -o "$1/kubectl" \
  -ldflags "-s -w -X $component.gitVersion=v$kubernetes -X $component.gitMajor=1 -X $component.gitMinor=${minor%%.*}" ./kubectl
