# The few words people expect. Everything is plain Go underneath.
.PHONY: build test race lint bench twin twin-e2e twin-operator twin-identity twin-sharing twin-envtest

build:
	CGO_ENABLED=0 go build -o knarr ./cmd/knarr

test:
	go test ./...

race:
	go test -race ./internal/object ./internal/state ./internal/store/... ./internal/endpoint

lint:
	gofmt -l . && go vet ./...
	cd tools && go build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	bin/staticcheck ./...

# Both build kube-apiserver and etcd first, which takes a quarter of an hour
# on a small machine, once.
bench: build
	cd bench && go run . -results RESULTS.md

twin: build
	cd twin && go run .

# Upstream's end-to-end specs, and an operator made with controller-runtime.
twin-e2e:
	cd twin && go run ./e2e

twin-operator:
	cd twin && go run ./operator

# Other people's suites that use envtest.
twin-envtest:
	cd twin && go run ./envtest -results ENVTEST.md

twin-identity:
	cd twin && go run ./identity

.PHONY: twin-conformance twin-cluster twin-helm judges
# Upstream's conformance specs, what people do on clusters and 5,000 pods, and Helm's charts:
# each with upstream's kube-controller-manager and kube-scheduler and with simulated nodes.
# A run of the specs that was interrupted goes on where it was.
twin-conformance: build
	cd twin && go run ./e2e -conformance -knarr ../knarr

twin-cluster: build
	cd twin && go run ./cluster -knarr ../knarr

twin-helm: build
	cd twin && go run ./helm -knarr ../knarr

# Everything that judges knarr by other people's clients and specs: some hours, and what it
# finds is in twin/*.md. With -k all are run even if one fails.
judges: twin twin-e2e twin-operator twin-identity twin-envtest twin-conformance twin-cluster twin-helm

twin-sharing:
	cd twin && go run ./sharing && go run ./sharing -encrypted && go run ./sharing -paused
