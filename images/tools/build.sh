#!/bin/sh
# Builds helm and kubectl into the folder given, with the versions that go.mod pins as the versions they report.
set -eu
version() { go list -m -f '{{.Version}}' "$1"; }
kubernetes=$(version k8s.io/kubectl)
kubernetes="1${kubernetes#v0}"
minor=${kubernetes#1.}
minor=${minor%%.*}
component=k8s.io/component-base/version
mkdir -p "$1"
# The version that Helm assumes of a cluster that it cannot query (`helm template`, `helm lint`); unset it would be 1.20.
without="-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=$minor"
lint="-X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=$minor"
go build -trimpath -o "$1/helm" \
  -ldflags "-s -w $without $lint -X helm.sh/helm/v3/internal/version.version=$(version helm.sh/helm/v3)" \
  helm.sh/helm/v3/cmd/helm
go build -trimpath -o "$1/kubectl" \
  -ldflags "-s -w -X $component.gitVersion=v$kubernetes -X $component.gitMajor=1 -X $component.gitMinor=$minor" ./kubectl
