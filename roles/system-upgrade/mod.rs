//! system-upgrade: the packages of a machine's operating system become what its repositories have, and the machine restarts where
//! that needs it, as a part of `upgrade-cluster` and where `system_upgrade` asks for it.
//!
//! What is left to do is seen on the machine: packages that have newer versions, one that dpkg has left half-done, a restart that
//! its system asks for. So a run that was killed anywhere is finished by the next one. A node is drained first, and bears the mark of
//! that until it is back and Ready. Members of etcd go one after the other, each when it would leave a majority; workers when the
//! control planes are through.

use muster_engine::event::Change;
use muster_engine::prelude::*;
use serde::Deserialize;

use crate::cluster::{self, Standing};
use crate::common::cluster_vars;
use crate::etcd;
use crate::kubeadm;
use crate::kubectl::{Kubectl, api_answers, kubectl};
use crate::proxies;
use crate::upgrade;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
struct Vars {
    system_upgrade: bool,
    system_upgrade_reboot: Reboot,
    system_upgrade_autoclean: bool,
    package_lock_timeout: u32,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::of::<Vars>(cluster::MACHINES)];

/// When a machine restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reboot {
    OnUpgrade,
    Always,
    Never,
}

/// The role.
pub(crate) const ROLE: &str = "system-upgrade";

/// What a control plane tells the workers.
const DONE: &str = "its operating system";

/// How long fetching the lists of packages may take, and installing all that is newer.
const FETCH: Duration = Duration::from_secs(600);
const INSTALL: Duration = Duration::from_secs(3600);

/// How long a machine may take to come back: servers with much memory take minutes to test it.
const RESTART: Duration = Duration::from_secs(900);

/// How long the node of a machine that is back may take to be well.
const WELL: Duration = Duration::from_secs(300);

/// The package managers that are known.
const KNOWN: [&str; 3] = ["apt-get", "dnf", "yum"];

macro_rules! packages {
    ($file:literal) => {
        concat!(include_str!("packages.sh"), include_str!($file))
    };
}

/// Whether packages are upgraded, too.
pub(crate) fn is_wanted(host: &Host) -> Result<bool> {
    Ok(host.vars::<Vars>()?.system_upgrade)
}

