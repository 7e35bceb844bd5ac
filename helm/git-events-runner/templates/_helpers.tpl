{{/* Names. The rules are those of v0.4's chart, so that objects of a release keep their names. */}}
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

{{/* The full name with a suffix, at most 63 characters; takes a list: context, end. A name that is too long is shortened and distinguished
     by a digest. Names of v0.4 stay the same wherever v0.4 could be installed (its utility Service ends at a full name of 55). */}}
{{- define "git-events-runner.named" -}}
{{- $fullname := include "git-events-runner.fullname" (index . 0) }}
{{- $end := index . 1 }}
{{- $kept := and (le (len $fullname) 55) (has $end (list "utility" "config" "leader-lock" "action-job")) }}
{{- if or $kept (le (add (len $fullname) (len $end)) 62) }}
{{- printf "%s-%s" $fullname $end }}
{{- else }}
{{- $room := sub 55 (len $end) | int }}
{{- printf "%s-%s-%s" ($fullname | trunc $room | trimSuffix "-") ($fullname | sha256sum | trunc 6) $end }}
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
{{- $own := include "git-events-runner.named" (list . "action-job") }}
{{- default (.Values.actionJobServiceAccounts.create | ternary $own "default") .Values.actionJobServiceAccounts.name }}
{{- end }}

{{- define "git-events-runner.configMapName" -}}
{{- include "git-events-runner.named" (list . "config") }}
{{- end }}

{{- define "git-events-runner.leaderLeaseName" -}}
{{- include "git-events-runner.named" (list . "leader-lock") }}
{{- end }}

{{/* Labels. A Deployment's selector cannot change: always only name and instance. */}}
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

{{/* The runtime config of the ConfigMap: values, tightened by the profile, with their templates rendered. */}}
{{- define "git-events-runner.runtimeConfig" -}}
{{- $config := deepCopy (default dict .Values.runtimeConfig) }}
{{- if eq .Values.profile "multiTenant" }}
{{- $defaults := .Files.Get "files/runtime-defaults.yaml" | fromYaml }}
{{- include "git-events-runner.tighten" (list $config $defaults (.Files.Get "files/profiles/multiTenant.yaml" | fromYaml)) }}
{{- end }}
{{- $action := get $config "action" }}
{{- if and (eq .Values.openshift "enabled") (kindIs "map" $action) (eq (get $action "podSecurity" | toString) "auto") }}
{{- $_ := set $action "podSecurity" "openshift" }}
{{- end }}
{{- tpl (toYaml $config) . }}
{{- end }}

{{/* A security context without the chart's own ids where the cluster assigns them; takes a list: context, security context. */}}
{{- define "git-events-runner.securityContext" -}}
{{- $root := index . 0 }}
{{- $context := deepCopy (default dict (index . 1)) }}
{{- $served := $root.Capabilities.APIVersions.Has "security.openshift.io/v1" }}
{{- if or (eq $root.Values.openshift "enabled") (and (eq $root.Values.openshift "auto") $served) }}
{{- range list "fsGroup" "runAsUser" "runAsGroup" }}
{{- if and (hasKey $context .) (eq (get $context . | int64) 65532) }}
{{- $_ := unset $context . }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $context }}
{{- end }}

{{/* Apply a profile to a config where that still has the default; takes a list: config, defaults, profile. */}}
{{- define "git-events-runner.tighten" -}}
{{- $config := index . 0 }}
{{- $defaults := index . 1 }}
{{- range $key, $value := index . 2 }}
{{- if kindIs "map" $value }}
{{- if not (kindIs "map" (get $config $key)) }}
{{- $_ := set $config $key dict }}
{{- end }}
{{- include "git-events-runner.tighten" (list (get $config $key) (default dict (get $defaults $key)) $value) }}
{{- else if or (not (hasKey $config $key)) (eq (get $config $key | toJson) (get $defaults $key | toJson)) }}
{{- $_ := set $config $key $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the Pod Security Standard `baseline` allows; the same as in git_events_runner/rules/jobs/pod_settings.py. */}}
{{- define "git-events-runner.baselineCapabilities" -}}
[AUDIT_WRITE, CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, MKNOD, NET_BIND_SERVICE, SETFCAP, SETGID, SETPCAP, SETUID, SYS_CHROOT]
{{- end }}

