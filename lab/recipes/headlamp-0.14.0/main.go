// Headlamp's server for the lab, where upstream's is not to be had: the same flags and the same paths, as far as its pages need them.
//
// It holds the pages, keeps the token that a user has given in a cookie that no script can read, and passes what the pages ask for
// on to the API server with that token. It never uses an account of its own.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

const (
	authority = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
	cookie    = "headlamp-token"
)

func main() {
	flag.Bool("in-cluster", true, "the only way that it runs")
	flag.String("plugins-dir", "", "it has none")
	cluster := flag.String("in-cluster-context-name", "main", "the name of the cluster")
	pages := flag.String("html-static-dir", "/headlamp/frontend", "the folder of the pages")
	port := flag.String("port", "4466", "where it listens")
	certificate := flag.String("tls-cert-path", "", "its certificate")
	key := flag.String("tls-key-path", "", "the key of it")
	session := flag.Int("session-ttl", 86400, "for how many seconds a browser stays logged in")
	flag.Parse()

	prefix := "/clusters/" + *cluster
	mux := http.NewServeMux()
	mux.HandleFunc("/config", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"clusters": []any{map[string]any{"name": *cluster, "auth_type": ""}}})
	})
	mux.HandleFunc("/plugins", func(w http.ResponseWriter, _ *http.Request) { answer(w, []any{}) })
	mux.HandleFunc(prefix+"/set-token", func(w http.ResponseWriter, r *http.Request) { logIn(w, r, prefix, *session) })
	mux.Handle(prefix+"/", http.StripPrefix(prefix, apiServer()))
	mux.Handle("/", files(*pages))
	server := &http.Server{Addr: ":" + *port, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServeTLS(*certificate, *key))
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

// logIn keeps a token, or forgets it where none is given.
func logIn(w http.ResponseWriter, r *http.Request, prefix string, session int) {
	var given struct {
		Token string `json:"token"`
	}
	// A form of another page cannot send this type.
	if r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") ||
		json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&given) != nil {
		http.Error(w, "a token is expected", http.StatusBadRequest)
		return
	}
	if given.Token == "" {
		session = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookie, Value: given.Token, Path: prefix, MaxAge: session,
		HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode,
	})
	answer(w, map[string]any{})
}

// apiServer passes requests on with the token of who asks.
func apiServer() http.Handler {
	pem, err := os.ReadFile(authority)
	if err != nil {
		log.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(pem)
	address := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	return &httputil.ReverseProxy{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}},
		// What is watched comes as it is sent.
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "https", Host: address})
			r.Out.Header.Del("Authorization")
			r.Out.Header.Del("Cookie")
			r.Out.Header.Del("Origin")
			if token, err := r.In.Cookie(cookie); err == nil {
				r.Out.Header.Set("Authorization", "Bearer "+token.Value)
			}
		},
	}
}

// files serves the pages; what is no file is a place inside of the one page.
func files(folder string) http.Handler {
	server := http.FileServer(http.Dir(folder))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Frame-Options", "DENY")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		file := filepath.Join(folder, filepath.FromSlash(path.Clean("/"+r.URL.Path)))
		if info, err := os.Stat(file); err != nil || info.IsDir() {
			http.ServeFile(w, r, filepath.Join(folder, "index.html"))
			return
		}
		server.ServeHTTP(w, r)
	})
}
