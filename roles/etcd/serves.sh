# serves: whether this machine's member of etcd has a vote and knows a leader. Health would be too much to ask: an alarm, or an
# election at that moment, makes all members unhealthy that others can still not do without.
serves() {
  status=$(ctl endpoint status -w json 2>/dev/null) || return 1
  case $status in
    *'"isLearner":true'*) return 1 ;;
    *'"leader":'[1-9]*) return 0 ;;
    *) return 1 ;;
  esac
}
