# Upgrades all packages. $5: whether old archives go (true or false).
case $manager in
  apt-get)
    dpkg --configure -a
    apt --auto-remove dist-upgrade
    [ "$5" != true ] || apt autoclean
    ;;
  dnf | yum)
    : >"$upgraded"
    "$manager" -y upgrade
    ;;
esac
