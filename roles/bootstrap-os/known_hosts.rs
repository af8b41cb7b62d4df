//! The machines of the inventory in each other's /etc/hosts (`populate_inventory_to_hosts_file`).

use std::collections::BTreeSet;

use muster_engine::prelude::*;

use crate::addresses::access_ip_of;
use crate::common::cluster_vars;

/// The end of the lines.
const MARK: &str = "# muster: inventory";

/// Each machine of the inventory stands in /etc/hosts with its name. What is there of one whose address is not known in this run,
/// because it is off or takes no part, stays.
pub(super) fn known(host: &Host) -> Result<Command> {
    let domain = cluster_vars(host)?.dns_domain;
    let mut names: BTreeSet<String> = host.cluster().group("k8s_cluster").into_iter().collect();
    names.extend(host.cluster().group("etcd"));
    let (mut lines, mut unknown) = (Vec::new(), String::from(" "));
    for name in names {
        match access_ip_of(host, &name) {
            Ok(address) => lines.push(format!("{address} {name}.{domain} {name} {MARK}")),
            Err(_) => unknown += &format!("{name} "),
        }
    }
    Ok(hosts("the machines of the inventory in /etc/hosts", &unknown, lines))
}

/// None of them stands there.
pub(super) fn unknown() -> Command {
    hosts("no machines of the inventory in /etc/hosts", "", Vec::new())
}

fn hosts(label: &str, unknown: &str, lines: Vec<String>) -> Command {
    let args: Vec<String> = [MARK.to_owned(), unknown.to_owned()].into_iter().chain(lines).collect();
    command(label, sh(KNOW, args.clone()), sh(ARE_KNOWN, args))
}

const KNOW: &str =
    concat!(include_str!("../hosts_file.sh"), include_str!("hosts_known.sh"), include_str!("hosts_know.sh"));
const ARE_KNOWN: &str = concat!(
    include_str!("../hosts_file.sh"),
    include_str!("hosts_known.sh"),
    r#"hosts_are_whole && [ -z "$(stale "$@"; missing "$@")" ]"#
);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    #[test]
    fn lines_come_and_go_and_those_of_others_stay() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("hosts");
        let run = |program: &str, unknown: &str, lines: &[&str]| {
            let program = program.replace("/etc/hosts", file.to_str().unwrap());
            let program = program.replace("/var/lib/muster", root.path().to_str().unwrap());
            let args = [&["-euc", &program, "hosts", super::MARK, unknown], lines].concat();
            Command::new("dash").args(args).status().unwrap().success()
        };
        let set = |unknown: &str, lines: &[&str]| {
            assert!(!run(super::ARE_KNOWN, unknown, lines), "it is as it should be before");
            assert!(run(super::KNOW, unknown, lines) && run(super::ARE_KNOWN, unknown, lines));
            fs::read_to_string(&file).unwrap()
        };
        let (a, b, c) = (
            "192.0.2.1 a.x a # muster: inventory",
            "192.0.2.2 b.x b # muster: inventory",
            "192.0.2.9 b.x b # muster: inventory",
        );
        fs::write(&file, "127.0.0.1 localhost\n\n192.0.2.1 a").unwrap();
        assert_eq!(set(" ", &[a, b]), format!("127.0.0.1 localhost\n\n192.0.2.1 a\n{a}\n{b}\n"));
        assert_eq!(
            set(" b ", &["192.0.2.3 a.x a # muster: inventory"]),
            format!("127.0.0.1 localhost\n\n192.0.2.1 a\n{b}\n192.0.2.3 a.x a # muster: inventory\n")
        );
        assert_eq!(set(" ", &[c]), format!("127.0.0.1 localhost\n\n192.0.2.1 a\n{c}\n"));
        // What was cut off is finished first, be it all of what there is to do.
        fs::write(root.path().join("hosts.new"), format!("127.0.0.1 localhost\n{c}\n")).unwrap();
        assert_eq!(set(" ", &[c]), format!("127.0.0.1 localhost\n{c}\n"));
        fs::write(root.path().join("hosts.new"), "127.0.0.1 localhost\n").unwrap();
        assert_eq!(set("", &[]), "127.0.0.1 localhost\n");
    }
}
