package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
)

// serveWebhook answers TokenReviews: it knows tokens that begin with hook-.
func serveWebhook(arguments []string) error {
	if len(arguments) != 2 {
		return errors.New("webhook needs a certificate and a key")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("https://" + listener.Addr().String())
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review authenticationv1.TokenReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		user := authenticationv1.UserInfo{Username: "hook:" + review.Spec.Token, UID: "hook-uid", Groups: []string{"hooked"}, Extra: map[string]authenticationv1.ExtraValue{"example.com/via": {"hook", "line"}}}
		switch token := review.Spec.Token; {
		case token == "hook-broken":
			http.Error(w, "broken", http.StatusConflict)
			return
		case token == "hook-elsewhere":
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: user, Audiences: []string{"elsewhere"}}
		case token == "hook-here":
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: user, Audiences: review.Spec.Audiences}
		case token == "hook-refused":
			review.Status = authenticationv1.TokenReviewStatus{Error: "refused by the webhook"}
		case strings.HasPrefix(token, "hook-"):
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: user}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	})}
	return server.ServeTLS(listener, arguments[0], arguments[1])
}

// serveFrontProxy passes requests on to a server in the name of who logs in by basic
// authentication, as a proxy that knows users would.
func serveFrontProxy(arguments []string) error {
	if len(arguments) != 3 {
		return errors.New("frontproxy needs a URL, a certificate and a key")
	}
	target, err := url.Parse(arguments[0])
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(arguments[1], arguments[2])
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}}, // which server is no matter here
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			for name := range r.Out.Header {
				if strings.HasPrefix(name, "X-Remote-") {
					r.Out.Header.Del(name)
				}
			}
			if user, group, ok := r.In.BasicAuth(); ok {
				r.Out.Header.Del("Authorization")
				r.Out.Header.Set("X-Remote-User", user)
				r.Out.Header.Set("X-Remote-Group", group)
				r.Out.Header.Set("X-Remote-Extra-Acme.com%2fproject", "some project")
			}
		},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + listener.Addr().String())
	return (&http.Server{Handler: proxy, ReadHeaderTimeout: 10 * time.Second}).Serve(listener)
}

// providerClient gets tokens from the provider.
type providerClient struct {
	issuer string
	caJSON string
	client *http.Client
}

func newProviderClient(issuer, caFile string) (*providerClient, error) {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	quoted, err := json.Marshal(string(ca))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &providerClient{issuer, string(quoted), &http.Client{
		Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(r.URL.String(), callback) {
				return http.ErrUseLastResponse // the code is in it
			}
			return nil
		},
	}}, nil
}

const callback = "http://127.0.0.1/callback"

var loginForm = regexp.MustCompile(`name="id" value="([^"]*)"`)

// login returns an ID token as a user gets it: by a login page, and a code that is
// exchanged for it.
func (p *providerClient) login(user string) (string, error) {
	query := url.Values{"client_id": {"twin"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid profile email"}, "state": {"s"}}
	page, err := p.client.Get(p.issuer + "/auth?" + query.Encode())
	if err != nil {
		return "", err
	}
	text, err := readAll(page)
	if err != nil {
		return "", err
	}
	id := page.Request.URL.Query().Get("authRequestID")
	if m := loginForm.FindStringSubmatch(text); m != nil {
		id = html.UnescapeString(m[1])
	}
	answer, err := p.client.PostForm(p.issuer+"/login/username", url.Values{"username": {user}, "password": {"verysecure"}, "id": {id}})
	if err != nil {
		return "", err
	}
	if text, err = readAll(answer); err != nil {
		return "", err
	}
	back, err := answer.Location()
	if err != nil {
		return "", fmt.Errorf("the provider does not send users back: %s %s", answer.Status, text)
	}
	request, err := http.NewRequest(http.MethodPost, p.issuer+"/oauth/token", strings.NewReader(url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {callback},
	}.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth("twin", "secret")
	if answer, err = p.client.Do(request); err != nil {
		return "", err
	}
	if text, err = readAll(answer); err != nil {
		return "", err
	}
	var tokens struct {
		ID string `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(text), &tokens); err != nil || tokens.ID == "" {
		return "", fmt.Errorf("the provider gives no token: %s", text)
	}
	return tokens.ID, nil
}

// sign returns a token of claims beside those that all have, unless they are told.
func (p *providerClient) sign(claims map[string]any) (string, error) {
	all := map[string]any{"iss": p.issuer, "aud": "twin", "sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}
	for name, value := range claims {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	body, err := json.Marshal(all)
	if err != nil {
		return "", err
	}
	answer, err := p.client.Post(p.issuer+"/test/sign", "application/json", strings.NewReader(string(body)))
	if err != nil {
		return "", err
	}
	return readAll(answer)
}

func readAll(r *http.Response) (string, error) {
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode >= 400 {
		err = fmt.Errorf("%s: %s: %s", r.Request.URL, r.Status, body)
	}
	return string(body), err
}
