// Package helmtestserver stands in for one that only tests use.
package helmtestserver
