{{- define "kube-agent.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "kube-agent.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "kube-agent.fullname" .) -}}
{{- end -}}

{{- define "kube-agent.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What finds the pods of this release; never changes. */}}
{{- define "kube-agent.selectorLabels" -}}
app.kubernetes.io/name: kube-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kube-agent.labels" -}}
{{ include "kube-agent.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{/*
The agent's own defaults of the settings that decide what a pod needs; test/deploy/chart.test.ts holds them to the agent's schema.
*/}}
{{- define "kube-agent.defaults" -}}
mode: observe
onExit: hold
classes: { label: kube-agent.io/qos-class }
pods: { source: auto }
identity: { coreScheduling: false, rootIdle: false }
own: { nice: -10, realtimePriority: 0 }
kubelet: { enabled: true }
cluster:
  server: ''
  kubelet: https://127.0.0.1:10250
  events: true
  condition: true
  annotations: true
  hotLabel: false
  hotTaint: false
evict: { enabled: false, force: false }
recording: { enabled: false, directory: /var/lib/kube-agent/recording }
{{- end -}}

{{/*
The settings among those above that are in force where these configurations are laid one over the other, a list; as YAML. Not by sprig's merge
functions: whether they let a false win over a true depends on their version.
*/}}
{{- define "kube-agent.settings" -}}
{{- $defaults := include "kube-agent.defaults" dict | fromYaml -}}
{{- $settings := deepCopy $defaults -}}
{{- range $layer := . -}}
{{- range $name, $default := $defaults -}}
{{- if hasKey $layer $name -}}
{{- $given := get $layer $name -}}
{{- if not (kindIs "map" $default) -}}
{{- $_ := set $settings $name $given -}}
{{- else if kindIs "map" $given -}}
{{- range $key := keys $default -}}
{{- if hasKey $given $key -}}
{{- $_ := set (get $settings $name) $key (get $given $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/*
The DaemonSets as YAML, {pools: […]}: each with its name, its selector, its effective settings as far as they are in the defaults above, and what
follows from them. The last one is for the nodes that are in no pool.
*/}}
{{- define "kube-agent.pools" -}}
{{- $root := . -}}
{{- $base := .Values.config | default dict -}}
{{- $before := list -}}
{{- $pools := list -}}
{{- range $pool := append .Values.pools (dict "name" "") -}}
{{- $settings := include "kube-agent.settings" (list $base ($pool.config | default dict)) | fromYaml -}}
{{- $expressions := $before -}}
{{- if $pool.name -}}
{{- $expressions = prepend $before (dict "key" $pool.nodeLabel "operator" "In" "values" $pool.values) -}}
{{- $before = append $before (dict "key" $pool.nodeLabel "operator" "NotIn" "values" $pool.values) -}}
{{- end -}}
{{- if ne (toString $pool.agent) "false" -}}
{{- $enforces := eq $settings.mode "enforce" -}}
{{- $releases := eq (toString (or $root.Values.releaseNodes $pool.release)) "true" -}}
{{- $writes := or $enforces $releases -}}
{{- $pools = append $pools (dict
  "name" $pool.name
  "expressions" $expressions
  "hasFile" (not (empty $pool.config))
  "settings" $settings
  "enforces" (and $enforces (not $releases))
  "releases" $releases
  "writes" $writes
) -}}
{{- end -}}
{{- end -}}
{{- dict "pools" $pools | toYaml -}}
{{- end -}}

{{/* Where the agent listens. */}}
{{- define "kube-agent.httpHost" -}}
{{- .Values.http.host | default (ternary "127.0.0.1" "0.0.0.0" .Values.hostNetwork) -}}
{{- end -}}

{{/* The settings that are the chart's: the first of the agent's files. */}}
{{- define "kube-agent.chartConfig" -}}
# What the chart decides: where things are mounted, and where the agent listens.
paths:
  cgroup: /host/sys/fs/cgroup
http:
  host: {{ include "kube-agent.httpHost" . | quote }}
  port: {{ .Values.http.port }}
{{- end -}}
