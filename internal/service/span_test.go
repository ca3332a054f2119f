package service

import (
	"net/netip"
	"testing"
)

func TestSpan(t *testing.T) {
	for _, test := range []struct {
		prefix         string
		first, last    string
		size, reserved uint64
	}{
		{"10.0.0.0/24", "10.0.0.1", "10.0.0.254", 254, 16},
		{"10.0.0.0/16", "10.0.0.1", "10.0.255.254", 65534, 256},
		{"10.0.0.0/28", "10.0.0.1", "10.0.0.14", 14, 0},
		{"10.0.0.0/27", "10.0.0.1", "10.0.0.30", 30, 16},
		{"10.0.0.0/31", "10.0.0.1", "", 0, 0},
		{"10.0.0.0/32", "10.0.0.1", "", 0, 0},
		{"fd00::/112", "fd00::1", "fd00::ffff", 65535, 256},
		{"fd00::/64", "fd00::1", "fd00::7fff:ffff:ffff:ffff", 1<<63 - 1, 256},
	} {
		s := spanOf(netip.MustParsePrefix(test.prefix))
		if s.first.String() != test.first || s.size != test.size || s.reserved != test.reserved {
			t.Errorf("%s: %+v", test.prefix, s)
		}
		if test.size > 0 {
			if last := plus(s.first, s.size-1); last.String() != test.last {
				t.Errorf("%s: ends with %s, want %s", test.prefix, last, test.last)
			}
		}
	}
}

// TestPick picks all addresses of a range, one after the other.
func TestPick(t *testing.T) {
	s := spanOf(netip.MustParsePrefix("10.0.0.0/24"))
	taken := map[netip.Addr]bool{}
	free := func(ip netip.Addr) bool { return !taken[ip] }
	for i := range s.size {
		ip, ok := s.pick(free)
		if !ok || taken[ip] || ip.Compare(s.first) < 0 || ip.Compare(plus(s.first, s.size-1)) > 0 {
			t.Fatalf("pick %d: %s %v", i, ip, ok)
		}
		if reserved := ip.Compare(plus(s.first, s.reserved)) < 0; reserved != (i >= s.size-s.reserved) {
			t.Fatalf("pick %d is %s", i, ip)
		}
		taken[ip] = true
	}
	if ip, ok := s.pick(free); ok {
		t.Errorf("picked %s when all are taken", ip)
	}
}
