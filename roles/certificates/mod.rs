//! Certificates: which there are, when they end, and how they are renewed.
//!
//! A machine tells its certificates with its identity ([`crate::cluster`]), so looking at them costs no exchange of its own.
//! kubeadm renews those of the control plane without any API server, from the authority on the machine; it also signs the
//! kubelet's, which a kubelet whose certificate has ended cannot ask for any more. etcd's are made by muster ([`crate::etcd::pki`]);
//! etcd and its clients read them at each new connection (etcd: client/pkg/transport/listener.go), so that nothing restarts.

mod due;
mod keys;
pub(crate) mod renewal_timer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::FutureExt;
use muster_engine::play::{Play, Share};
use muster_engine::prelude::*;
use muster_engine::run::Role;
use serde::Deserialize;
use time::OffsetDateTime;

use crate::cluster::{self, Identity, Standing, decoded};
use crate::etcd;
use crate::kubeadm;
use crate::kubectl::api_answers;
use due::Due;

pub use crate::cluster::Certificate;
pub(crate) use keys::Keys;

/// Says that a renewal is under way on a machine (`renew.sh`).
pub(crate) const RENEWING: &str = "/var/lib/muster/stamps/renewing-certificates";

/// Below how many days `setup-cluster` renews a certificate.
pub const RENEWED_BELOW: i64 = 30;

/// The certificates that were found, with the host that has them.
pub type Found = Arc<Mutex<Vec<(String, Certificate)>>>;

/// What stands for this computer among the hosts.
pub const HERE: &str = "this computer";

/// The role that asks each machine for its certificates, and keeps what it says.
pub fn look(found: Found) -> Role {
    let role = Role::given("certificates", move |host| ask(host, found.clone()).boxed());
    Role { looks_only: true, ..role.reading(LOOK_READS) }
}

#[derive(Deserialize)]
struct Vars {
    artifacts_dir: PathBuf,
}

/// What of variables a look at the certificates reads.
const LOOK_READS: &[&[Read]] = &[cluster::READS, &[Read::own::<Vars>()]];

async fn ask(host: &Host, found: Found) -> Result<()> {
    let answer = host.query(cluster::question(host)?).await?;
    let identity = cluster::answered(host, &answer).await?;
    let vars: Vars = host.vars()?;
    let path = vars.artifacts_dir.join("admin.conf");
    let here = || async { Ok(std::fs::read_to_string(&path).ok()) };
    let mut all: Vec<(String, Certificate)> = identity
        .certificates
        .iter()
        .map(|certificate| (host.name().to_owned(), certificate.clone()))
        .collect();
    let key = format!("certificate of {}", path.display());
    // Each host says the same of it.
    if let Some(text) = &*host.cluster().once(&key, here).await? {
        all.push((HERE.to_owned(), of_kubeconfig(&path.display().to_string(), text)));
    }
    found.lock().unwrap_or_else(PoisonError::into_inner).extend(all);
    Ok(())
}

/// The certificate with which a kubeconfig logs in.
fn of_kubeconfig(path: &str, text: &str) -> Certificate {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("client-certificate-data:"));
    let certificate = line.and_then(|base64| cluster::embedded_certificate(base64.trim()));
    Certificate::of(path, &certificate.unwrap_or_default())
}

/// For how many days a kubeconfig logs in; `None` for one without a certificate.
pub fn days_of_kubeconfig(text: &str) -> Option<i64> {
    of_kubeconfig("", text).days_left(OffsetDateTime::now_utc())
}

/// Whether a kubeconfig logs in for fewer days than another one of the same administrator.
pub fn ends_sooner(here: &str, there: &str) -> bool {
    let days = (days_of_kubeconfig(here), days_of_kubeconfig(there));
    matches!(days, (Some(here), Some(there)) if here < there)
}

/// The plays of a renewal: etcd's certificates, the control planes one after the other, the other nodes, admin.conf here.
///
/// Machines that are off are left out: where certificates have ended, no API would answer that could take them out of the cluster. No
/// member of etcd restarts, and each is seen to be healthy, which it is only in a majority. Whoever fails ends the run for all.
pub fn plays() -> Vec<Play> {
    let play = |name: &str, hosts: &str, role: &str| Play {
        name: name.into(),
        hosts: hosts.into(),
        roles: vec![role.into()],
        wait_for_all: true,
        ..Play::default()
    };
    vec![
        Play {
            any_errors_fatal: true,
            max_failures: Some(Share::Percent(100)),
            ..play("Renew etcd's certificates", "etcd:kube_control_plane", "renew-etcd")
        },
        Play {
            any_errors_fatal: true,
            max_failures: Some(Share::Percent(100)),
            serial: Some(Share::Hosts(1)),
            ..play("Renew the control planes", "kube_control_plane", "renew-certificates")
        },
        play("Renew the nodes", "k8s_cluster", "renew-node"),
        play("Hand over admin.conf", "kube_control_plane", "kubeconfig"),
        play("Say where nothing was due", "kube_control_plane", "renew-told"),
    ]
}

