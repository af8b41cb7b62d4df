//! What roles read of variables, tried before any machine is contacted: a value that a role cannot read stops it in its middle.

use std::collections::{BTreeMap, BTreeSet};

use muster_engine::prelude::*;
use muster_engine::run::Role;
use muster_inventory::{HostVars, Inventory, Kind, LayerKind, Reason, Unreadable, Vars, VarsError};

use super::findings::{Findings, problem};
use super::settings::{place, unresolvable};

/// What these roles cannot read, each with the hosts that go through it: each thing once, with the hosts that it holds for.
///
/// # Errors
/// When a host is not in the inventory.
pub fn unreadable<'r>(
    inventory: &Inventory,
    vars: &Vars,
    roles: impl IntoIterator<Item = (&'r Role, &'r [String])>,
) -> Result<Vec<Problem>, VarsError> {
    let mut tried: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut found: BTreeMap<&str, BTreeMap<String, Problem>> = BTreeMap::new();
    for (role, hosts) in roles {
        let own: Vec<&str> =
            inventory.hosts().map(|host| host.name()).filter(|host| is_among(hosts, host)).collect();
        for read in role.reads.iter().copied().flatten() {
            for host in read.machines(inventory, &own) {
                if tried.insert((host, read.name())) {
                    let of = vars.host(host)?;
                    let wrong = read.unreadable(&of).into_iter();
                    found
                        .entry(host)
                        .or_default()
                        .extend(wrong.map(|wrong| (wrong.variable.clone(), told(&of, wrong))));
                }
            }
        }
    }
    let mut all = Findings::new(false);
    let of_each = inventory.hosts().filter_map(|host| Some((host.name(), found.remove(host.name())?)));
    all.merge(of_each.map(|(host, problems)| (host, Findings::refusing(problems.into_values()))).collect());
    Ok(all.problems)
}

fn is_among(hosts: &[String], name: &str) -> bool {
    hosts.iter().any(|host| host == name)
}

/// In the words of the other checks.
fn told(vars: &HostVars, wrong: Unreadable) -> Problem {
    let name = wrong.variable;
    let place = match wrong.origin {
        Some(origin) => format!(" ({origin})"),
        None => place(vars, &name),
    };
    match wrong.reason {
        Reason::Unresolvable(error) => unresolvable(&name, &error),
        Reason::Type { at, found, needed } => {
            let found = if at.is_empty() { found } else { format!("{found} at {at}") };
            problem(&name, format!("{found}{place}"), needed, remedy(vars, &name))
        }
        Reason::Other(message) => {
            problem(&name, format!("it {message}{place}"), "a value that can be read", remedy(vars, &name))
        }
    }
}

