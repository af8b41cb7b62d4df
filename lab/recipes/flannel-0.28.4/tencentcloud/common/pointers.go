// Package common holds the pointer helpers that flannel's tencent-vpc backend calls.
package common

// StringPtr returns a pointer to a copy of s.
func StringPtr(s string) *string { return &s }

// BoolPtr returns a pointer to a copy of b.
func BoolPtr(b bool) *bool { return &b }

// StringPtrs returns a pointer for each string of list.
func StringPtrs(list []string) []*string {
	pointers := make([]*string, len(list))
	for i := range list {
		pointers[i] = &list[i]
	}
	return pointers
}
