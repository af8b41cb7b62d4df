# What a change of the control plane that was cut off has left: the manifests of before come back, and nothing is known as done.
# $1: where the hash of the configuration is kept; $2: the folder of these manifests.
put_back "$2"
echo reverted >"$1"
rm -rf "$2"
