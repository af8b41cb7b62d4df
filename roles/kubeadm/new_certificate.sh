# new_certificate CONFIG CERTIFICATES: the API server gets another certificate, by kubeadm's configuration. It is made aside: at each
# moment there is one.
new_certificate() {
  aside=$2/.new
  rm -rf "$aside"
  mkdir -p -m 700 "$aside"
  for name in ca.crt ca.key; do ln -s "$2/$name" "$aside/$name"; done
  while IFS= read -r line; do
    case $line in certificatesDir:*) line="certificatesDir: $aside" ;; esac
    printf '%s\n' "$line"
  done <"$1" >"$aside/config.yaml"
  kubeadm init phase certs apiserver --config "$aside/config.yaml"
  # Whole on the disk before they take the place of others.
  flush "$aside/apiserver.key" "$aside/apiserver.crt"
  # A power cut between the two leaves a key that is not the certificate's: both of before come back then (put_back.sh).
  for name in apiserver.key apiserver.crt; do mv -f "$aside/$name" "$2/$name"; done
  sync
  rm -rf "$aside"
}
