//! Rotation of the certificate authorities: of the cluster's, of the front proxy's and of etcd's, all three at once. The key by
//! which tokens of service accounts are signed is no authority, and stays.
//!
//! Reference: Kubernetes' page "Manual Rotation of CA Certificates". Every machine goes through three phases ([`Phase`]), and none
//! begins one before all are through the one before:
//!
//! 1. *Trust*: certificates of the new authority are trusted as those of the old one are. Control planes and members of etcd do
//!    so one after the other; then the nodes; then the cluster hands it out to pods, and pods that have read it when they began get
//!    new ones in their places.
//! 2. *Sign*: the new authority signs, and signs everything anew. Whoever asks, or is asked, trusts both.
//! 3. *Drop*: the old authority is not trusted any more.
//!
//! Before the first phase the new authorities, with their keys, are put on every control plane and member of etcd, in one file
//! ([`HANDED_ON`]): so none that is in use can be lost with a machine or with this computer. That file says that a rotation is
//! under way: `setup-cluster` and `upgrade-cluster` are refused then ([`crate::cluster::Standing`]).
//!
//! How far a machine is, is told by its files, and by a note beside them of what was started with them ([`machine`]). A phase is
//! begun with the note that it has begun, and whoever has begun a phase never goes back to an earlier one. So a run that was killed
//! anywhere is finished by the same command: each machine goes on where it was.
//!
//! In each file that holds both authorities the one that signs stands first, because kubeadm signs with the first one. The
//! controller manager takes no file with two certificates to sign with, and gets one of its own meanwhile.
//!
//! All machines take part from the beginning to the end: one that was off would find nobody any more whom it trusts.

mod authorities;
mod machine;
mod readiness;
pub(crate) mod workloads;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::{FutureExt, join_all};
use muster_engine::play::{Play, Share};
use muster_engine::prelude::*;
use muster_engine::run::Role;
use serde::Deserialize;

use crate::certificates::{self, Renewal, renewal, runs_again};
use crate::cluster;
use crate::common::cluster_vars;
use crate::etcd::{self, pki};
use crate::kubeadm;
use crate::kubectl::{Kubectl, kubectl};
use authorities::{Authorities, Phase, Reached, Succession};
use machine::{Folders, Machine};

/// What a machine keeps as long as the rotation lasts.
pub(crate) const FOLDER: &str = "/var/lib/muster/rotation";

/// All authorities, with the keys of the new ones.
const HANDED_ON: &str = "/var/lib/muster/rotation/authorities.pem";

/// How far the machine is.
const NOTE: &str = "/var/lib/muster/rotation/reached";

const MANIFEST: &str = "/etc/kubernetes/manifests/kube-controller-manager.yaml";

/// How long the kubelets may take to tell all pods of the new authority.
const VOLUMES: Duration = Duration::from_secs(300);

/// The plays of a rotation, in order.
pub fn plays() -> Vec<Play> {
    let play = |name: &str, hosts: &str, roles: &[&str]| Play {
        name: name.into(),
        hosts: hosts.into(),
        roles: roles.iter().map(ToString::to_string).collect(),
        wait_for_all: true,
        max_failures: Some(Share::Hosts(0)),
        ..Play::default()
    };
    let (all, holders, planes) = ("k8s_cluster:etcd", "kube_control_plane:etcd", "kube_control_plane");
    let others = "k8s_cluster:!kube_control_plane:!etcd";
    let one_by_one = |name, role| Play { serial: Some(Share::Hosts(1)), ..play(name, holders, &[role]) };
    vec![
        Play {
            any_errors_fatal: true,
            ..play("See whether the authorities can be rotated", all, &["rotation-check"])
        },
        play("Hand on the new authorities", holders, &["rotation-hand-on"]),
        one_by_one("Trust both authorities, on control planes and members of etcd", "rotation-trust"),
        play("Trust both authorities, on the other nodes", others, &["rotation-trust"]),
        play("Tell the cluster of both", planes, &["rotation-tell", "kubeconfig"]),
        play("Wait for the pods", all, &["rotation-volumes"]),
        one_by_one("Sign with the new authorities, on control planes and members of etcd", "rotation-sign"),
        play("Sign with the new authorities, on the other nodes", others, &["rotation-sign"]),
        play("Bring the new admin.conf", planes, &["kubeconfig"]),
        // When all controller managers sign with the new one, and while API servers trust both.
        play("Sign what kubelets serve with", "k8s_cluster", &["rotation-serving"]),
        play("See whether all machines of the cluster take part", planes, &["rotation-ask"]),
        one_by_one("Drop the old authorities, on control planes and members of etcd", "rotation-drop"),
        play("Drop the old authorities, on the other nodes", others, &["rotation-drop"]),
        play("Tell the cluster of the new ones alone", planes, &["rotation-forget", "kubeconfig"]),
        // The file that says that a rotation is under way goes last.
        play("Finish on the other nodes", others, &["rotation-finish"]),
        play("Finish on control planes and members of etcd", holders, &["rotation-finish"]),
    ]
}

