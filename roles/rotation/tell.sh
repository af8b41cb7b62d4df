# What the cluster hands out to others has the authorities that are trusted now. $1: them, as base64.
cluster_info certificate-authority-data "$1"
