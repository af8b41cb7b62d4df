# Fails as long as namespaces with these labels are there, and prints what each still waits for.
left=$(kubectl get namespaces --selector "$1" -o go-template='{{range .items}}{{.metadata.name}}:{{range .status.conditions}}{{if eq .status "True"}} {{.message}};{{end}}{{end}}
{{end}}')
[ -z "$left" ] || { printf '%s\n' "$left"; exit 1; }
