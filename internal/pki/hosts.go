package pki

import (
	"net"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Hosts are the names and addresses that clients use for a server: what
// kube-apiserver and kubeadm put into a serving certificate (the names of the
// kubernetes Service and its address, localhost), the address it listens on
// and the machine's name. For a server that listens on every address (0.0.0.0
// or ::) all of the machine's count. The result has no duplicates; a nil
// address is left out.
func Hosts(bind, service net.IP) []string {
	hosts := []string{
		"kubernetes",
		"kubernetes.default",
		"kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local",
		"localhost",
		"127.0.0.1",
		"::1",
	}
	add := func(host string) {
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if service != nil {
		add(service.String())
	}
	switch {
	case bind == nil:
	case bind.IsUnspecified():
		for _, ip := range interfaceAddresses() {
			add(ip.String())
		}
	default:
		add(bind.String())
	}
	// A machine may have any name; a certificate holds only proper ones.
	if name, err := os.Hostname(); err == nil {
		name = strings.ToLower(name)
		if len(validation.IsDNS1123Subdomain(name)) == 0 {
			add(name)
		}
	}
	return hosts
}

// interfaceAddresses are the machine's addresses that others can reach. It is
// best effort: without them, clients can still use the names.
func interfaceAddresses() []net.IP {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var ips []net.IP
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
			ips = append(ips, network.IP)
		}
	}
	return ips
}
