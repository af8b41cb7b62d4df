// Package rosetta says that no other processor is played. The docker program asks it only on a Mac; its module is offered by no
// module proxy we may count on.
package rosetta

// Enabled tells whether Apple's Rosetta runs this program.
func Enabled() bool { return false }

// NativeArch is the processor's architecture where Rosetta plays another one.
func NativeArch() string { return "" }
