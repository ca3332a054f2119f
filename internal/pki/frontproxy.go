package pki

// FrontProxyUser is the common name of a front proxy's certificate, as kubeadm
// has it.
const FrontProxyUser = "front-proxy-client"

// The files of front proxies, as kubeadm names them, and the common name of
// their authority.
const (
	frontProxyAuthorityFile = "front-proxy-ca"
	frontProxyFile          = "front-proxy-client"
	frontProxyAuthorityName = "front-proxy-ca"
)

// FrontProxies is how servers believe each other who asks: one that passes a
// request on to another shows a certificate of an authority that is for nothing
// else. It is immutable.
type FrontProxies struct {
	CA *Authority
	// Client is what this server shows others.
	Client *Pair
}

// NewFrontProxies makes the certificates in memory.
func NewFrontProxies(o Options) (*FrontProxies, error) {
	ca, err := makeAuthority(frontProxyAuthorityName, o)
	if err != nil {
		return nil, err
	}
	pair, err := ca.issueNew(client(FrontProxyUser))
	if err != nil {
		return nil, err
	}
	return &FrontProxies{ca, pair}, nil
}

// LoadFrontProxies reads the certificates kept in dir, and makes what is not
// there yet, as Load does.
func LoadFrontProxies(dir string, o Options) (*FrontProxies, error) {
	return load(dir, o, directory.frontProxies)
}

func (d directory) frontProxies() (*FrontProxies, error) {
	ca, err := d.authority(frontProxyAuthorityFile, frontProxyAuthorityName,
		"remove "+frontProxyAuthorityFile+".crt and "+frontProxyAuthorityFile+".key to make new ones, servers of APIServices then need the new "+frontProxyAuthorityFile+".crt")
	if err != nil {
		return nil, err
	}
	pair, err := d.issued(ca, frontProxyFile, client(FrontProxyUser))
	if err != nil {
		return nil, err
	}
	return &FrontProxies{ca, pair}, nil
}
