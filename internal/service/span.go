package service

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
)

// span is the addresses of a range that Services can have.
type span struct {
	first netip.Addr
	// size is how many there are, at most 2^63.
	size uint64
	// reserved is how many of them, from the first, are given away only when
	// no other is left, so that those who ask for an address find it free
	// (KEP-3070).
	reserved uint64
}

// spanOf returns the span of a masked prefix: all but the network's own
// address and, with IPv4, the broadcast address.
func spanOf(p netip.Prefix) span {
	total := uint64(1) << min(p.Addr().BitLen()-p.Bits(), 63)
	s := span{first: p.Addr().Next(), size: total - 1}
	if p.Addr().Is4() && s.size > 0 {
		s.size--
	}
	if total > 16 {
		s.reserved = min(max(total/16, 16), 256)
	}
	s.reserved = min(s.reserved, s.size)
	return s
}

// pick returns an address that is free: the first after a random one, beyond
// the reserved ones if possible.
func (s span) pick(free func(netip.Addr) bool) (netip.Addr, bool) {
	if ip, ok := s.pickFrom(s.reserved, s.size-s.reserved, free); ok {
		return ip, true
	}
	return s.pickFrom(0, s.reserved, free)
}

func (s span) pickFrom(offset, n uint64, free func(netip.Addr) bool) (netip.Addr, bool) {
	if n == 0 {
		return netip.Addr{}, false
	}
	start := rand.Uint64N(n)
	for i := range n {
		at := start + i
		if at >= n {
			at -= n
		}
		if ip := plus(s.first, offset+at); free(ip) {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// plus returns the address n after ip.
func plus(ip netip.Addr, n uint64) netip.Addr {
	b := ip.As16()
	low, carry := bits.Add64(binary.BigEndian.Uint64(b[8:]), n, 0)
	binary.BigEndian.PutUint64(b[8:], low)
	binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])+carry)
	sum := netip.AddrFrom16(b)
	if ip.Is4() {
		return sum.Unmap()
	}
	return sum
}
