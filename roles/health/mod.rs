//! health: how a machine of a cluster is, and on a control plane how its nodes are, in one exchange for which nobody is locked. It is for
//! whoever looks again and again.

use std::collections::BTreeMap;

use muster_engine::lock;
use muster_engine::script::quote;

/// What a machine is to the cluster, by its groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// Whether it is a node.
    pub node: bool,
    /// Whether it is a control plane.
    pub plane: bool,
    /// Whether it is a member of etcd.
    pub member: bool,
}

/// How a machine is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether it was set up: a new system was not.
    pub belongs: bool,
    /// The units that do not run, with what systemd says of them: `kubelet is inactive`.
    pub stopped: Vec<String>,
    /// The run that works on it: who, and with what.
    pub locked_by: Option<String>,
    /// Who else heals the cluster, as a control plane knows it.
    pub claimed_by: Option<String>,
    /// What its own API server says, on a control plane.
    pub api: Option<Api>,
}

/// What an API server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Api {
    /// The nodes, and of each whether it is Ready: `True`, `False` or `Unknown` (Kubernetes' "Node Status").
    Nodes(BTreeMap<String, String>),
    /// It does not answer, and why.
    Fails(String),
}

impl Part {
    /// What is to run on it.
    fn units(self) -> Vec<&'static str> {
        let units = [("containerd", self.node), ("kubelet", self.node), ("etcd", self.member)];
        units.into_iter().filter_map(|(unit, has)| has.then_some(unit)).collect()
    }

    /// The program that looks. `who`: who heals the cluster, told from everybody else; nobody else is to for so many seconds.
    pub fn look(self, who: &str, seconds: u64) -> String {
        let mark = if self.node { "/etc/kubernetes/kubelet.conf" } else { "/var/lib/muster" };
        let who = if self.plane { who } else { "" };
        let (units, seconds) = (self.units().join(" "), seconds.to_string());
        let words = [units.as_str(), mark, who, seconds.as_str()].map(quote).join(" ");
        let parts =
            [lock::LOOK, include_str!("../own_api_server.sh"), include_str!("look.sh")].map(str::trim_end);
        format!("set -- {words}\n{}", parts.join("\n"))
    }
}

impl Health {
    /// From what the program has printed.
    pub fn parse(printed: &str) -> Self {
        let mut health = Self::default();
        for line in printed.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "belongs" => health.belongs = true,
                "lock" => health.locked_by = rest.strip_prefix("held ").map(str::to_owned),
                "claimed" => health.claimed_by = Some(rest.to_owned()),
                "unit" => match rest.split_once(' ') {
                    Some((_, "active" | "reloading")) | None => {}
                    Some((unit, state)) => health.stopped.push(format!("{unit} is {state}")),
                },
                "api" if rest == "answers" => health.api = Some(Api::Nodes(BTreeMap::new())),
                "api" => health.api = Some(Api::Fails(rest.to_owned())),
                "node" => {
                    if let (Some(Api::Nodes(nodes)), Some((name, ready))) =
                        (&mut health.api, rest.split_once(' '))
                    {
                        nodes.insert(name.to_owned(), ready.to_owned());
                    }
                }
                // Warnings of kubectl.
                _ => {}
            }
        }
        health
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANE: Part = Part { node: true, plane: true, member: true };

    #[test]
    fn what_a_machine_has_to_run_follows_from_what_it_is() {
        assert_eq!(PLANE.units(), ["containerd", "kubelet", "etcd"]);
        assert_eq!(Part { node: true, ..Part::default() }.units(), ["containerd", "kubelet"]);
        assert_eq!(Part { member: true, ..Part::default() }.units(), ["etcd"]);
    }

    #[test]
    fn only_control_planes_know_who_heals_the_cluster() {
        let first = |part: Part| part.look("ada@pc /srv/it's", 960).lines().next().unwrap().to_owned();
        let plane =
            r"set -- 'containerd kubelet etcd' /etc/kubernetes/kubelet.conf 'ada@pc /srv/it'\''s' 960";
        assert_eq!(first(PLANE), plane);
        assert_eq!(first(Part { member: true, ..Part::default() }), "set -- etcd /var/lib/muster '' 960");
    }

    #[test]
    fn what_is_printed_is_understood() {
        let well = Health::parse(
            "lock free  with \nbelongs\nunit containerd active\nunit kubelet active\napi answers\nWarning: x\nnode a True\nnode b Unknown\n",
        );
        let nodes =
            [("a", "True"), ("b", "Unknown")].map(|(name, ready)| (name.to_owned(), ready.to_owned()));
        let api = Some(Api::Nodes(nodes.into()));
        assert_eq!(well, Health { belongs: true, api, ..Health::default() });
        let ill = Health::parse(
            "lock held ada@pc (pid 7) with setup-cluster\nunit kubelet activating\nunit etcd inactive\nclaimed bob@desk /x\napi refused\n",
        );
        let expected = Health {
            belongs: false,
            stopped: vec!["kubelet is activating".into(), "etcd is inactive".into()],
            locked_by: Some("ada@pc (pid 7) with setup-cluster".into()),
            claimed_by: Some("bob@desk /x".into()),
            api: Some(Api::Fails("refused".into())),
        };
        assert_eq!(ill, expected);
    }

    /// The program in a real shell, with stand-ins for what it asks. The claim is kept in a folder of the test's.
    #[test]
    fn the_program_tells_of_another_healer_until_its_claim_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let claim = folder.path().join("claim").display().to_string();
        let look = |who: &str, seconds: u64| {
            let program = PLANE.look(who, seconds).replace("/run/muster-reconcile", &claim);
            let program = format!(
                "systemctl() {{ echo active; }}\nkubectl() {{ echo 'node a True'; }}\nmuster() {{\n{program}\n}}\nmuster\n"
            );
            let printed = std::process::Command::new("sh").args(["-c", &program]).output().unwrap();
            assert!(printed.status.success(), "{printed:?}");
            Health::parse(&String::from_utf8(printed.stdout).unwrap())
        };
        for _ in 0..2 {
            let ours = look("ada", 600);
            assert_eq!((ours.claimed_by, ours.stopped), (None, Vec::<String>::new()));
            assert_eq!(ours.api, Some(Api::Nodes([("a".to_owned(), "True".to_owned())].into())));
        }
        assert_eq!(look("bob", 600).claimed_by.as_deref(), Some("ada"));
        assert_eq!(look("ada", 0).claimed_by, None, "given back at once");
        assert_eq!(look("bob", 600).claimed_by, None);
        assert_eq!(look("ada", 600).claimed_by.as_deref(), Some("bob"));
    }
}
