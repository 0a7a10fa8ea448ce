{{/*
What the container of the agent and the one that releases have in common: image, rights, environment, mounts. `writes`: whether it may write to
the node; without, it has no capability and nothing of the node is mounted writable but, for recording.enabled, the state directory.
*/}}
{{- define "kube-agent.container" -}}
{{- $values := .root.Values -}}
{{- $settings := .pool.settings -}}
{{- $agent := and .writes .pool.enforces -}}
{{- $capabilities := list -}}
{{- if and $agent (or (ne (int $settings.own.nice) 0) (ne (int $settings.own.realtimePriority) 0)) -}}
{{- $capabilities = append $capabilities "SYS_NICE" -}}
{{- end -}}
{{- if and .writes $settings.identity.coreScheduling -}}
{{- $capabilities = append $capabilities "SYS_PTRACE" -}}
{{- end -}}
image: {{ include "kube-agent.image" .root | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
env:
  # Laid one over the other. `kubectl exec POD -- kube-agent status` and the other verbs go by them too.
  - name: KUBE_AGENT_CONFIG
    value: /etc/kube-agent/chart.yaml:/etc/kube-agent/cluster.yaml{{ if .pool.hasFile }}:/etc/kube-agent/pool.yaml{{ end }}
  - name: NODE_NAME
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
resources:
  {{- toYaml $values.resources | nindent 2 }}
securityContext:
  # Root, who owns cgroup files and the kubelet's sockets; with no capability but these it can do nothing else of root's.
  runAsUser: 0
  runAsGroup: 0
  privileged: false
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    {{- with $capabilities }}
    add: {{ toJson . }}
    {{- end }}
  seccompProfile:
    type: RuntimeDefault
  {{- with $values.appArmorProfile }}
  appArmorProfile:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.seLinuxOptions }}
  seLinuxOptions:
    {{- toYaml . | nindent 4 }}
  {{- end }}
volumeMounts:
  - { name: config, mountPath: /etc/kube-agent, readOnly: true }
  {{- /* Under cgroup v1 each controller is a mount of its own below this one, which readOnly does not reach. Kubernetes before 1.31 does not know better. */}}
  {{- $deeply := and (not .writes) (semverCompare ">=1.31-0" .root.Capabilities.KubeVersion.Version) }}
  - { name: cgroup, mountPath: /host/sys/fs/cgroup, readOnly: {{ not .writes }}{{ if $deeply }}, recursiveReadOnly: IfPossible{{ end }} }
  {{- if .writes }}
  - { name: state, mountPath: /run/kube-agent }
  {{- end }}
  {{- if and (or $agent (not .writes)) $settings.recording.enabled }}
  - { name: recording, mountPath: /var/lib/kube-agent }
  {{- end }}
  {{- if and $agent $settings.kubelet.enabled }}
  - { name: device-plugins, mountPath: /var/lib/kubelet/device-plugins }
  # To connect to a socket, a read-only mount is enough.
  - { name: pod-resources, mountPath: /var/lib/kubelet/pod-resources, readOnly: true }
  {{- end }}
{{- end -}}

{{/* The configuration of each pool by its name, as YAML; that of no pool is empty. */}}
{{- define "kube-agent.poolConfigs" -}}
{{- $configs := dict "" "" -}}
{{- range .Values.pools -}}
{{- $_ := set $configs .name (.config | default dict | toYaml) -}}
{{- end -}}
{{- toYaml $configs -}}
{{- end -}}
