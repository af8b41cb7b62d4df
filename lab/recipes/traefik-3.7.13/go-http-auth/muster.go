package auth

import (
	"net/http"
	"strings"
)

// CheckSecret says whether a password fits a line of an htpasswd file, as BasicAuth does.
func CheckSecret(password, secret string) bool {
	compare := compareFuncs[0].compare
	for _, known := range compareFuncs[1:] {
		if strings.HasPrefix(secret, known.prefix) {
			compare = known.compare
			break
		}
	}
	return compare([]byte(secret), []byte(password)) == nil
}

// RequireAuthStale asks for the login again; to the client an old nonce is one that was never given out.
func (a *DigestAuth) RequireAuthStale(w http.ResponseWriter, r *http.Request) {
	a.RequireAuth(w, r)
}