/// What is right: its default, where it has one that is a value.
fn remedy(vars: &HostVars, name: &str) -> String {
    let default = vars.explain(name).into_iter().rfind(|d| d.kind == LayerKind::Default);
    match default
        .map(|default| default.value)
        .filter(|value| !value.is_template() && value.kind != Kind::Null)
    {
        Some(value) => format!("correct it, or remove it: then it is {}", value.to_json()),
        None => format!("correct {name}, or remove it (muster docs vars {name})"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::super::fixture::{inventory_and_vars, told};
    use super::*;
    use crate::{ROLES, Removal, certificates, etcd, rotation};

    const INI: &str = "a\nb\nc\n[kube_control_plane]\na\n[etcd]\na\n[kube_node]\nb\nc\n";

    /// What the roles of this name cannot read on these hosts, as `check: found; needed`.
    fn found_in(ini: &str, yaml: &str, name: &str, hosts: &[&str]) -> Vec<String> {
        // What is here has no folder of an inventory to be below.
        let folders = "artifacts_dir: /srv/artifacts\netcd_snapshots_dir: /srv/snapshots\n";
        let yaml = format!("skydns_server: 10.233.0.3\n{yaml}\n{folders}");
        let (inventory, vars) = inventory_and_vars(ini, &yaml);
        let role = ROLES.iter().find(|role| role.name == name).unwrap();
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let problems = unreadable(&inventory, &vars, [(role, hosts.as_slice())]).unwrap();
        problems.iter().map(|problem| format!("{}; {}", told(problem), problem.needed)).collect()
    }

    fn found(yaml: &str, name: &str) -> Vec<String> {
        found_in(INI, yaml, name, &["a", "b", "c"])
    }

    #[test]
    fn the_defaults_can_be_read_by_every_role() {
        for role in ROLES {
            assert_eq!(found("", role.name), [""; 0], "{}", role.name);
        }
    }

    #[test]
    fn what_a_role_cannot_read_is_told_with_its_place() {
        let rows = [
            ("kubelet", "nodelocaldns_ip:", "nodelocaldns_ip: null (vars.yml:2:16); a text"),
            (
                "kubelet",
                "kubelet_custom_flags: --v=4",
                "kubelet_custom_flags: the text \"--v=4\" (vars.yml:2:23); a list",
            ),
            (
                "kubelet",
                "kubelet_custom_flags: [[a]]",
                "kubelet_custom_flags: a list at [0] (vars.yml:2:24); a text",
            ),
            (
                "etcd",
                "etcd_metrics_port: 70000",
                "etcd_metrics_port: the number 70000 (vars.yml:2:20) on a; a whole number from 0 to 65535",
            ),
            (
                "etcd",
                "etcd_snapshot_count: {a: b}",
                "etcd_snapshot_count: a mapping (vars.yml:2:22) on a; a whole number, not negative",
            ),
            ("node", "kube_override_hostname: [a]", "kube_override_hostname: a list (vars.yml:2:25); a text"),
            (
                "coredns",
                "coredns_deployment_nodeselector:",
                "coredns_deployment_nodeselector: null (vars.yml:2:32); a text",
            ),
        ];
        for (role, yaml, expected) in rows {
            assert_eq!(found(yaml, role), [expected], "{role}: {yaml}");
        }
        let both =
            found("nodelocaldns_ip:\nkubelet_custom_flags: x\nkubelet_systemd_hardening: maybe", "kubelet");
        assert_eq!(both.len(), 3, "all at once: {both:?}");
    }

    #[test]
    fn what_the_role_does_not_read_there_is_nothing_to_it() {
        assert_eq!(found("nodelocaldns_ip:", "kubeconfig"), [""; 0]);
        // Worked out on the machine, and only of control planes: kubespray's samples have such a one.
        assert_eq!(found("http_proxy: \"{{ ansible_hostname }}\"", "containerd"), [""; 0]);
        let calendar = "auto_renew_certificates: true\nauto_renew_certificates_systemd_calendar: \
                        \"{{ groups['kube_control_plane'].index(inventory_hostname) }}\"";
        assert_eq!(found(calendar, "node"), [""; 0]);
        let [only] = &found("auto_renew_certificates_systemd_calendar: \"{{ nowhere }}\"", "node")[..] else {
            panic!("it cannot be worked out at all");
        };
        assert!(only.contains("cannot resolve") && only.contains("on a"), "{only}");
    }

    #[test]
    fn a_list_or_a_mapping_that_is_written_without_a_value_is_empty_and_what_may_be_unset_may_be_null() {
        let yaml = "node_taints:\nnode_labels:\nkubelet_custom_flags:\nkube_resolv_conf:\nkubeadm_patches: {enabled: false}\n";
        assert_eq!(found(yaml, "kubelet"), [""; 0]);
        assert_eq!(found(yaml, "node"), [""; 0]);
    }

    #[test]
    fn machines_that_others_ask_for_are_looked_at_too_and_who_it_holds_for_is_said() {
        let ini =
            INI.replacen("a\n", "a etcd_metrics_port=x\n", 1).replacen("c\n", "c etcd_metrics_port=x\n", 1);
        let expected =
            "etcd_metrics_port: the text \"x\" (hosts.ini:1:21) on a; a whole number from 0 to 65535";
        for host in ["a", "b"] {
            assert_eq!(found_in(&ini, "", "etcd", &[host]), [expected], "c has no member of etcd");
        }
    }

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let of_entry = |path: PathBuf| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        };
        entries.flat_map(of_entry).filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
    }

    /// `crate::kubeadm::join::` of `kubeadm/join.rs`.
    fn module_of(path: &Path) -> String {
        let path = path.with_extension("");
        let names =
            path.iter().map(|name| name.to_string_lossy().replace('-', "_")).filter(|name| name != "mod");
        names.map(|name| name + "::").collect()
    }

    /// A struct that a role reads is called `Vars`, or ends so, and is in the list of a role. So none stops a role in its middle
    /// that was not tried before.
    #[test]
    fn every_struct_of_variables_is_in_the_list_of_a_role() {
        let mut roles = ROLES.to_vec();
        roles.push(certificates::look(certificates::Found::default()));
        roles.extend(certificates::roles(0).into_iter().chain(rotation::roles()));
        roles.extend(Removal { hosts: Vec::new(), come_back: false }.roles());
        let recovery = etcd::Recovery {
            from: "a".into(),
            without: BTreeSet::new(),
            lost: Vec::new(),
            fenced: Vec::new(),
            strangers: Vec::new(),
        };
        roles.extend(etcd::recovery::roles(recovery, etcd::recovery::Rescued::default()));
        let listed: BTreeSet<&str> =
            roles.iter().flat_map(|role| role.reads.iter().copied().flatten()).map(Read::name).collect();
        let mut known = 0;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for path in sources(root) {
            let text = fs::read_to_string(&path).unwrap();
            let module = module_of(path.strip_prefix(root).unwrap());
            let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
            let mut before = "";
            for line in code.lines() {
                if let Some((left, right)) = line.split_once(" = ") {
                    let is_read = left.contains(": ") && right.contains(".vars()?");
                    assert!(
                        !is_read || left.contains("Vars"),
                        "{module} {line}: what is read is called Vars"
                    );
                }
                if let Some((_, name)) = line.split_once("struct ").filter(|_| before.contains("Deserialize"))
                {
                    let name = name.split(' ').next().unwrap();
                    if name.ends_with("Vars") {
                        assert!(
                            !line.starts_with(' '),
                            "{module} {line}: no list can have one of a function"
                        );
                        let path = format!("muster_roles::{module}{name}");
                        assert!(
                            listed.contains(path.as_str()),
                            "{path} is in no role's list of what it reads"
                        );
                        known += 1;
                    }
                }
                before = line;
            }
        }
        assert!(known > 45, "{known} structs were found");
    }
}
