{{/* Labels of every object. */}}
{{- define "actpass.labels" -}}
app.kubernetes.io/name: actpass
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Labels that select the pods of a part. */}}
{{- define "actpass.selector" -}}
app.kubernetes.io/name: actpass
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* An image by its name in `images`: by digest, unless tags are allowed. */}}
{{- define "actpass.image" -}}
{{- $image := get .root.Values.images .name -}}
{{- if not $image }}{{ fail (printf "images.%s: missing; write NAME@sha256:DIGEST" .name) }}{{ end -}}
{{- if not (or .root.Values.allowTags (regexMatch "^[!-~]+@sha256:[0-9a-f]{64}$" $image)) }}
{{- fail (printf "images.%s: `%s` is not named by digest; write NAME@sha256:DIGEST, or `allowTags: true` for development" .name $image) }}
{{- end -}}
{{ $image }}
{{- end }}

{{/* Namespaces under ActPass, never the installation's own: else nothing could start once nothing runs. */}}
{{- define "actpass.namespaces" -}}
matchExpressions:
- {key: actpass.org/mode, operator: Exists}
- key: kubernetes.io/metadata.name
  operator: NotIn
  values: {{ append .Values.exemptNamespaces .Release.Namespace | uniq | sortAlpha | toJson }}
{{- end }}

{{/* What the pods of all parts have in common. */}}
{{- define "actpass.pod" -}}
serviceAccountName: actpass-{{ .part }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
terminationGracePeriodSeconds: 30
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
topologySpreadConstraints:
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{ include "actpass.selector" .part | fromYaml | toJson }}
{{- end }}

{{/* What their containers have in common. */}}
{{- define "actpass.container" -}}
name: {{ .part }}
image: {{ include "actpass.image" (dict "root" .root "name" .part) }}
imagePullPolicy: {{ .root.Values.imagePullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
ports:
- {name: api, containerPort: 8443, protocol: TCP}
- {name: health, containerPort: 8080, protocol: TCP}
startupProbe:
  httpGet: {path: /livez, port: health}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: health}
  periodSeconds: 10
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 2
resources: {{ toJson (get (get .root.Values .part) "resources") }}
{{- end }}

{{/* Amounts of an injected container, as the webhook's flags take them. */}}
{{- define "actpass.amounts" -}}
{{ int .cpuMillis }},{{ int .memoryMib }},{{ int .memoryMibMax }}
{{- end }}

{{/* CEL: whether a label of ours on a namespace comes, goes or changes. */}}
{{- define "actpass.labelChanges" -}}
['actpass.org/mode', 'actpass.org/environment'].exists(key, (has(object.metadata.labels) && key in object.metadata.labels ? object.metadata.labels[key] : '') != (oldObject != null && has(oldObject.metadata.labels) && key in oldObject.metadata.labels ? oldObject.metadata.labels[key] : ''))
{{- end }}

{{/* The binding of a policy, which denies. */}}
{{- define "actpass.binding" }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels: {{- include "actpass.labels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end }}

{{/* Prometheus, let in. */}}
{{- define "actpass.scrape" -}}
{{- if .Values.monitoring.enabled }}
- from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .Values.monitoring.namespace }}}}}]
  ports: [{port: 8080, protocol: TCP}]
{{- end }}
{{- end }}

{{/* What every part reaches. */}}
{{- define "actpass.egress" -}}
- to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .Values.networkPolicy.dnsNamespace }}}}}]
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
- to:
  {{- range .Values.networkPolicy.apiServerCidrs }}
  - ipBlock: {cidr: {{ . | quote }}}
  {{- end }}
  ports:
  {{- range .Values.networkPolicy.apiServerPorts }}
  - {port: {{ . }}, protocol: TCP}
  {{- end }}
{{- end }}

{{/* Labels by which Prometheus finds an object. */}}
{{- define "actpass.monitorLabels" -}}
{{ include "actpass.labels" . }}
{{- with .Values.monitoring.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* How the API server calls the webhook. */}}
{{- define "actpass.client" -}}
clientConfig:
  service: {name: actpass-webhook, namespace: {{ .root.Release.Namespace }}, path: {{ .path }}, port: 443}
admissionReviewVersions: [v1]
failurePolicy: Fail
matchPolicy: Equivalent
sideEffects: None
timeoutSeconds: {{ .root.Values.webhook.timeoutSeconds }}
{{- end -}}

{{/* What is injected and let pass, as the webhook asks it and the controller holds pods against it. */}}
{{- define "actpass.injection" -}}
{{- $sidecar := .Values.sidecar -}}
- {name: ACTPASS_INIT_IMAGE, value: {{ include "actpass.image" (dict "root" . "name" "init") | quote }}}
- {name: ACTPASS_PROXY_IMAGE, value: {{ include "actpass.image" (dict "root" . "name" "proxy") | quote }}}
- {name: ACTPASS_VERIFY_IMAGE, value: {{ include "actpass.image" (dict "root" . "name" "verify") | quote }}}
- {name: ACTPASS_EARLIER_IMAGES, value: {{ join "," $sidecar.earlierImages | quote }}}
- {name: ACTPASS_ALLOW_TAGS, value: {{ .Values.allowTags | quote }}}
- {name: ACTPASS_SIDECAR_UIDS, value: {{ $sidecar.uids | quote }}}
- {name: ACTPASS_SIDECAR_DRAIN_SECONDS, value: {{ int $sidecar.drainSeconds | quote }}}
- {name: ACTPASS_INIT_RESOURCES, value: {{ include "actpass.amounts" $sidecar.initResources | quote }}}
- {name: ACTPASS_PROXY_RESOURCES, value: {{ include "actpass.amounts" $sidecar.proxyResources | quote }}}
- {name: ACTPASS_VERIFY_RESOURCES, value: {{ include "actpass.amounts" $sidecar.verifyResources | quote }}}
{{- with $sidecar.defaultAgentUid }}
- {name: ACTPASS_DEFAULT_AGENT_UID, value: {{ int . | quote }}}
{{- end }}
- {name: ACTPASS_SECCOMP_PROFILES, value: {{ join "," $sidecar.seccompProfiles | quote }}}
- {name: ACTPASS_RUNTIME_CLASSES, value: {{ join "," $sidecar.runtimeClasses | quote }}}
- {name: ACTPASS_CSI_DRIVERS, value: {{ join "," $sidecar.csiDrivers | quote }}}
- {name: ACTPASS_EXTENDED_RESOURCES, value: {{ join "," $sidecar.extendedResources | quote }}}
- {name: ACTPASS_KUBERNETES_HOST, value: {{ $sidecar.kubernetesHost | quote }}}
{{- end }}

{{/*
How much counters grew in the time `over`. A counter that was not there at its beginning counts whole: Prometheus' `increase`
sees nothing of what a series begins with, so an agent's first burst of denials would be none. Where Prometheus itself was
away at that moment, all counters count whole until it has been back for as long: rather once too often.
*/}}
{{- define "actpass.grown" -}}
(({{ .of }} unless {{ .of }} offset {{ .over }}) or increase({{ .of }}[{{ .over }}]))
{{- end }}

{{/* An alert: its name leads to what to do. */}}
{{- define "actpass.alert" -}}
- alert: {{ .name }}
  expr: {{ .expr | trim | quote }}
  {{- with .for }}
  for: {{ . }}
  {{- end }}
  labels: {severity: {{ .severity }}}
  annotations:
    summary: {{ .summary | quote }}
    runbook_url: {{ printf "%s#%s" .root.Values.monitoring.runbooks (lower .name) | quote }}
{{- end }}
