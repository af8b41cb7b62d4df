//! What belongs to single distributions: EPEL's repository, upgrades and restarts that come by themselves. Names of variables are
//! kubespray's.

use muster_engine::facts::Facts;
use muster_engine::prelude::*;
use serde::Deserialize;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    epel_enabled: bool,
    ubuntu_kernel_unattended_upgrades_disabled: bool,
    ubuntu_stop_unattended_upgrades: bool,
    coreos_locksmithd_disable: bool,
}

/// Read after what the system and its administrator say (apt.conf(5)), so that it wins.
const APT: &str = "/etc/apt/apt.conf.d/99-zz-kubernetes";

/// Says that locksmithd was masked by muster.
const MASKED: &str = "/var/lib/muster/stamps/locksmithd";

/// The package with EPEL's repository, and the file that it brings: of the kin of Red Hat, of which Fedora and Amazon Linux have none.
fn epel_package(facts: &Facts) -> Option<(String, String)> {
    let of = |key: &str| facts.os.get(key).map(String::as_str).unwrap_or_default();
    let release = of("VERSION_ID").split('.').next().unwrap_or_default();
    match of("ID") {
        "fedora" | "amzn" => None,
        "ol" => Some((
            format!("/etc/yum.repos.d/oracle-epel-ol{release}.repo"),
            format!("oracle-epel-release-el{release}"),
        )),
        id if id == "rhel" || of("ID_LIKE").split(' ').any(|like| like == "rhel") => {
            Some(("/etc/yum.repos.d/epel.repo".to_owned(), "epel-release".to_owned()))
        }
        _ => None,
    }
}

/// The package with EPEL's repository, wanted or not; `None` on machines that have no such thing.
pub(super) fn epel(host: &Host) -> Option<Package> {
    epel_package(host.facts()).map(|(file, name)| package(file, name))
}

/// Whether it is wanted.
pub(super) fn wants_epel(host: &Host) -> Result<bool> {
    host.vars::<Vars>().map(|vars| vars.epel_enabled)
}

/// What apt is told of upgrades that come by themselves (unattended-upgrades(8)); nothing where variables say nothing of them.
fn apt_says(vars: &Vars) -> String {
    let kernels = "Unattended-Upgrade::Package-Blacklist:: \"linux-\";\n";
    let never = "APT::Periodic::Unattended-Upgrade \"0\";\n";
    let lines = [
        (vars.ubuntu_kernel_unattended_upgrades_disabled, kernels),
        (vars.ubuntu_stop_unattended_upgrades, never),
    ];
    lines.into_iter().filter_map(|(is_said, line)| is_said.then_some(line)).collect()
}

/// The file with it.
pub(super) fn apt_file() -> File {
    file(APT)
}

/// Adds to a step what the machine is told of its upgrades and restarts. It is as it was before where nothing is said.
pub(super) fn told<'h>(host: &'h Host, mut step: Step<'h>) -> Result<Step<'h>> {
    let vars: Vars = host.vars()?;
    if host.facts().package_manager == "apt-get" {
        let says = apt_says(&vars);
        step = match says.is_empty() {
            true => step.remove(apt_file()),
            false => step.ensure(apt_file().content(says)),
        };
    }
    Ok(step.ensure_all(restarts(host.facts(), &vars)))
}

/// What is wanted of locksmithd, on machines that have it.
fn restarts(facts: &Facts, vars: &Vars) -> Option<Command> {
    let is_flatcar = facts.os.get("ID").is_some_and(|id| id == "flatcar");
    is_flatcar.then(|| if vars.coreos_locksmithd_disable { never_restarts() } else { as_before() })
}

/// The stamp goes first: of a program that is cut off the machine must not forget what it did.
const MASK: &str = r#"
mkdir -p "${1%/*}"
: >"$1"
systemctl mask --now locksmithd.service"#;
const IS_MASKED: &str = r#"[ "$(systemctl is-enabled locksmithd.service 2>/dev/null)" = masked ]"#;

const UNMASK: &str = r#"
systemctl unmask locksmithd.service
systemctl start --no-block locksmithd.service
rm -f "$1""#;
const IS_UNMASKED: &str = r#"[ ! -e "$1" ]"#;

/// Flatcar's locksmithd, which restarts the machine when a new system has come, does not run.
fn never_restarts() -> Command {
    command("locksmithd is masked", sh(MASK, [MASKED]), sh0(IS_MASKED))
}

