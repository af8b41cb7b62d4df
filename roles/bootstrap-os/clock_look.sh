# The time services of a machine, a line each: which it is, its unit, its configuration, its state.
service_of() {
  kind=$1 config=$2
  shift 2
  for unit; do
    [ "$(systemctl show -p LoadState "$unit.service")" = LoadState=loaded ] || continue
    state=$(systemctl is-active "$unit.service" || :)
    # One that has been started, and has a condition that this machine does not meet (ConditionVirtualization=!container).
    met="$(systemctl show -p ConditionResult "$unit.service") $(systemctl show -p ConditionTimestampMonotonic "$unit.service")"
    case $state:$met in
      active:*) ;;
      *:'ConditionResult=no ConditionTimestampMonotonic='[1-9]*) state=refused ;;
    esac
    echo "$kind $unit $config $state"
    return 0
  done
}
if [ -d /etc/chrony ]; then chrony=/etc/chrony/chrony.conf; else chrony=/etc/chrony.conf; fi
if [ -d /etc/ntpsec ]; then ntp=/etc/ntpsec/ntp.conf; else ntp=/etc/ntp.conf; fi
if [ -d /etc/openntpd ]; then openntpd=/etc/openntpd/ntpd.conf; else openntpd=/etc/ntpd.conf; fi
service_of chrony "$chrony" chrony chronyd
service_of openntpd "$openntpd" openntpd
service_of ntp "$ntp" ntpsec ntp ntpd
service_of timesyncd /etc/systemd/timesyncd.conf.d/kubernetes.conf systemd-timesyncd