{{- define "git-events-runner.baselineSysctls" -}}
[kernel.shm_rmid_forced, net.ipv4.ip_local_port_range, net.ipv4.ip_local_reserved_ports, net.ipv4.ip_unprivileged_port_start, net.ipv4.ping_group_range, net.ipv4.tcp_fin_timeout, net.ipv4.tcp_keepalive_intvl, net.ipv4.tcp_keepalive_probes, net.ipv4.tcp_keepalive_time, net.ipv4.tcp_rmem, net.ipv4.tcp_syncookies, net.ipv4.tcp_wmem]
{{- end }}

{{/* Peers that may read probes and metrics, as JSON; "[]" is all. The chart's own options for scraping keep working outside of the profile. */}}
{{- define "git-events-runner.utilityFrom" -}}
{{- $policy := .Values.networkPolicy }}
{{- $scraped := merge (dict) .Values.podAnnotations .Values.prometheus.podAnnotations }}
{{- $open := or .Values.prometheus.podMonitor.enabled .Values.prometheus.serviceMonitor.enabled (eq (get $scraped "prometheus.io/scrape" | toString) "true") }}
{{- if $policy.utilityFrom }}
{{- $policy.utilityFrom | toJson }}
{{- else if has .Values.service.utility.type (list "NodePort" "LoadBalancer") }}
{{- list | toJson }}
{{- else if and (ne .Values.profile "multiTenant") (not .Values.ui.enabled) (or $open .Values.service.utility.type) }}
{{- list (dict "namespaceSelector" dict) | toJson }}
{{- else }}
{{- $own := list (dict "podSelector" dict) }}
{{- with $policy.monitoringNamespaces }}
{{- $names := dict "key" "kubernetes.io/metadata.name" "operator" "In" "values" . }}
{{- $own = append $own (dict "namespaceSelector" (dict "matchExpressions" (list $names))) }}
{{- end }}
{{- if .Values.ui.enabled }}
{{- $own = concat $own .Values.ui.from }}
{{- end }}
{{- $own | toJson }}
{{- end }}
{{- end }}

{{/* Namespaces as JSON lists: ["*"] means every one; the controller's own is always in. Takes a list: context, namespaces. */}}
{{- define "git-events-runner.namespaces" -}}
{{- $root := index . 0 }}
{{- $wanted := index . 1 }}
{{- $own := include "git-events-runner.namespace" $root }}
{{- if has "*" $wanted }}
{{- list "*" | toJson }}
{{- else }}
{{- $missing := include "git-events-runner.missingNamespaces" $root | fromJsonArray }}
{{- $found := list $own }}
{{- range $wanted }}
{{- if not (has . $missing) }}
{{- $found = append $found . }}
{{- end }}
{{- end }}
{{- $found | uniq | toJson }}
{{- end }}
{{- end }}

{{/* Those named in the values that do not exist or are being deleted, if they are to be left out. Without a cluster (`helm template`) none is missing. */}}
{{- define "git-events-runner.missingNamespaces" -}}
{{- $missing := list }}
{{- if and .Values.rbac.controller.skipMissingNamespaces (lookup "v1" "Namespace" "" "default") }}
{{- $own := include "git-events-runner.namespace" . }}
{{- range concat .Values.watchNamespaces .Values.rbac.controller.jobsNamespaces .Values.rbac.controller.secretsNamespaces .Values.rbac.controller.workerLogsNamespaces .Values.actionJobServiceAccounts.namespaces | uniq }}
{{- if and (ne . "*") (ne . $own) }}
{{- $there := lookup "v1" "Namespace" "" . }}
{{- if or (not $there) (dig "metadata" "deletionTimestamp" "" $there) }}
{{- $missing = append $missing . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- $missing | toJson }}
{{- end }}

{{- define "git-events-runner.jobsNamespaces" -}}
{{- include "git-events-runner.namespaces" (list . .Values.rbac.controller.jobsNamespaces) }}
{{- end }}

{{- define "git-events-runner.secretsNamespaces" -}}
{{- include "git-events-runner.namespaces" (list . .Values.rbac.controller.secretsNamespaces) }}
{{- end }}

{{/* Those where logs of workers may be read; not the controller's own, unless it is named. */}}
{{- define "git-events-runner.workerLogsNamespaces" -}}
{{- $wanted := .Values.rbac.controller.workerLogsNamespaces }}
{{- $missing := include "git-events-runner.missingNamespaces" . | fromJsonArray }}
{{- $found := list }}
{{- range $wanted }}
{{- if not (has . $missing) }}
{{- $found = append $found . }}
{{- end }}
{{- end }}
{{- has "*" $wanted | ternary (list "*") (uniq $found) | toJson }}
{{- end }}

