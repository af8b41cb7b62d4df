# The machine gets the lists of what its repositories have. One that cannot be reached is a failure.
case $manager in
  apt-get) apt -o APT::Update::Error-Mode=any update ;;
  *) "$manager" -y makecache ;;
esac