/// locksmithd is as it was before muster masked it.
pub(super) fn as_before() -> Command {
    command("locksmithd as before", sh(UNMASK, [MASKED]), sh(IS_UNMASKED, [MASKED]))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process;

    use super::*;
    use crate::preflight::fixture::variables;

    #[test]
    fn epel_is_a_package_of_the_kin_of_red_hat() {
        let of = |id: &str, like: &str, version: &str| {
            let mut facts = Facts::default();
            for (key, value) in [("ID", id), ("ID_LIKE", like), ("VERSION_ID", version)] {
                facts.os.insert(key.to_owned(), value.to_owned());
            }
            epel_package(&facts).map(|(_, name)| name)
        };
        let usual = Some("epel-release".to_owned());
        assert_eq!(of("rocky", "rhel centos fedora", "9.4"), usual);
        assert_eq!(of("rhel", "fedora", "9.4"), usual);
        assert_eq!(of("ol", "fedora", "8.10"), Some("oracle-epel-release-el8".to_owned()));
        for (id, like) in
            [("fedora", ""), ("amzn", "centos rhel fedora"), ("debian", ""), ("ubuntu", "debian")]
        {
            assert_eq!(of(id, like, "1"), None, "{id}");
        }
        let wants = |yaml: &str| variables(yaml).deserialize::<Vars>().unwrap().epel_enabled;
        assert!(wants("epel_enabled: true") && !wants(""));
    }

    #[test]
    fn apt_is_told_of_upgrades_what_variables_say() {
        let says = |yaml: &str| apt_says(&variables(yaml).deserialize().unwrap());
        assert_eq!(says(""), "");
        let kernels = "Unattended-Upgrade::Package-Blacklist:: \"linux-\";\n";
        assert_eq!(says("ubuntu_kernel_unattended_upgrades_disabled: true"), kernels);
        assert_eq!(
            says("ubuntu_stop_unattended_upgrades: true"),
            "APT::Periodic::Unattended-Upgrade \"0\";\n"
        );
    }

    #[test]
    fn only_flatcar_has_something_that_restarts_it() {
        let wanted = |id: &str, yaml: &str| {
            let mut facts = Facts::default();
            facts.os.insert("ID".to_owned(), id.to_owned());
            restarts(&facts, &variables(yaml).deserialize().unwrap()).map(|command| command.label())
        };
        let never = "coreos_locksmithd_disable: true";
        assert_eq!(wanted("flatcar", never).as_deref(), Some("locksmithd is masked"));
        assert_eq!(wanted("flatcar", "").as_deref(), Some("locksmithd as before"));
        assert_eq!(wanted("debian", never), None);
    }

    #[test]
    fn locksmithd_is_masked_and_starts_again_where_it_was_muster() {
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            let root = tempfile::tempdir().unwrap();
            let (stamp, state) = (root.path().join("stamps/locksmithd"), root.path().join("state"));
            fs::write(&state, "enabled\n").unwrap();
            let here = root.path().display();
            let program = |text: &str| {
                let systemctl = format!(
                    "systemctl() {{ echo \"$*\" >>{here}/asked; case $1 in mask) echo masked >{here}/state ;; \
                     unmask) echo enabled >{here}/state ;; is-enabled) cat {here}/state ;; esac; }}"
                );
                let mut command = process::Command::new(shell[0]);
                command.args(&shell[1..]).args(["-euc", &format!("{systemctl}\n{text}"), "sh"]).arg(&stamp);
                command.status().unwrap().success()
            };
            // As a step does: a look, and a change where it is not so.
            let wanted = |run: &str, check: &str| {
                if !program(check) {
                    assert!(program(run) && program(check), "{shell:?}");
                }
            };
            wanted(UNMASK, IS_UNMASKED);
            assert!(!root.path().join("asked").exists(), "{shell:?}: nobody had masked it");
            wanted(MASK, IS_MASKED);
            wanted(MASK, IS_MASKED);
            assert!(stamp.exists() && fs::read_to_string(&state).unwrap() == "masked\n", "{shell:?}");
            wanted(UNMASK, IS_UNMASKED);
            assert!(!stamp.exists() && fs::read_to_string(&state).unwrap() == "enabled\n", "{shell:?}");
            let asked = fs::read_to_string(root.path().join("asked")).unwrap();
            assert_eq!(asked.lines().filter(|line| line.starts_with("mask --now")).count(), 1, "{asked}");
            assert!(asked.ends_with("start --no-block locksmithd.service\n"), "{asked}");
        }
    }
}
