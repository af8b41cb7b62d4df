# Starts the test's pods. All of it belongs to a Job that has no pods itself: when its deadline has passed the cluster removes
# it, and with it everything that belongs to it, also where nobody is left to do so.
keeper=$1 objects=$2
uid=$(printf '%s' "$keeper" | kubectl create -o 'jsonpath={.metadata.uid}' -f -) || exit 1
printf '%s' "$objects" | sed "s/KEEPER_UID/$uid/" | kubectl create -f -