/// The roles of these plays that are not among all there are. They renew what has fewer days left than this.
pub fn roles(below: i64) -> Vec<Role> {
    let roles = [
        Role::given("renew-etcd", move |host| renew_etcd(host, below).boxed()),
        Role::given("renew-certificates", move |host| renew_all(host, below).boxed()),
        Role::given("renew-node", move |host| renew_node(host, below).boxed()),
        Role::given("renew-told", move |host| tell_of_nothing(host, below).boxed()),
    ];
    roles.map(|role| role.reading(&[cluster::READS, kubeadm::READS])).into()
}

async fn renew_etcd(host: &Host, below: i64) -> Result<()> {
    cluster::belongs(host).await?;
    let member = host.in_group("etcd");
    if member {
        etcd::pki::renew_member(host, below).await?;
    }
    if host.in_group("kube_control_plane") {
        let (folder, identity) = etcd::pki::client(host, below).await?;
        identity.install(host, &folder).await?;
    }
    if member { etcd::is_healthy(host).await } else { Ok(()) }
}

async fn renew_all(host: &Host, below: i64) -> Result<()> {
    let known = cluster::belongs(host).await?;
    if !renew(host, &known, below).await? {
        host.passed("Look at the certificates");
    }
    Ok(())
}

/// A control plane has had its turn: what was seen of it before the run is not so any more.
async fn renew_node(host: &Host, below: i64) -> Result<()> {
    if host.in_group("kube_control_plane") { Ok(()) } else { renew_all(host, below).await }
}

/// Says that there was nothing to renew, by the control plane that leads.
async fn tell_of_nothing(host: &Host, below: i64) -> Result<()> {
    if cluster::known(host).await?.leader() == Some(host.name()) && !host.cluster().changed() {
        host.tell(format!("nothing was renewed: no certificate has fewer than {below} days left"));
    }
    Ok(())
}

/// Renews what of a machine has fewer days left than this, and waits until it is well again. Says whether there was something.
///
/// Decided by what was seen before the run changed anything: where there is nothing to do, it takes no exchange.
pub(crate) async fn renew(host: &Host, known: &Standing, below: i64) -> Result<bool> {
    let Some(identity) = known.identity(host.name()) else { return Ok(false) };
    let due = Due::of(identity, below, OffsetDateTime::now_utc());
    if due.files.is_empty() {
        return Ok(false);
    }
    let kubelet = match (due.kubelet && !host.check_mode(), &identity.node) {
        (true, Some(node)) => sign(host, known, node).await?,
        _ => String::new(),
    };
    let components = due.components();
    let renew = renewal(Renewal {
        kubeadm: due.kubeadm.join(" "),
        components: components.join(" "),
        kubelet,
        serving: due.serving,
        trusted: String::new(),
    });
    if known.planes == [host.name()] && components.contains(&"kube-apiserver") {
        host.tell(format!(
            "{} is the only control plane: the API is away for some seconds while its API server starts anew",
            host.name()
        ));
    }
    let what = format!("certificates {}", due.files.join(", "));
    host.step("Renew certificates").detached().ensure(command(what, renew, sh0("false"))).await?;
    runs_again(host, &components).await?;
    if due.serving {
        kubeadm::serving::run(host).await?;
    }
    Ok(true)
}

/// What `renew.sh` does on a machine.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    /// What `kubeadm certs renew` renews, by its names for it.
    pub(crate) kubeadm: String,
    /// The parts of the control plane that start anew.
    pub(crate) components: String,
    /// The certificate by which the API server knows the kubelet, with its key; or nothing.
    pub(crate) kubelet: String,
    /// Whether the kubelet gets itself another certificate for those who ask it.
    pub(crate) serving: bool,
    /// The authorities that kubeconfigs trust from now on, as base64; or nothing.
    pub(crate) trusted: String,
}

const RENEW: &str =
    concat!(include_str!("../own_api_server.sh"), include_str!("../restart.sh"), include_str!("renew.sh"));

pub(crate) fn renewal(what: Renewal) -> Script {
    let serving = if what.serving { "serving" } else { "" }.to_owned();
    let config = kubeadm::CONFIG.to_owned();
    sh(RENEW, [config, what.kubeadm, what.components, what.kubelet, serving, what.trusted])
}

