{{/*
The name of all objects: the release's, so that two instances in one namespace are apart. A Service's name is a DNS
label; a release's name that isn't one is made one, with a hash so that no two become the same.
*/}}
{{- define "vvp.fullname" -}}
{{- if regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "vvp-%s-%s" (.Release.Name | replace "." "-" | trunc 40 | trimSuffix "-") (.Release.Name | sha256sum | trunc 8) -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods. It must not change during a release's life. */}}
{{- define "vvp.selectorLabels" -}}
app.kubernetes.io/name: vvp
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: ui
{{- end -}}

{{- define "vvp.labels" -}}
{{ include "vvp.selectorLabels" . }}
app.kubernetes.io/version: {{ include "vvp.tag" . | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "vvp.tag" -}}
{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
