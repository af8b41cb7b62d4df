# Whether the lines with the mark ($1) are these.
mark=$1; shift
hosts_are_whole && [ "$(ours "$mark" /etc/hosts)" = "$(wanted "$@")" ]
