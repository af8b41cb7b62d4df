#!/bin/sh
# What can be seen on a machine of the CIS Kubernetes Benchmark, v1.11: a line for each item, `NUMBER yes` or `NUMBER no`. Read-only.
# On a control plane the items of parts 1 and 2, on every node those of part 4; docs/hardening.md says what they are.
# muster exec k8s_cluster -- "$(cat scripts/cis.sh)"
set -u
manifests=/etc/kubernetes/manifests
pki=$(sed -n 's/^ *- --client-ca-file=//p' "$manifests/kube-apiserver.yaml" 2>/dev/null)
pki=${pki%/*}
[ -n "$pki" ] || pki=$(sed -n 's/^ *clientCAFile: *//p' /var/lib/kubelet/config.yaml)
case $pki in *.crt) pki=${pki%/*} ;; esac

# item NUMBER COMMAND...: yes where the command succeeds.
item() {
  number=$1
  shift
  if "$@" >/dev/null 2>&1; then echo "$number yes"; else echo "$number no"; fi
}
# closed MODE FILE...: nobody has more rights to any of them; those that are not there have none.
closed() {
  most=$1
  shift
  for path; do
    [ -e "$path" ] || continue
    [ $((0$(stat -L -c %a "$path") & ~0$most)) = 0 ] || return 1
  done
}
owned() {
  for path; do
    [ ! -e "$path" ] || [ "$(stat -L -c %U:%G "$path")" = root:root ] || return 1
  done
}
# flag PROGRAM NAME: the value of an argument of a program of the control plane.
flag() { sed -n "s/^ *- --$2=//p" "$manifests/kube-$1.yaml"; }
is() { [ "$(flag "$1" "$2")" = "$3" ]; }
set_to_something() {
  program=$1
  shift
  for name; do [ -n "$(flag "$program" "$name")" ] || return 1; done
}
has() { case ",$(flag "$1" "$2")," in *",$3,"*) ;; *) return 1 ;; esac }
hasnt() { ! has "$@"; }
# Those that Kubernetes has on unless somebody takes them out.
plugin() { hasnt apiserver disable-admission-plugins "$1"; }
anonymous() {
  is apiserver anonymous-auth false && return
  # Or only where probes ask.
  file=$(flag apiserver authentication-config)
  [ -n "$file" ] && grep -q anonymous "$file" && grep -q /livez "$file"
}
# mode NAME: whether who may what is decided by it.
mode() {
  file=$(flag apiserver authorization-config)
  if [ -n "$file" ]; then grep -q "type: *\"*$1" "$file"; else has apiserver authorization-mode "$1"; fi
}
encrypted() {
  file=$(flag apiserver encryption-provider-config)
  [ -n "$file" ] && tr -d ' \n"' <"$file" | grep -qE 'providers:\[\{(aescbc|secretbox|kms):'
}
# strong LIST: every cipher of it has forward secrecy and authenticates what it encrypts.
strong() {
  [ -n "$1" ] || return 1
  for cipher in $(echo "$1" | tr ',' ' '); do
    case $cipher in
      TLS_ECDHE_*_GCM_* | TLS_ECDHE_*_CHACHA20_POLY1305* | TLS_AES_* | TLS_CHACHA20_*) ;;
      *) return 1 ;;
    esac
  done
}
least() { [ "$(flag "$1" "$2")" -ge "$3" ]; }
etcd() { grep -qsx "$1" /etc/etcd.env; }

if [ -e "$manifests/kube-apiserver.yaml" ]; then
  place=1
  for name in kube-apiserver kube-controller-manager kube-scheduler etcd; do
    item "1.1.$place" closed 600 "$manifests/$name.yaml"
    item "1.1.$((place + 1))" owned "$manifests/$name.yaml"
    place=$((place + 2))
  done
  item 1.1.9 closed 600 /etc/cni/net.d/*
  item 1.1.10 owned /etc/cni/net.d/*
  data=$(sed -n 's/^ETCD_DATA_DIR=//p' /etc/etcd.env 2>/dev/null)
  item 1.1.11 closed 700 "${data:-/nowhere}"
  item 1.1.12 test "$(stat -c %U:%G "${data:-/nowhere}" 2>/dev/null)" = etcd:etcd
  place=13
  for name in admin scheduler controller-manager; do
    item "1.1.$place" closed 600 "/etc/kubernetes/$name.conf"
    item "1.1.$((place + 1))" owned "/etc/kubernetes/$name.conf"
    place=$((place + 2))
  done
  item 1.1.19 owned "$pki" "$pki"/*
  item 1.1.20 closed 644 "$pki"/*.crt
  item 1.1.21 closed 600 "$pki"/*.key
  item 1.2.1 anonymous
  item 1.2.2 test -z "$(flag apiserver token-auth-file)"
  item 1.2.3 has apiserver enable-admission-plugins DenyServiceExternalIPs
  item 1.2.4 set_to_something apiserver kubelet-client-certificate kubelet-client-key
  item 1.2.5 set_to_something apiserver kubelet-certificate-authority
  item 1.2.6 hasnt apiserver authorization-mode AlwaysAllow
  item 1.2.7 mode Node
  item 1.2.8 mode RBAC
  item 1.2.9 has apiserver enable-admission-plugins EventRateLimit
  item 1.2.10 hasnt apiserver enable-admission-plugins AlwaysAdmit
  item 1.2.11 has apiserver enable-admission-plugins AlwaysPullImages
  item 1.2.12 plugin ServiceAccount
  item 1.2.13 plugin NamespaceLifecycle
  item 1.2.14 has apiserver enable-admission-plugins NodeRestriction
  item 1.2.15 is apiserver profiling false
  item 1.2.16 set_to_something apiserver audit-log-path
  item 1.2.17 least apiserver audit-log-maxage 30
  item 1.2.18 least apiserver audit-log-maxbackup 10
  item 1.2.19 least apiserver audit-log-maxsize 100
  # Kubernetes has a minute.
  item 1.2.20 test "$(flag apiserver request-timeout)" != 0
  item 1.2.21 test "$(flag apiserver service-account-lookup)" != false
  item 1.2.22 set_to_something apiserver service-account-key-file
  item 1.2.23 set_to_something apiserver etcd-certfile etcd-keyfile
  item 1.2.24 set_to_something apiserver tls-cert-file tls-private-key-file
  item 1.2.25 set_to_something apiserver client-ca-file
  item 1.2.26 set_to_something apiserver etcd-cafile
  item 1.2.27 set_to_something apiserver encryption-provider-config
  item 1.2.28 encrypted
  item 1.2.29 strong "$(flag apiserver tls-cipher-suites)"
  item 1.2.30 is apiserver service-account-extend-token-expiration false
  item 1.3.1 set_to_something controller-manager terminated-pod-gc-threshold
  item 1.3.2 is controller-manager profiling false
  item 1.3.3 is controller-manager use-service-account-credentials true
  item 1.3.4 set_to_something controller-manager service-account-private-key-file
  item 1.3.5 set_to_something controller-manager root-ca-file
  item 1.3.6 hasnt controller-manager feature-gates RotateKubeletServerCertificate=false
  item 1.3.7 is controller-manager bind-address 127.0.0.1
  item 1.4.1 is scheduler profiling false
  item 1.4.2 is scheduler bind-address 127.0.0.1
fi
if [ -e /etc/etcd.env ]; then
  item 2.1 grep -q '^ETCD_CERT_FILE=/' /etc/etcd.env
  item 2.2 etcd ETCD_CLIENT_CERT_AUTH=true
  item 2.3 test "$(grep -c '^ETCD_AUTO_TLS=true' /etc/etcd.env)" = 0
  item 2.4 grep -q '^ETCD_PEER_CERT_FILE=/' /etc/etcd.env
  item 2.5 etcd ETCD_PEER_CLIENT_CERT_AUTH=true
  item 2.6 test "$(grep -c '^ETCD_PEER_AUTO_TLS=true' /etc/etcd.env)" = 0
  authority=$(sed -n 's/^ETCD_TRUSTED_CA_FILE=//p' /etc/etcd.env)
  differs() { [ -s "$1" ] && ! cmp -s "$1" "$2"; }
  item 2.7 differs "$authority" "$pki/ca.crt"
fi
if [ -e "$manifests/kube-apiserver.yaml" ]; then
  item 3.2.1 set_to_something apiserver audit-policy-file
fi

config=/var/lib/kubelet/config.yaml
# field NAME: the value of a field of the kubelet's configuration.
field() { sed -n "s/^$1: *//p" "$config" | tr -d '"'; }
# below NAME FIELD: the value of a field two levels down: authentication.anonymous.enabled.
below() {
  awk -v part="$1" -v field="$2" '
    /^[^ ]/ { top = $1 }
    top == "authentication:" && /^  [^ ]/ { inside = $1 == part ":" }
    inside && $1 == field ":" { print $2 }' "$config"
}
unit=$(systemctl show -p FragmentPath --value kubelet)
arguments=$(tr '\0' '\n' <"/proc/$(systemctl show -p MainPID --value kubelet)/cmdline")
item 4.1.1 closed 600 "$unit"
item 4.1.2 owned "$unit"
# kube-proxy has its kubeconfig in a ConfigMap.
item 4.1.3 closed 600 /etc/kubernetes/kube-proxy.conf
item 4.1.4 owned /etc/kubernetes/kube-proxy.conf
item 4.1.5 closed 600 /etc/kubernetes/kubelet.conf
item 4.1.6 owned /etc/kubernetes/kubelet.conf
item 4.1.7 closed 644 "$pki/ca.crt"
item 4.1.8 owned "$pki/ca.crt"
item 4.1.9 closed 600 "$config"
item 4.1.10 owned "$config"
item 4.2.1 test "$(below anonymous enabled)" = false
item 4.2.2 test "$(sed -n 's/^  mode: *//p' "$config")" = Webhook
item 4.2.3 test -n "$(below x509 clientCAFile)"
item 4.2.4 test "0$(field readOnlyPort)" -eq 0
item 4.2.5 test "$(field streamingConnectionIdleTimeout)" != 0
item 4.2.6 test "$(field makeIPTablesUtilChains)" != false
# One that is the machine's own name changes nothing.
overridden=$(echo "$arguments" | sed -n 's/^--hostname-override=//p')
item 4.2.7 test "${overridden:-$(hostname)}" = "$(hostname)"
item 4.2.8 test "$(field eventRecordQPS)" != -1
tls=$(field tlsCertFile)$(field serverTLSBootstrap)
item 4.2.9 test -n "$tls"
item 4.2.10 test "$(field rotateCertificates)" = true
item 4.2.11 test "$(field serverTLSBootstrap)" = true
item 4.2.12 strong "$(awk '/^[^ -]/ { inside = $1 == "tlsCipherSuites:" } inside && $1 == "-" { printf "%s,", $2 }' "$config")"
item 4.2.13 test -n "$(field podPidsLimit)"
item 4.2.14 test "$(field seccompDefault)" = true
item 4.2.15 test "$(systemctl show -p IPAddressDeny --value kubelet | grep -c .)" = 1
proxy() { ! ss -ltn 'sport = 10249' | grep -qE '(\*|0\.0\.0\.0|\[::\]):10249'; }
item 4.3.1 proxy
