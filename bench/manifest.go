package main

import "fmt"

func podName(i int) string { return fmt.Sprintf("web-6f7d9c5b8d-%05d", i) }

// podManifest is a pod of about 3 KB, such as a Deployment's ReplicaSet would create:
// two containers and an init container with environment, probes, resources and mounts.
func podManifest(i int) []byte {
	return fmt.Appendf(nil, podTemplate, podName(i), i%50, i%1000, i, i)
}

func configManifest(i int) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"config-%05d","labels":{"app":"web"}},`+
		`"data":{"mode":"production","number":"%d","settings.yaml":"level: info\nworkers: 4\ntimeout: 30s\n"}}`, i, i)
}

const podTemplate = `{
"apiVersion":"v1","kind":"Pod",
"metadata":{"name":%q,
"labels":{"app.kubernetes.io/name":"web","app.kubernetes.io/part-of":"shop","app.kubernetes.io/version":"1.24.%d","pod-template-hash":"6f7d9c5b8d","shard":"%d"},
"annotations":{"prometheus.io/scrape":"true","prometheus.io/port":"9090","example.com/config-checksum":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","example.com/number":"%d"},
"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-6f7d9c5b8d","uid":"6f1c9d52-1f3e-4f4b-9d5e-0c8a7e2b4d10","controller":true,"blockOwnerDeletion":true}]},
"spec":{
"serviceAccountName":"web","nodeSelector":{"kubernetes.io/os":"linux"},
"securityContext":{"runAsNonRoot":true,"runAsUser":1000,"fsGroup":2000},
"initContainers":[{"name":"migrate","image":"registry.example.com/shop/migrate:1.24.0","args":["--wait","--target=latest"],"volumeMounts":[{"name":"config","mountPath":"/etc/shop","readOnly":true}]}],
"containers":[
{"name":"web","image":"registry.example.com/shop/web:1.24.0","args":["--listen=:8080","--number=%d"],
"ports":[{"name":"http","containerPort":8080},{"name":"metrics","containerPort":9090}],
"env":[{"name":"MODE","value":"production"},{"name":"LOG_LEVEL","value":"info"},{"name":"DATABASE_HOST","value":"db.shop.svc.cluster.local"},{"name":"DATABASE_PASSWORD","valueFrom":{"secretKeyRef":{"name":"db","key":"password"}}},{"name":"POD_IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},{"name":"POD_NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],
"resources":{"requests":{"cpu":"250m","memory":"256Mi"},"limits":{"memory":"512Mi"}},
"livenessProbe":{"httpGet":{"path":"/healthz","port":"http"},"initialDelaySeconds":10},
"readinessProbe":{"httpGet":{"path":"/readyz","port":"http"},"periodSeconds":5},
"securityContext":{"allowPrivilegeEscalation":false,"readOnlyRootFilesystem":true,"capabilities":{"drop":["ALL"]}},
"volumeMounts":[{"name":"config","mountPath":"/etc/shop","readOnly":true},{"name":"scratch","mountPath":"/tmp"},{"name":"tls","mountPath":"/etc/tls","readOnly":true}]},
{"name":"proxy","image":"registry.example.com/mesh/proxy:2.9.1","ports":[{"name":"mesh","containerPort":15001}],
"env":[{"name":"UPSTREAM","value":"127.0.0.1:8080"}],
"resources":{"requests":{"cpu":"50m","memory":"64Mi"}},
"volumeMounts":[{"name":"scratch","mountPath":"/tmp"}]}],
"volumes":[{"name":"config","configMap":{"name":"web","items":[{"key":"settings.yaml","path":"settings.yaml"}]}},{"name":"scratch","emptyDir":{"sizeLimit":"64Mi"}},{"name":"tls","secret":{"secretName":"web-tls"}}],
"tolerations":[{"key":"dedicated","operator":"Equal","value":"shop","effect":"NoSchedule"}],
"affinity":{"podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":100,"podAffinityTerm":{"topologyKey":"kubernetes.io/hostname","labelSelector":{"matchLabels":{"app.kubernetes.io/name":"web"}}}}]}}
}}`