/// The roles of these plays that are not among all there are.
pub fn roles() -> Vec<Role> {
    let roles = [
        Role { looks_only: true, ..Role::given("rotation-check", |host| readiness::check(host).boxed()) },
        Role::given("rotation-hand-on", |host| hand_on(host).boxed()),
        Role::given("rotation-trust", |host| turn(host, Phase::Trust).boxed()),
        Role::given("rotation-tell", |host| tell(host).boxed()),
        Role::given("rotation-volumes", |host| volumes(host).boxed()),
        Role::given("rotation-sign", |host| turn(host, Phase::Sign).boxed()),
        Role::given("rotation-serving", |host| serving(host).boxed()),
        Role { looks_only: true, ..Role::given("rotation-ask", |host| ask_again(host).boxed()) },
        Role::given("rotation-drop", |host| drop_old(host).boxed()),
        Role::given("rotation-forget", |host| forget(host).boxed()),
        Role::given("rotation-finish", |host| finish(host).boxed()),
    ];
    roles.map(|role| role.reading(READS)).into()
}

#[derive(Deserialize)]
struct Vars {
    etcd_cert_dir: String,
}

/// What of variables these roles read.
const READS: &[&[Read]] = &[cluster::READS, kubeadm::READS, &[Read::of::<Vars>(cluster::MACHINES)]];

fn folders(host: &Host) -> Result<Folders> {
    let vars: Vars = host.vars()?;
    Ok(Folders { cluster: cluster_vars(host)?.kube_cert_dir, etcd: vars.etcd_cert_dir })
}

/// What a machine has now.
async fn look(host: &Host) -> Result<Machine> {
    let folders = folders(host)?;
    let answer =
        host.query(sh(include_str!("look.sh"), [folders.cluster.as_str(), &folders.etcd, NOTE])).await?;
    let seen = Machine::parse(&answer.output);
    let seen = seen.map(|seen| seen.of_groups(host.in_group("kube_control_plane"), host.in_group("etcd")));
    seen.ok_or_else(|| {
        Failure::new(
            format!("the look at {}'s authorities ended early, with status {}", host.name(), answer.status),
            "see on the machine whether root can read the files in /etc/kubernetes, kube_cert_dir and etcd_cert_dir",
        )
    })
}

/// The control planes and members of etcd of the inventory.
fn holders(host: &Host) -> Vec<String> {
    let mut all = host.cluster().group("kube_control_plane");
    all.extend(host.cluster().group("etcd"));
    all.sort_unstable();
    all.dedup();
    all
}