/// Why the packages of a machine cannot be upgraded, where that is asked for.
pub(crate) async fn refused(host: &Host) -> Result<Option<Problem>> {
    let vars: Vars = host.vars()?;
    if !vars.system_upgrade {
        return Ok(None);
    }
    let script = concat!(include_str!("packages.sh"), r#"printf '%s\n' "$manager""#);
    let answer = host.query(sh(script, arguments(host, &vars, "")?)).await?;
    Ok(not_known(answer.output.trim()))
}

fn not_known(manager: &str) -> Option<Problem> {
    (!KNOWN.contains(&manager)).then(|| Problem {
        check: "packages".into(),
        found: match manager {
            "none" | "" => {
                "system_upgrade asks for newer packages, and the machine has no package manager".into()
            }
            name => format!("system_upgrade asks for newer packages, and those of the machine are {name}'s"),
        },
        needed: "packages of apt, dnf or yum".into(),
        remedy: "set system_upgrade: false for the machine, and upgrade its system in its own way".into(),
    })
}

/// The parameters of `packages.sh`, and one more.
fn arguments(host: &Host, vars: &Vars, last: &str) -> Result<[String; 5]> {
    let Proxy { http, https, none } = proxies::of_packages(host)?;
    Ok([vars.package_lock_timeout.to_string(), http, https, none, last.to_owned()])
}

pub(crate) async fn run(host: &Host) -> Result<()> {
    let mut vars: Vars = host.vars()?;
    if host.is_here() {
        vars.system_upgrade_reboot = Reboot::Never;
    }
    let had_its_turn = format!("that {} had its turn with its packages", host.name());
    if !vars.system_upgrade || host.cluster().done::<()>(&had_its_turn).is_some() {
        return Ok(());
    }
    let known = cluster::may_set_up(host).await?;
    if !host.in_group("kube_control_plane") && !host.in_group("etcd") {
        for plane in host.cluster().group("kube_control_plane") {
            host.needs_of_role(&plane, ROLE, DONE).await?;
            host.needs_of_role(&plane, kubeadm::upgrade::ROLE, kubeadm::upgrade::UPGRADED).await?;
        }
    }
    bring(host, &vars, &known).await?;
    host.cluster().once(&had_its_turn, || async { Ok(()) }).await?;
    host.reached(DONE);
    Ok(())
}

async fn bring(host: &Host, vars: &Vars, known: &Standing) -> Result<()> {
    let Some(found) = look(host, vars).await? else { return Ok(()) };
    let node = cluster_vars(host)?.kube_override_hostname;
    if !found.has_work() && !found.restarts(vars.system_upgrade_reboot) {
        if found.restart {
            not_restarted(host);
        }
        host.passed("Look for newer packages");
        // A run that was cut off may have left it while it restarted.
        return if upgrade::state(host).await?.is_marked(&node) {
            is_well(host, known).await
        } else {
            Ok(())
        };
    }
    if host.in_group("etcd") {
        etcd::can_be_away(host).await?;
    }
    upgrade::drain(host).await?;
    if found.has_work() {
        let script =
            sh(packages!("upgrade.sh"), arguments(host, vars, &vars.system_upgrade_autoclean.to_string())?);
        let limit = INSTALL + Duration::from_secs(vars.package_lock_timeout.into());
        let packages = Packages { found: &found, script };
        host.step("Upgrade the packages").detached().limit(limit).ensure(packages).await?;
    }
    let found = match host.check_mode() || !found.has_work() {
        true => found,
        false => seen(host, vars, "").await?,
    };
    if found.restarts(vars.system_upgrade_reboot) {
        restart(host, &found.boot).await?;
    } else if found.restart {
        not_restarted(host);
    } else if host.check_mode() && vars.system_upgrade_reboot == Reboot::OnUpgrade {
        host.not_yet("a restart, if the new packages need one");
    }
    if host.check_mode() { Ok(()) } else { is_well(host, known).await }
}

/// What the machine needs a restart for waits for one.
fn not_restarted(host: &Host) {
    let why = match host.is_here() {
        true => "restart it yourself, because this run is on it",
        false => "system_upgrade_reboot: never",
    };
    host.warn(format!("the machine has to be restarted for what was upgraded ({why})"));
}

/// What there is to do on the machine, by what its repositories have now; `None` in check mode, where that cannot be said.
async fn look(host: &Host, vars: &Vars) -> Result<Option<Found>> {
    if host.check_mode() {
        let look = sh(packages!("look.sh"), arguments(host, vars, "aside")?);
        let wait = Wait::new("what is newer in the repositories", look, Duration::from_secs(1), FETCH);
        return Ok(Found::parse(&host.wait(wait).await?.output));
    }
    let fetch = sh(packages!("fetch.sh"), arguments(host, vars, "")?);
    host.run("Fetch the lists of packages", fetch, FETCH).await?;
    seen(host, vars, "").await.map(Some)
}

async fn seen(host: &Host, vars: &Vars, aside: &str) -> Result<Found> {
    let answer = host.query(sh(packages!("look.sh"), arguments(host, vars, aside)?)).await?;
    Found::parse(&answer.output).ok_or_else(|| Failure::Other {
        message: format!("what is newer than the packages of {} cannot be told", host.name()),
        remedy: "see on the machine: apt-get -s dist-upgrade, or dnf check-update".into(),
        tail: answer.output,
    })
}

/// The machine restarts, and is there again.
async fn restart(host: &Host, boot: &str) -> Result<()> {
    let other = r#"read -r boot </proc/sys/kernel/random/boot_id && [ "$boot" != "$1" ]"#;
    host.step("Restart the machine")
        .ensure(command("restart", sh(include_str!("restart.sh"), [boot]), sh(other, [boot])))
        .await?;
    if host.check_mode() {
        return Ok(());
    }
    let every = Duration::from_secs(1);
    host.wait(Wait::new("the machine has restarted", sh(other, [boot]), every, RESTART)).await.map(drop)
}

/// What of the cluster is on the machine runs, and its node is Ready since it was started last.
async fn is_well(host: &Host, known: &Standing) -> Result<()> {
    if host.in_group("etcd") {
        etcd::is_healthy(host).await?;
    }
    if host.in_group("kube_control_plane") {
        api_answers(host, WELL).await?;
    }
    let Some(node) = known.node(host.name()) else { return Ok(()) };
    let boot = sh0(r#"read -r boot </proc/sys/kernel/random/boot_id && printf '%s\n' "$boot""#);
    let boot = host.query(boot).await?.output;
    let Some(kubectl) = Kubectl::find(host).await? else { return Ok(()) };
    let ready = kubectl!(include_str!("ready.sh"), [node, boot.trim()]);
    kubectl.wait(Wait::new("the node is Ready again", ready, Duration::from_secs(1), WELL)).await?;
    upgrade::node_is_well(host, node).await
}

/// What `look.sh` has printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Found {
    boot: String,
    /// Whether the machine has to be restarted for what was upgraded before.
    restart: bool,
    /// Whether an upgrade of packages was interrupted.
    unfinished: bool,
    /// What becomes of each package.
    packages: Vec<String>,
}

impl Found {
    /// `None` where the look did not come to its end.
    fn parse(printed: &str) -> Option<Self> {
        let mut found = Self::default();
        let (mut manager, mut whole, mut obsoletes) = ("", false, false);
        for line in printed.lines() {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["manager", name] => manager = name,
                ["boot", id] => found.boot = id.to_owned(),
                ["restart"] => found.restart = true,
                ["unfinished"] => found.unfinished = true,
                ["whole"] => whole = true,
                // apt-get -s: `Inst NAME [OLD] (NEW REPOSITORY [ARCHITECTURE])`, `Remv NAME [OLD]`.
                ["Inst", name, old, new, ..] if manager == "apt-get" && old.starts_with('[') => {
                    let (old, new) = (old.trim_matches(['[', ']']), new.trim_matches(['(', ')']));
                    found.packages.push(format!("{name} {old} -> {new}"));
                }
                ["Inst", name, new, ..] if manager == "apt-get" => {
                    found.packages.push(format!("{name} {} is installed", new.trim_matches(['(', ')'])));
                }
                ["Remv", name, ..] if manager == "apt-get" => {
                    found.packages.push(format!("{name} is removed"))
                }
                // dnf check-update: `NAME.ARCHITECTURE NEW REPOSITORY`, and at the end what others take the place of.
                ["Obsoleting", ..] => obsoletes = true,
                [name, new, _] if manager != "apt-get" && !obsoletes && name.contains('.') => {
                    found.packages.push(format!("{name} -> {new}"));
                }
                _ => {}
            }
        }
        whole.then_some(found)
    }

    fn has_work(&self) -> bool {
        self.unfinished || !self.packages.is_empty()
    }

    fn restarts(&self, reboot: Reboot) -> bool {
        match reboot {
            Reboot::OnUpgrade => self.restart,
            Reboot::Always => true,
            Reboot::Never => false,
        }
    }
}

/// The packages of the operating system.
struct Packages<'f> {
    found: &'f Found,
    script: Script,
}

impl Resource for Packages<'_> {
    fn label(&self) -> String {
        "packages of the operating system".into()
    }

    fn probe(&self) -> Probe {
        Probe::default()
    }

    fn plan(&self, _: &Seen) -> Result<Plan, String> {
        let change = |what: String| Change { resource: self.label(), what, diff: None, momentary: false };
        let unfinished = self.found.unfinished.then(|| "what was interrupted is finished".to_owned());
        let changes = unfinished.into_iter().chain(self.found.packages.iter().cloned()).map(change).collect();
        Ok(Plan { changes, script: Some(self.script.clone()), ..Plan::nothing() })
    }

    fn desired(&self) -> String {
        self.label()
    }
}

#[cfg(test)]
mod tests;
