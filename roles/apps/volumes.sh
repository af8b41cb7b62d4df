# Prints what the driver $1 has to be there for: its volumes, those that pods bring along without a claim, and snapshots.
driver=$1
# of KIND WHERE NAME: the objects of a kind that name the driver there, as `NAME NAMESPACE/NAME`; none of a kind that there is not.
of() {
  said=$(kubectl get "$1" --all-namespaces -o "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {.$2}{'\n'}{end}" 2>&1) || {
    case $said in
      *"doesn't have a resource type"*) return 0 ;;
    esac
    printf '%s\n' "$said"
    exit 1
  }
  printf '%s\n' "$said" | awk -v driver="$driver" -v name="$3" '
    { sub("^/", "", $1); for (n = 2; n <= NF; n++) if ($n == driver) { print name, $1; next } }'
}
of persistentvolumes spec.csi.driver PersistentVolume
of pods 'spec.volumes[*].csi.driver' Pod
of volumesnapshotcontents.snapshot.storage.k8s.io spec.driver VolumeSnapshotContent
of volumegroupsnapshotcontents.groupsnapshot.storage.k8s.io spec.driver VolumeGroupSnapshotContent