{{- define "git-events-runner.actionJobNamespaces" -}}
{{- include "git-events-runner.namespaces" (list . .Values.actionJobServiceAccounts.namespaces) }}
{{- end }}

{{- define "git-events-runner.watchNamespaces" -}}
{{- if .Values.watchNamespaces }}
{{- $allowed := include "git-events-runner.jobsNamespaces" . | fromJsonArray }}
{{- $missing := include "git-events-runner.missingNamespaces" . | fromJsonArray }}
{{- range .Values.watchNamespaces }}
{{- if and (not (has . $missing)) $.Values.rbac.create (not (has "*" $allowed)) (not (has . $allowed)) }}
{{- fail (printf "watchNamespaces: %s is not among rbac.controller.jobsNamespaces" .) }}
{{- end }}
{{- end }}
{{- $found := list }}
{{- range .Values.watchNamespaces }}
{{- if not (has . $missing) }}
{{- $found = append $found . }}
{{- end }}
{{- end }}
{{- default (list (include "git-events-runner.namespace" .)) $found | toJson }}
{{- else }}
{{- include "git-events-runner.jobsNamespaces" . }}
{{- end }}
{{- end }}

{{/* The smallest number of replicas. */}}
{{- define "git-events-runner.replicas" -}}
{{- .Values.autoscaling.enabled | ternary .Values.autoscaling.minReplicas .Values.replicaCount | int }}
{{- end }}

{{/* Whether the webhook port itself uses TLS; refuses what the program would refuse at its start. */}}
{{- define "git-events-runner.webhooksTls" -}}
{{- $tls := default dict .Values.controllerOptions.webhooksTls }}
{{- if and (or $tls.certificate $tls.key) (or $tls.secret $tls.secretNamespace) }}
{{- fail "controllerOptions.webhooksTls: certificate and key exclude secret and secretNamespace" }}
{{- end }}
{{- if ne (empty $tls.certificate) (empty $tls.key) }}
{{- fail "controllerOptions.webhooksTls: certificate and key have to be set together" }}
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
- --metrics-by-trigger={{ $options.metricsByTrigger }}
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
{{- if .Values.ui.enabled }}
- --ui=on
{{- end }}
{{- if $options.jsonLogs }}
- --json-logs
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The same as text. */}}
{{- define "git-events-runner.utilityReaders" -}}
{{- $from := include "git-events-runner.utilityFrom" . }}
{{- if eq $from "[]" }}everybody
{{- else if eq $from (list (dict "namespaceSelector" dict) | toJson) }}pods of every namespace
{{- else }}pods of {{ include "git-events-runner.namespace" . }}
{{- with .Values.networkPolicy.monitoringNamespaces }}, {{ join ", " . }}{{ end }} (networkPolicy.monitoringNamespaces, or utilityFrom)
{{- if and .Values.ui.enabled .Values.ui.from }}, and the peers of ui.from{{ end }}
{{- end }}
{{- end }}

{{/* Resources of the controller: the default memory limit is never below a request that was set for an earlier release. */}}
{{- define "git-events-runner.resources" -}}
{{- $resources := deepCopy (default dict .Values.resources) }}
{{- $limits := default dict $resources.limits }}
{{- $request := get (default dict $resources.requests) "memory" }}
{{- if and $request (eq (get $limits "memory" | toString) "512Mi") }}
{{- if gt (include "git-events-runner.mebibytes" $request | float64) 512.0 }}
{{- $_ := set $resources "limits" (set $limits "memory" $request) }}
{{- end }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{/* A quantity of memory in MiB. */}}
{{- define "git-events-runner.mebibytes" -}}
{{- $text := kindIs "string" . | ternary . (printf "%d" (int64 (kindIs "string" . | ternary 0 .))) }}
{{- $units := dict "m" 0.00000000095367431640625 "" 0.00000095367431640625 "k" 0.00095367431640625 "Ki" 0.0009765625 "M" 0.95367431640625 "Mi" 1.0 "G" 953.67431640625 "Gi" 1024.0 "T" 953674.31640625 "Ti" 1048576.0 }}
{{- mulf (regexFind "^[0-9.]+" $text | float64) (get $units (regexFind "[A-Za-z]*$" $text)) }}
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
