{{/* Names. The rules are the original chart's: objects of a release keep theirs. */}}
{{- define "git-events-runner.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "git-events-runner.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The controller's namespace. */}}
{{- define "git-events-runner.namespace" -}}
{{- default .Release.Namespace .Values.controllerNamespace }}
{{- end }}

{{- define "git-events-runner.serviceAccountName" -}}
{{- default (.Values.serviceAccount.create | ternary (include "git-events-runner.fullname" .) "default") .Values.serviceAccount.name }}
{{- end }}

{{- define "git-events-runner.actionJobServiceAccountName" -}}
{{- $own := printf "%s-action-job" (include "git-events-runner.fullname" .) }}
{{- default (.Values.actionJobServiceAccounts.create | ternary $own "default") .Values.actionJobServiceAccounts.name }}
{{- end }}

{{- define "git-events-runner.configMapName" -}}
{{- printf "%s-config" (include "git-events-runner.fullname" .) }}
{{- end }}

{{- define "git-events-runner.leaderLeaseName" -}}
{{- printf "%s-leader-lock" (include "git-events-runner.fullname" .) }}
{{- end }}

{{/* Labels. A Deployment's selector cannot change: name and instance alone, for ever. */}}
{{- define "git-events-runner.selectorLabels" -}}
app.kubernetes.io/name: {{ include "git-events-runner.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "git-events-runner.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "git-events-runner.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- $own := list "helm.sh/chart" "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" }}
{{- range $key, $value := .Values.commonLabels }}
{{- if not (has $key $own) }}
{{ $key }}: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The controller's image: repository (else under the common prefix), then digest or tag. */}}
{{- define "git-events-runner.image" -}}
{{- $repository := default (printf "%s/git-events-runner" .Values.imageRegistry) .Values.image.repository }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The runtime config as the ConfigMap holds it: values, with their templates rendered. */}}
{{- define "git-events-runner.runtimeConfig" -}}
{{ tpl (toYaml .Values.runtimeConfig) . }}
{{- end }}

{{/* Namespaces as JSON lists: ["*"] means every one; the controller's own is always in. */}}
{{- define "git-events-runner.jobsNamespaces" -}}
{{- $wanted := .Values.rbac.controller.jobsNamespaces }}
{{- has "*" $wanted | ternary (list "*") (prepend $wanted (include "git-events-runner.namespace" .) | uniq) | toJson }}
{{- end }}

{{- define "git-events-runner.secretsNamespaces" -}}
{{- $wanted := .Values.rbac.controller.secretsNamespaces }}
{{- has "*" $wanted | ternary (list "*") (prepend $wanted (include "git-events-runner.namespace" .) | uniq) | toJson }}
{{- end }}

{{- define "git-events-runner.actionJobNamespaces" -}}
{{- prepend .Values.actionJobServiceAccounts.namespaces (include "git-events-runner.namespace" .) | uniq | toJson }}
{{- end }}

{{- define "git-events-runner.watchNamespaces" -}}
{{- if .Values.watchNamespaces }}
{{- $allowed := include "git-events-runner.jobsNamespaces" . | fromJsonArray }}
{{- range .Values.watchNamespaces }}
{{- if and $.Values.rbac.create (not (has "*" $allowed)) (not (has . $allowed)) }}
{{- fail (printf "watchNamespaces: %s is not among rbac.controller.jobsNamespaces" .) }}
{{- end }}
{{- end }}
{{- .Values.watchNamespaces | toJson }}
{{- else }}
{{- include "git-events-runner.jobsNamespaces" . }}
{{- end }}
{{- end }}

{{/* The smallest number of replicas. */}}
{{- define "git-events-runner.replicas" -}}
{{- .Values.autoscaling.enabled | ternary .Values.autoscaling.minReplicas .Values.replicaCount | int }}
{{- end }}

{{/* Whether the webhook port speaks TLS itself; checks what the program would refuse at start. */}}
{{- define "git-events-runner.webhooksTls" -}}
{{- $tls := default dict .Values.controllerOptions.webhooksTls }}
{{- if and (or $tls.certificate $tls.key) (or $tls.secret $tls.secretNamespace) }}
{{- fail "controllerOptions.webhooksTls: certificate and key exclude secret and secretNamespace" }}
{{- end }}
{{- if ne (empty $tls.certificate) (empty $tls.key) }}
{{- fail "controllerOptions.webhooksTls: certificate and key go together" }}
{{- end }}
{{- if and $tls.secretNamespace (not $tls.secret) }}
{{- fail "controllerOptions.webhooksTls: secretNamespace needs secret" }}
{{- end }}
{{- if or $tls.certificate $tls.secret }}true{{ end }}
{{- end }}

{{/* The command line of `run`. */}}
{{- define "git-events-runner.arguments" -}}
{{- $options := .Values.controllerOptions }}
{{- $tls := default dict $options.webhooksTls }}
{{- $limits := default dict $options.webhooksRateLimits }}
- run
- --webhooks-port={{ .Values.service.webhook.port | int }}
- --utility-port={{ .Values.service.utility.port | int }}
- --webhooks-parallelism={{ default $options.webhooksParallelism .Values.service.webhooksParallelism | int }}
- --schedule-parallelism={{ default $options.scheduleParallelism .Values.service.scheduleParallelism | int }}
- --secrets-cache-time={{ $options.secretsCacheTime | int64 }}
- --source-clone-folder={{ $options.sourceCloneFolder.mountPath }}
- --config-map-name={{ include "git-events-runner.configMapName" . }}
- --leader-lease-name={{ include "git-events-runner.leaderLeaseName" . }}
- --leader-lease-duration={{ $options.leaderLease.duration | int }}
- --leader-lease-grace={{ $options.leaderLease.grace | int }}
- --metrics-prefix={{ $options.metricsPrefix }}
{{- range $scope := list "global" "address" "trigger" "source" }}
{{- with index $limits $scope }}
- --hooks-rrl-{{ $scope }}={{ . }}
{{- end }}
{{- end }}
{{- with $options.trustedProxies }}
- --hooks-trusted-proxies={{ join "," . }}
{{- end }}
{{- if include "git-events-runner.webhooksTls" . }}
{{- with $tls.certificate }}
- --tls-cert-path={{ . }}
{{- end }}
{{- with $tls.key }}
- --tls-key-path={{ . }}
{{- end }}
{{- with $tls.secret }}
- --tls-secret-name={{ . }}
{{- end }}
{{- with $tls.secretNamespace }}
- --tls-secret-namespace={{ . }}
{{- end }}
{{- end }}
{{- if $options.jsonLogs }}
- --json-logs
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Subjects of the controller's bindings. */}}
{{- define "git-events-runner.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "git-events-runner.serviceAccountName" . }}
    namespace: {{ include "git-events-runner.namespace" . }}
{{- end }}

{{/* One endpoint of a ServiceMonitor or PodMonitor, from its values. The labels `namespace` are the triggers': honoured. */}}
{{- define "git-events-runner.endpoint" -}}
path: /metrics
honorLabels: {{ .honorLabels }}
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Labels of an alert: its severity, and those of all. Takes a list. */}}
{{- define "git-events-runner.alertLabels" -}}
{{- merge (dict) (index . 1) (dict "severity" (index . 0)) | toYaml }}
{{- end }}
