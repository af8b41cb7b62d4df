// Package controllers has what cilium takes of the module of this name, which no module proxy that we may count on offers.
package controllers

// DerivedServiceAnnotation names the service that is derived from a service import (KEP-1645).
const DerivedServiceAnnotation = "multicluster.kubernetes.io/derived-service"
