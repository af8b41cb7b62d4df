// Package errors names the error type that flannel's tencent-vpc backend looks for.
package errors

// TencentCloudSDKError is an error answered by the cloud's interface.
type TencentCloudSDKError struct{ Message string }

func (e *TencentCloudSDKError) Error() string { return e.Message }
