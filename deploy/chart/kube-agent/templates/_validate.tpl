{{/*
What the schema of the values can't say: values that are good alone and can't work together. Each failure names the values, the reason and the way
out.
*/}}
{{- define "kube-agent.validate" -}}
{{- $root := . -}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled -}}
{{- fail "podMonitor.enabled and serviceMonitor.enabled: Prometheus would scrape every agent twice; choose one" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.enabled) -}}
{{- fail "serviceMonitor.enabled: finds agents by their Service, and service.enabled is false; use podMonitor or enable the Service" -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (empty .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false: serviceAccount.name has to name the one to use" -}}
{{- end -}}
{{- $monitored := or .Values.podMonitor.enabled .Values.serviceMonitor.enabled -}}
{{- $host := include "kube-agent.httpHost" . -}}
{{- $loopback := or (hasPrefix "127." $host) (eq $host "::1") (eq $host "localhost") -}}
{{- if and $loopback $monitored -}}
{{- fail (printf "http.host is %s, where Prometheus can't reach the agents, and podMonitor or serviceMonitor is enabled; with hostNetwork set http.host to 0.0.0.0 (whoever reaches the node may then read it) or put a proxy in front" $host) -}}
{{- end -}}
{{- if and $loopback (not .Values.hostNetwork) -}}
{{- fail (printf "http.host is %s, which in the pod's own network is out of the kubelet's reach: all probes would fail; leave it empty" $host) -}}
{{- end -}}
{{- if .Values.hostNetwork -}}
{{- $taken := dict "10248" "the kubelet's healthz" "10249" "kube-proxy's metrics" "10250" "the kubelet" "10255" "the kubelet's read-only port" "10256" "kube-proxy's healthz" "9100" "node_exporter" -}}
{{- with get $taken (toString (int $root.Values.http.port)) -}}
{{- fail (printf "hostNetwork and http.port %d: that port of the node is for %s; choose another" (int $root.Values.http.port) .) -}}
{{- end -}}
{{- if .Values.networkPolicy.enabled -}}
{{- fail "networkPolicy.enabled with hostNetwork: a NetworkPolicy does not apply to pods in the node's network, so it would protect nothing" -}}
{{- end -}}
{{- end -}}
{{- $max := toString .Values.updateStrategy.maxUnavailable -}}
{{- if or (eq $max "0") (eq $max "0%") -}}
{{- fail "updateStrategy.maxUnavailable is 0: nothing would ever be updated, since two agents can't be on one node (there is no maxSurge)" -}}
{{- end -}}
{{- include "kube-agent.validatePools" . -}}
{{- range (include "kube-agent.pools" . | fromYaml).pools -}}
{{- include "kube-agent.validateSettings" (dict "root" $root "pool" .) -}}
{{- end -}}
{{- end -}}

{{- define "kube-agent.validatePools" -}}
{{- $names := list -}}
{{- $nodes := dict -}}
{{- range $pool := .Values.pools -}}
{{- if has $pool.name $names -}}
{{- fail (printf "pools: the name %s is given twice" $pool.name) -}}
{{- end -}}
{{- $names = append $names $pool.name -}}
{{- if and (eq (toString $pool.agent) "false") $pool.config -}}
{{- fail (printf "pools: %s has agent: false and a config, which nobody would read" $pool.name) -}}
{{- end -}}
{{- if and (eq (toString $pool.agent) "false") $pool.release -}}
{{- fail (printf "pools: %s has agent: false and release: true: nobody would put its nodes back; take agent: false when they have been" $pool.name) -}}
{{- end -}}
{{- range $value := $pool.values -}}
{{- $node := printf "%s=%s" $pool.nodeLabel $value -}}
{{- with get $nodes $node -}}
{{- fail (printf "pools: nodes with %s are in %s already, and the first pool counts: they would never be in %s" $node . $pool.name) -}}
{{- end -}}
{{- $_ := set $nodes $node $pool.name -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-agent.validateSettings" -}}
{{- $values := .root.Values -}}
{{- $settings := .pool.settings -}}
{{- $where := ternary "config" (printf "pools: %s: config" .pool.name) (empty .pool.name) -}}
{{- if eq $settings.pods.source "directory" -}}
{{- fail (printf "%s.pods.source is directory, and no directory of manifests is mounted; use api, or kubelet with hostNetwork" $where) -}}
{{- end -}}
{{- if and (eq $settings.pods.source "kubelet") (not $values.hostNetwork) (regexMatch "^https://(127\\.|localhost|\\[::1\\])" $settings.cluster.kubelet) -}}
{{- fail (printf "%s.pods.source is kubelet at %s, which from the pod's own network is the pod itself; set hostNetwork: true" $where $settings.cluster.kubelet) -}}
{{- end -}}
{{- if and $settings.recording.enabled (not (hasPrefix "/var/lib/kube-agent/" $settings.recording.directory)) -}}
{{- fail (printf "%s.recording.directory is %s, where nothing is mounted; choose one below /var/lib/kube-agent, which is hostPaths.recording of the node" $where $settings.recording.directory) -}}
{{- end -}}
{{- if and $settings.evict.force (not $settings.evict.enabled) -}}
{{- fail (printf "%s.evict.force without evict.enabled: nothing would ever be evicted" $where) -}}
{{- end -}}
{{- if and $settings.evict.enabled (ne $settings.mode "enforce") -}}
{{- fail (printf "%s.evict.enabled needs mode: enforce, not %s: an agent that only looks evicts nobody" $where $settings.mode) -}}
{{- end -}}
{{- if and $settings.evict.enabled (not $values.rbac.create) (not $values.rbac.evictionsGranted) -}}
{{- fail (printf "%s.evict.enabled with rbac.create: false: every eviction would be forbidden; grant create on pods/eviction to the account (delete on pods too for evict.force) and set rbac.evictionsGranted: true" $where) -}}
{{- end -}}
{{- if and (eq $settings.mode "enforce") (eq $settings.onExit "release") (not $settings.identity.rootIdle) -}}
{{- fail (printf "%s.onExit is release: every restart and update of an agent would take all limits away from pods that go on running; leave it at hold, and use releaseNodes before an uninstall" $where) -}}
{{- end -}}
{{- end -}}
