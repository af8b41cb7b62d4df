//! Whether the disks of a member have room for what a restore puts there: while it is prepared, etcd needs them, too.

/// The size of a file of etcd's log, in KiB (etcd: server/storage/wal/wal.go, `SegmentSizeBytes`).
const LOG: u64 = 64 << 10;

/// The file system of a folder.
#[derive(Debug, PartialEq, Eq)]
struct Disk {
    mount: String,
    /// In KiB.
    free: u64,
}

/// The file systems of the folder of etcd's data, and of the one to which files are brought; nothing where df(1) did not tell.
#[derive(Debug, Default)]
pub(super) struct Room(Vec<Disk>);

impl Room {
    /// Takes what `df -Pk DATA INCOMING` prints, among other lines.
    pub(super) fn parse(answer: &str) -> Self {
        let disk = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let is_one = words.get(4).is_some_and(|used| used.ends_with('%'));
            let free = words.get(3).filter(|_| is_one)?.parse().ok()?;
            Some(Disk { mount: words.get(5..)?.join(" "), free })
        };
        Self(answer.lines().filter_map(disk).collect())
    }

    /// What is missing for the restore of a snapshot of so many bytes: it is brought, copied to the data, and beside it a new database
    /// and a new log come of it.
    pub(super) fn lacks(&self, snapshot: u64) -> Vec<String> {
        let [data, incoming] = self.0.as_slice() else { return Vec::new() };
        let size = snapshot / 1024 + 1;
        let beside = 2 * size + LOG;
        let needs = match data.mount == incoming.mount {
            true => vec![(data, beside + size)],
            false => vec![(data, beside), (incoming, size)],
        };
        let lacking = needs.into_iter().filter(|(disk, needs)| disk.free < *needs);
        lacking
            .map(|(Disk { mount, free }, needs)| {
                format!(
                    "a restore needs {} MiB on {mount}, and {} MiB are free there",
                    needs.div_ceil(1024),
                    free / 1024
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_disk_has_to_have_room_for_what_comes_there() {
        let lacks = |data: (&str, u64), incoming: (&str, u64), mib: u64| {
            let line = |(mount, mib): (&str, u64)| format!("/dev/vda1 9000000 1 {} 1% {mount}\n", mib << 10);
            let header = "Filesystem 1024-blocks Used Available Capacity Mounted on\n";
            Room::parse(&format!("ready yes\n{header}{}{}healthy yes\n", line(data), line(incoming)))
                .lacks(mib << 20)
        };
        assert_eq!(lacks(("/", 400), ("/", 400), 100), [""; 0]);
        assert_eq!(
            lacks(("/", 300), ("/", 300), 100),
            ["a restore needs 365 MiB on /, and 300 MiB are free there"]
        );
        assert_eq!(lacks(("/srv/a b", 300), ("/", 101), 100), [""; 0]);
        assert_eq!(
            lacks(("/srv/a b", 200), ("/", 99), 100),
            [
                "a restore needs 265 MiB on /srv/a b, and 200 MiB are free there",
                "a restore needs 101 MiB on /, and 99 MiB are free there"
            ]
        );
        assert_eq!(Room::parse("ready yes\n").lacks(1 << 40), [""; 0], "nobody knows");
    }
}
