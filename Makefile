# The few words people expect. Everything is plain Go underneath.
.PHONY: build test race lint bench twin twin-e2e twin-operator twin-identity twin-envtest

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
