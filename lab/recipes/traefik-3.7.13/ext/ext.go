// Package ext stands in for the fields that other products add to Traefik's configuration; upstream's own package has none.
package ext

// HTTP adds nothing to the configuration of HTTP.
type HTTP struct{}

// Router adds nothing to a router.
type Router struct{}
