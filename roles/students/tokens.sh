# Prints for each service account its name, and what the server answers to the request for a token. Each parameter but the
# first holds names, one after the other; the parameters are worked through at the same time. It always succeeds: what is
# printed must not become part of an error.
seconds=$1; shift
export GOGC=off
request="{\"apiVersion\": \"authentication.k8s.io/v1\", \"kind\": \"TokenRequest\", \"spec\": {\"expirationSeconds\": $seconds}}"
for names do
  for name in $names; do
    answer=$(printf '%s' "$request" |
      kubectl create --raw "/api/v1/namespaces/$name/serviceaccounts/$name/token" -f - 2>&1) || answer="failed: $answer"
    # Its words in one line, by the shell alone: 200 students are waiting. What looks like a pattern stays what it is (-f).
    set -f
    set -- $answer
    printf '%s %s\n' "$name" "$*"
  done &
done
wait
