# Whether the API server of this machine says that it is ready; asked by keepalived. One that answers nobody without a name
# (401, 403) is taken for ready.
# $1: its port; $2: what it is asked.
said=$(curl -sk -o /dev/null -w '%{http_code}' --max-time 4 "https://127.0.0.1:$1$2")
case $said in 200 | 401 | 403) exit 0 ;; esac
exit 1