/// Waits until the kubelet and these parts of the control plane run, and the API answers if one of them needs it.
pub(crate) async fn runs_again(host: &Host, components: &[&str]) -> Result<()> {
    let well = sh(
        r#"systemctl is-active -q kubelet || exit 1
for component in $1; do
  id=$(ctr -n k8s.io containers ls -q "labels.\"io.kubernetes.container.name\"==$component,labels.\"io.kubernetes.pod.namespace\"==kube-system")
  ctr -n k8s.io tasks ls | awk -v all="$id" 'index(all, $1) && $3 == "RUNNING" { found = 1 } END { exit !found }' || {
    echo "$component does not run" >&2
    exit 1
  }
done"#,
        [components.join(" ")],
    );
    let (every, limit) = (Duration::from_secs(1), Duration::from_secs(180));
    host.wait(Wait::new("what reads them runs again", well, every, limit)).await?;
    if !components.is_empty() {
        api_answers(host, Duration::from_secs(180)).await?;
    }
    Ok(())
}

/// A certificate, with its key, by which the API server knows the kubelet of a node. A control plane signs it, without any API
/// server. Reference: kubeadm's troubleshooting, "Kubelet client certificate rotation fails".
pub(crate) async fn sign(host: &Host, known: &Standing, node: &str) -> Result<String> {
    let on = if known.identity(host.name()).is_some_and(Identity::stands) {
        Some(host.name())
    } else {
        known.standing().first().copied()
    };
    let on = on.ok_or_else(|| {
        Failure::new(
            format!("no control plane was reached that could sign a certificate for {}", host.name()),
            "see why: muster ping kube_control_plane",
        )
    })?;
    let plane = host.cluster().host(on)?;
    let ask = sh(
        r#"kubeadm kubeconfig user --org system:nodes --client-name "system:node:$2" --config "$1""#,
        [kubeadm::CONFIG, node],
    );
    let answer = plane.query(ask).await?;
    pem(&answer.output).filter(|_| answer.status == 0).ok_or_else(|| {
        Failure::new(
            format!("{on} signs no certificate for the kubelet of {}", host.name()),
            format!(
                "see on {on}: kubeadm kubeconfig user --client-name system:node:{node} --config {}",
                kubeadm::CONFIG
            ),
        )
    })
}

/// The certificate and the key in a kubeconfig, as one file in PEM.
fn pem(kubeconfig: &str) -> Option<String> {
    let part = |key: &str| {
        let base64 = kubeconfig.lines().find_map(|line| line.trim().strip_prefix(key))?;
        String::from_utf8(decoded(base64.trim())?).ok()
    };
    Some(part("client-certificate-data:")? + &part("client-key-data:")?)
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::*;

    #[test]
    fn a_renewal_that_was_cut_off_is_known_until_it_is_done() {
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().display();
            let program = include_str!("renew.sh").replace("/var/lib/muster", &format!("{path}/muster"));
            // The power goes in the middle of it.
            let run = |kubeadm: &str| {
                let program = format!("kubeadm() {{ {kubeadm}; }}\nrestart() {{ :; }}\n{program}");
                let mut command = std::process::Command::new(shell[0]);
                command.args(&shell[1..]).args([
                    "-euc",
                    &program,
                    "sh",
                    "c",
                    "apiserver",
                    "kube-apiserver",
                    "",
                    "",
                    "",
                ]);
                command.status().unwrap().success()
            };
            let mark = RENEWING.replace("/var/lib/muster", &format!("{path}/muster"));
            assert!(!run("exit 9") && std::fs::exists(&mark).unwrap(), "{shell:?}");
            assert!(run(":") && !std::fs::exists(&mark).unwrap(), "{shell:?}");
        }
    }

    #[test]
    fn a_kubeconfig_holds_a_certificate_and_its_key() {
        let text = "users:\n- user:\n    client-certificate-data: Y2VydA==\n    client-key-data: a2V5\n";
        assert_eq!(pem(text).as_deref(), Some("certkey"));
        assert_eq!(pem("error: no such file\n"), None);
    }

    #[test]
    fn one_kubeconfig_ends_sooner_than_another() {
        let config = |days: i64| {
            let mut params = rcgen::CertificateParams::default();
            params.not_after =
                OffsetDateTime::now_utc() + time::Duration::days(days) + time::Duration::hours(1);
            let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
            let base64 = base64::engine::general_purpose::STANDARD.encode(certificate);
            format!("users:\n- user:\n    client-certificate-data: {base64}\n")
        };
        let (soon, later) = (config(3), config(300));
        assert_eq!((days_of_kubeconfig(&soon), days_of_kubeconfig(&config(-2))), (Some(3), Some(-2)));
        assert!(ends_sooner(&soon, &later) && !ends_sooner(&later, &soon) && !ends_sooner(&soon, &soon));
        // Another control plane's, which was made a minute later.
        assert!(!ends_sooner(&soon, &config(3)));
        assert!(!ends_sooner("users: []\n", &later), "somebody logs in by other means");
    }
}