/// What was handed on before this run; `None` where no rotation is under way.
async fn under_way(host: &Host) -> Result<Arc<Option<Authorities>>> {
    let read = || async {
        let texts = join_all(holders(host).into_iter().map(|name| async move {
            let answer =
                host.cluster().host(&name)?.query(sh(r#"[ ! -e "$1" ] || cat "$1""#, [HANDED_ON])).await?;
            Ok((name, answer.output))
        }));
        let texts: Vec<(String, String)> = texts.await.into_iter().collect::<Result<_>>()?;
        let mut found = BTreeMap::new();
        for (name, text) in texts.into_iter().filter(|(_, text)| !text.trim().is_empty()) {
            let all = Authorities::parse(&text).ok_or_else(|| {
                Failure::new(
                    format!("{HANDED_ON} of {name} is damaged"),
                    format!("if another control plane has it, remove it on {name} and run again"),
                )
            })?;
            found.insert(all.id(), (name, all));
        }
        let mut found = found.into_values();
        match (found.next(), found.next()) {
            (Some((one, _)), Some((other, _))) => Err(Failure::new(
                format!("{one} and {other} have {HANDED_ON} of two rotations"),
                "remove it on the machine whose ca.crt does not hold the first certificate of it, and run again",
            )),
            (first, _) => Ok(first.map(|(_, all)| all)),
        }
    };
    host.cluster().once("the rotation that is under way", read).await
}

/// The authorities of this run: those of the rotation that is under way, else new ones.
async fn authorities(host: &Host) -> Result<Arc<Authorities>> {
    let make = || async {
        if let Some(all) = &*under_way(host).await? {
            return Ok(all.clone());
        }
        let known = cluster::known(host).await?;
        let nobody =
            || Failure::new("no control plane stands, or no member of etcd has data", "setup-cluster");
        let plane = host.cluster().host(known.standing().first().ok_or_else(nobody)?)?;
        let member = host.cluster().host(known.reached_member().ok_or_else(nobody)?)?;
        let (of_plane, of_member) = (folders(&plane)?, folders(&member)?);
        let lasts =
            time::Duration::try_from(cluster::authority_lasts(&plane)?).unwrap_or(time::Duration::MAX);
        let asked = kubeadm::keys_asked_for(&plane)?;
        let (plane, member) = (look(&plane).await?, look(&member).await?);
        let follow = |old: &[String], name: &str, lasts, asked| {
            Succession::after(old.concat(), name, lasts, asked).map_err(pki::internal)
        };
        Ok(Authorities {
            cluster: follow(plane.certificates(&of_plane.ca()), "kubernetes", lasts, asked)?,
            front_proxy: follow(
                plane.certificates(&format!("{}/front-proxy-ca.crt", of_plane.cluster)),
                "front-proxy-ca",
                lasts,
                asked,
            )?,
            etcd: follow(
                member.certificates(&format!("{}/ca.pem", of_member.etcd)),
                pki::NAME,
                pki::AUTHORITY_LASTS,
                None,
            )?,
        })
    };
    host.cluster().once("the authorities that follow", make).await
}

/// The new authorities are on the machine, before anybody uses them.
async fn hand_on(host: &Host) -> Result<()> {
    let all = authorities(host).await?;
    if !look(host).await?.takes_part(&folders(host)?) {
        host.passed("The machine is in no cluster");
        return Ok(());
    }
    host.step("Hand on the new authorities")
        .ensure(dir(FOLDER).mode(0o700))
        .ensure(file(HANDED_ON).secret(all.text()))
        .await
        .map(drop)
}

/// The kubelet serves with a certificate of the new authority, where it has one of the cluster's.
async fn serving(host: &Host) -> Result<()> {
    let all = authorities(host).await?;
    let look = sh(
        r#"sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/p' "$1" 2>/dev/null"#,
        [kubeadm::serving::CERTIFICATE],
    );
    let found = host.query(look).await?.output;
    let has = authorities::blocks(&found);
    if has.first().is_none_or(|certificate| all.cluster.has_signed(certificate)) {
        host.passed("Look at what the kubelet serves with");
        return Ok(());
    }
    let renewed = Renewal { serving: true, ..Renewal::default() };
    let another = command("another certificate to serve with", renewal(renewed), sh0("false"));
    host.step("Let the kubelet ask for a certificate").detached().ensure(another).await?;
    runs_again(host, &[]).await?;
    kubeadm::serving::run(host).await
}

/// All machines of the cluster take part, also now, before the old authorities are dropped: where a rotation goes on the check at
/// the beginning passes over an API that does not answer. Asked by the control plane that leads.
async fn ask_again(host: &Host) -> Result<()> {
    let known = cluster::known(host).await?;
    if known.leader() == Some(host.name()) && !host.check_mode() {
        let all = authorities(host).await?;
        let looks = join_all(holders(host).into_iter().map(|name| async move {
            let holder = host.cluster().host(&name)?;
            Ok((look(&holder).await?, folders(&holder)?))
        }));
        let looks: Vec<(Machine, Folders)> = looks.await.into_iter().collect::<Result<_>>()?;
        let mut reached = looks.iter().map(|(seen, folders)| seen.reached(&all, folders));
        // Whoever has begun to drop them has asked, and is finished even if that is what keeps the API away.
        if !reached.any(|reached| reached.is_beyond(Phase::Sign)) {
            readiness::is_complete(host, &known).await?;
        }
    }
    host.passed("Look at the nodes and members of etcd");
    Ok(())
}

/// The machine does not trust the old authorities any more. A kubelet may have got a certificate of the old one since it was its
/// turn to get a new one.
async fn drop_old(host: &Host) -> Result<()> {
    if !host.check_mode() {
        turn(host, Phase::Sign).await?;
    }
    turn(host, Phase::Drop).await
}

/// The machine goes through a phase.
async fn turn(host: &Host, phase: Phase) -> Result<()> {
    let (all, folders, seen) = (authorities(host).await?, folders(host)?, look(host).await?);
    if !seen.takes_part(&folders) || seen.is_through(&all, &folders, phase) {
        host.passed("Look at the authorities");
        return Ok(());
    }
    note(host, "Note what begins", &all, Reached::Begun(phase)).await?;
    if !seen.certificates(&format!("{}/ca.pem", folders.etcd)).is_empty() {
        turn_etcd(host, &all.etcd, &folders, phase).await?;
    }
    if seen.is_node() {
        turn_node(host, &all, &folders, &seen, phase).await?;
    }
    if !host.check_mode() && phase != Phase::Trust {
        let seen = look(host).await?;
        let left = seen.unsigned(&all, &folders);
        if !left.is_empty() {
            return Err(Failure::new(
                format!("the new authorities have not signed {} of {}", left.join(", "), host.name()),
                "nothing is lost, because both are trusted: see why, and run the same command again",
            ));
        }
    }
    note(host, "Note what is done", &all, Reached::Done(phase)).await
}

async fn note(host: &Host, step: &str, all: &Authorities, reached: Reached) -> Result<()> {
    let step = host.step(step).ensure(dir(FOLDER).mode(0o700));
    step.ensure(file(NOTE).secret(all.note(reached))).await.map(drop)
}

/// etcd reads whom it trusts when it starts, and certificates at each new connection.
async fn turn_etcd(host: &Host, etcd: &Succession, folders: &Folders, phase: Phase) -> Result<()> {
    if phase == Phase::Sign {
        return pki::sign_anew(host, pki::Authority::of(etcd.trusted(phase), etcd.key.clone())).await;
    }
    let trusted = file(format!("{}/ca.pem", folders.etcd)).secret(etcd.trusted(phase)).mode(0o644);
    let step = host.step("Trust etcd's authorities").ensure(trusted);
    if !host.in_group("etcd") {
        return step.await.map(drop);
    }
    // Where a run was cut off, another member may be down since then.
    if !host.check_mode() {
        etcd::may_be_restarted(host).await?;
    }
    step.ensure(command("etcd starts anew", sh0("systemctl restart etcd"), sh0("false"))).await?;
    etcd::is_healthy(host).await
}

/// The kubelet, and what of a control plane is on the machine.
async fn turn_node(
    host: &Host,
    all: &Authorities,
    folders: &Folders,
    seen: &Machine,
    phase: Phase,
) -> Result<()> {
    let is_plane = seen.is_plane(folders);
    let known = cluster::known(host).await?;
    let trusted = all.cluster.trusted(phase);
    let public = |path: String, content: &str| file(path).secret(content).mode(0o644);
    let mut step = host.step(match phase {
        Phase::Trust => "Trust both authorities",
        Phase::Sign => "Sign with the new authorities",
        Phase::Drop => "Trust the new authorities alone",
    });
    let signs_with = |path: &str| {
        let check = sh(r#"grep -qxF -e "    - --cluster-signing-cert-file=$2" "$1""#, [MANIFEST, path]);
        command(
            "what the controller manager signs with",
            sh(include_str!("signer.sh"), [MANIFEST, path]),
            check,
        )
    };
    let (ca, signer) = (public(folders.ca(), &trusted), public(folders.signer(), all.cluster.signer(phase)));
    let proxy = format!("{}/front-proxy-ca", folders.cluster);
    let proxies = public(format!("{proxy}.crt"), &all.front_proxy.trusted(phase));
    // At each moment the controller manager could start with what is there.
    step = match (is_plane, phase) {
        (false, _) => step.ensure(ca),
        (true, Phase::Trust) => {
            step.ensure(signer).ensure(signs_with(&folders.signer())).ensure(ca).ensure(proxies)
        }
        (true, Phase::Sign) => step
            .ensure(file(format!("{}/ca.key", folders.cluster)).secret(&all.cluster.key))
            .ensure(signer)
            .ensure(ca)
            .ensure(file(format!("{proxy}.key")).secret(&all.front_proxy.key))
            .ensure(proxies),
        (true, Phase::Drop) => {
            step.ensure(ca).ensure(signs_with(&folders.ca())).remove(signer).ensure(proxies)
        }
    };
    step.await?;
    // Whom to trust is read at the start. API servers read certificates anew by themselves, and controllers may show their old ones as
    // long as both authorities are trusted; but the controller manager must sign with the new one before a kubelet asks it again.
    let components: &[&str] = match (is_plane, phase) {
        (true, Phase::Sign) => &["kube-controller-manager"],
        (true, _) => &["kube-apiserver", "kube-controller-manager", "kube-scheduler"],
        (false, Phase::Sign) => &[],
        (false, _) => &["api-balancer"],
    };
    let mut renewed = Renewal {
        components: components.join(" "),
        trusted: STANDARD.encode(&trusted),
        ..Renewal::default()
    };
    if phase == Phase::Sign && !host.check_mode() {
        if let Some(node) = known.node(host.name()) {
            renewed.kubelet = certificates::sign(host, &known, node).await?;
        }
        if is_plane {
            let mut names = vec!["apiserver", "apiserver-kubelet-client", "front-proxy-client"];
            names.extend(seen.renewed_kubeconfigs());
            renewed.kubeadm = names.join(" ");
        }
    }
    let what = match phase {
        Phase::Trust | Phase::Drop => "kubeconfigs, and a new start of all that reads authorities",
        Phase::Sign => "certificates, and a new start of all that reads them once",
    };
    host.step("Start anew").detached().ensure(command(what, renewal(renewed), sh0("false"))).await?;
    runs_again(host, if is_plane { components } else { &[] }).await?;
    if is_plane && !host.check_mode() {
        kubeadm::is_steady(host).await?;
    }
    Ok(())
}

/// The cluster hands out both authorities, and pods that have read one when they began get new ones in their places. Done by the
/// control plane that leads.
async fn tell(host: &Host) -> Result<()> {
    let what = "Tell the cluster of both authorities";
    let all = authorities(host).await?;
    if cluster::known(host).await?.leader() != Some(host.name())
        || look(host).await?.reached(&all, &folders(host)?).is_beyond(Phase::Trust)
    {
        host.passed(what);
        return Ok(());
    }
    let Some(kubectl) = Kubectl::find(host).await?.filter(|_| !host.check_mode()) else {
        host.not_yet(what);
        return Ok(());
    };
    // From here on a machine that has not heard of the new authorities is lost to the cluster.
    readiness::is_complete(host, &*cluster::known(host).await?).await?;
    hand_out(&kubectl, &all.cluster, Phase::Trust).await?;
    workloads::begin_anew(host, &kubectl, &all.id()).await
}

/// What the cluster hands out to machines that join and to pods.
async fn hand_out(kubectl: &Kubectl<'_>, cluster: &Succession, phase: Phase) -> Result<()> {
    let trusted = STANDARD.encode(cluster.trusted(phase));
    kubectl
        .run(
            "Tell the cluster whom it trusts",
            kubectl!(concat!(include_str!("../cluster_info.sh"), include_str!("tell.sh")), [trusted]),
        )
        .await?;
    let [new, old] = cluster.lines();
    let told = kubectl!(include_str!("told.sh"), [new, if phase == Phase::Drop { old } else { "" }]);
    let (every, limit) = (Duration::from_secs(1), Duration::from_secs(180));
    kubectl.wait(Wait::new("every namespace knows the authorities", told, every, limit)).await.map(drop)
}

/// The kubelet has told its pods of the new authority, before anybody shows them a certificate of it.
async fn volumes(host: &Host) -> Result<()> {
    let (all, folders, seen) = (authorities(host).await?, folders(host)?, look(host).await?);
    if !seen.is_node() || seen.reached(&all, &folders).is_beyond(Phase::Trust) {
        host.passed("Look at the volumes of pods");
        return Ok(());
    }
    let [new, old] = all.cluster.lines();
    let told = sh(include_str!("volumes.sh"), [old, new]);
    let every = Duration::from_secs(2);
    host.wait(Wait::new("pods know the new authority", told, every, VOLUMES)).await.map(drop)
}

/// The cluster hands out the new authority alone.
async fn forget(host: &Host) -> Result<()> {
    let what = "Tell the cluster of the new authorities alone";
    let all = authorities(host).await?;
    if cluster::known(host).await?.leader() != Some(host.name()) {
        host.passed(what);
        return Ok(());
    }
    let Some(kubectl) = Kubectl::find(host).await?.filter(|_| !host.check_mode()) else {
        host.not_yet(what);
        return Ok(());
    };
    hand_out(&kubectl, &all.cluster, Phase::Drop).await?;
    let lines = [all.cluster.lines()[1], all.front_proxy.lines()[1]];
    let forget = kubectl!(include_str!("forget.sh"), lines);
    let limit = Duration::from_secs(180);
    kubectl
        .plane()
        .run_on_behalf_of(host, "Tell API servers of the new authorities alone", forget, limit)
        .await
        .map(drop)
}

/// Nothing is left of the rotation.
async fn finish(host: &Host) -> Result<()> {
    host.step("Leave nothing of the rotation").remove(dir(FOLDER)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_part_is_asked_when_all_have_signed_and_before_anything_is_dropped() {
        let plays = plays();
        let places = |role: &str| {
            let of = plays.iter().enumerate().filter(|(_, play)| play.roles.iter().any(|one| one == role));
            of.map(|(place, _)| place).collect::<Vec<_>>()
        };
        let [ask] = places("rotation-ask")[..] else { panic!("asked once") };
        let before = [places("rotation-sign"), places("rotation-serving")].concat();
        let after = [places("rotation-drop"), places("rotation-forget")].concat();
        assert!(before.len() == 3 && before.iter().all(|place| *place < ask), "{before:?} {ask}");
        assert!(after.len() == 3 && after.iter().all(|place| *place > ask), "{ask} {after:?}");
        // Whoever finds that somebody is missing, or is not answered, ends the run for all.
        assert!(plays[ask].wait_for_all && plays[ask].max_failures == Some(Share::Hosts(0)));
        let roles = roles();
        assert!(plays.iter().all(|play| {
            play.roles.iter().all(|name| name == "kubeconfig" || roles.iter().any(|role| role.name == *name))
        }));
    }
}
