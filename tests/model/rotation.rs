//! A cluster of model machines gets new certificate authorities: the controller is killed before or after every exchange, nobody
//! ever shows a certificate that the one who is asked does not trust, and the same command finishes it.
//!
//! What a program trusts it has read when it started; a certificate is read anew at each connection. So a machine that starts too
//! early or too late, or is signed for too early or too late, is noticed at the next exchange with anything.

use muster_roles::rotation;
use muster_testkit::fault_record::held;
use muster_testkit::model::machine::Machine;
use muster_testkit::model::shell::{Done, Shell};
use x509_parser::pem::Pem;

use crate::cluster::{Cluster, State, content, put, say, write};
use crate::events::after;
use crate::kills::{At, killed_everywhere};
use crate::kubeadm_files::{Authority, CLIENT, base64, decoded, node_files, told};
use crate::line::{Controller, Kill};
use crate::{GROUPS, IN_USE, MACHINES, World, hosts, simulated};

pub(crate) const SSL: &str = "/etc/kubernetes/ssl";
pub(crate) const CA: &str = "/etc/kubernetes/ssl/ca.crt";
pub(crate) const ETCD_CA: &str = "/etc/ssl/etcd/ssl/ca.pem";
pub(crate) const PROXY_CA: &str = "/etc/kubernetes/ssl/front-proxy-ca.crt";
/// Says that a renewal is under way on a machine.
const RENEWING: &str = "/var/lib/muster/stamps/renewing-certificates";
pub(crate) const KUBECONFIGS: [&str; 3] = ["admin", "controller-manager", "scheduler"];
const SIGNS_WITH: &str = "    - --cluster-signing-cert-file=";

/// The new authorities get keys that are made in no time.
const KEYS: &[&str] = &["kube_asymmetric_encryption_algorithm=ECDSA-P256"];

/// The authorities that the programs of a machine have read, in PEM; nothing where they do not run.
#[derive(Default)]
pub(crate) struct Running {
    etcd: String,
    api_server: String,
    /// Whom the API server believes that it is etcd.
    etcd_of_api_server: String,
    kubelet: String,
}

impl Running {
    fn api_server_starts(&mut self, machine: &Machine) {
        (self.api_server, self.etcd_of_api_server) = (content(machine, CA), content(machine, ETCD_CA));
    }

    fn kubelet_starts(&mut self, machine: &Machine) {
        let conf = content(machine, "/etc/kubernetes/kubelet.conf");
        self.kubelet = decoded(&told(&conf, "certificate-authority-data:"));
    }
}

/// The certificates of a text in PEM.
fn certificates(text: &str) -> Vec<Pem> {
    Pem::iter_from_buffer(text.as_bytes()).flatten().filter(|pem| pem.label == "CERTIFICATE").collect()
}

/// Whether one of these authorities has signed the first certificate of a text.
fn is_trusted(certificate: &str, authorities: &str) -> bool {
    let certificate = certificates(certificate);
    let Some(certificate) = certificate.first().and_then(|pem| pem.parse_x509().ok()) else { return false };
    certificates(authorities).iter().any(|authority| {
        let authority = authority.parse_x509().unwrap();
        certificate.verify_signature(Some(authority.public_key())).is_ok()
    })
}

/// Notes whoever would be turned away now.
pub(crate) fn look_around(state: &mut State) {
    let State { running, machines, off, wrong, .. } = state;
    let there: Vec<_> = running.iter().filter(|(name, _)| !off.contains(*name)).collect();
    let mut meets = |who: &str, shows: String, whom: &str, trusts: &str| {
        if !trusts.is_empty() && !shows.is_empty() && !is_trusted(&shows, trusts) {
            wrong.push(format!("{whom} does not trust {who}"));
        }
    };
    for (name, asked) in &there {
        for (other, asks) in &there {
            let of_other = |path: &str| content(&machines[*other], path);
            let member =
                if asks.etcd.is_empty() { String::new() } else { of_other("/etc/ssl/etcd/ssl/member.pem") };
            let client = of_other("/etc/ssl/etcd/ssl/client.pem");
            let server = of_other("/etc/kubernetes/ssl/apiserver.crt");
            meets(&format!("the member {other}"), member.clone(), &format!("the member {name}"), &asked.etcd);
            meets(&format!("the API server of {other}"), client, &format!("the member {name}"), &asked.etcd);
            meets(
                &format!("the member {other}"),
                member,
                &format!("the API server of {name}"),
                &asked.etcd_of_api_server,
            );
            meets(
                &format!("the API server of {other}"),
                server,
                &format!("the kubelet of {name}"),
                &asked.kubelet,
            );
            meets(
                &format!("the kubelet of {other}"),
                of_other(CLIENT),
                &format!("the API server of {name}"),
                &asked.api_server,
            );
        }
    }
}

/// A unit was started.
pub(crate) fn started(state: &mut State, machine: &Machine, unit: &str) {
    let Some(running) = state.running.get_mut(&machine.name) else { return };
    match unit {
        "etcd.service" => running.etcd = content(machine, ETCD_CA),
        "kubelet.service" => running.kubelet_starts(machine),
        _ => {}
    }
    look_around(state);
}

/// `ctr tasks kill` of a container of the API server: the kubelet starts it anew.
pub(crate) fn api_server_ends(state: &mut State, machine: &Machine) {
    if let Some(running) = state.running.get_mut(&machine.name) {
        running.api_server_starts(machine);
    }
    look_around(state);
}

/// An authority as it is in two files: the first certificate is the one that signs.
pub(crate) fn authority(machine: &Machine, path: &str) -> Option<Authority> {
    let certificate = content(machine, path);
    let first = certificate.split_inclusive("-----END CERTIFICATE-----\n").next()?.to_owned();
    let key = content(machine, &path.replace(".crt", ".key"));
    if key.is_empty() {
        return None;
    }
    let authority = Authority { certificate: first, key, lasts: 0 };
    // kubeadm compares them.
    is_trusted(&authority.server(), &authority.certificate).then_some(authority)
}

impl Cluster {
    /// `kubeadm certs renew`, and `kubeadm kubeconfig user`.
    pub(crate) async fn signs(&self, shell: &mut Shell, words: &[&str]) -> Done {
        let machine = shell.machine.clone();
        let path = if words.contains(&"front-proxy-client") { PROXY_CA } else { CA };
        let Some(authority) = authority(&machine, path) else {
            return say(shell, &format!("kubeadm: the key is not that of the certificate in {path}"), 1);
        };
        let signed = authority.server();
        if words.first() == Some(&"certs") {
            // What reads them starts anew afterwards: on one control plane, and then on the next one.
            let mut state = self.state();
            let renews = |other: &Machine| other.state().kept.disk.file(RENEWING).is_some();
            let others = state.nodes.iter().filter(|(name, other)| **name != machine.name && renews(other));
            let beside: Vec<String> = others.map(|(name, _)| name.clone()).collect();
            if !beside.is_empty() {
                state
                    .wrong
                    .push(format!("the certificates of {} are renewed beside {beside:?}", machine.name));
            }
        }
        match words {
            ["kubeconfig", "user", "--org", "system:nodes", "--client-name", name, ..] => {
                let both = authority.client(name.trim_start_matches("system:node:"));
                let (certificate, key) = both.split_at(both.find("-----BEGIN PRIVATE").unwrap_or(0));
                let [certificate, key] = [certificate, key].map(|text| base64(text.as_bytes()));
                let text =
                    format!("    client-certificate-data: {certificate}\n    client-key-data: {key}\n");
                return shell.write(1, text.as_bytes()).map(|_| 0);
            }
            ["certs", "renew", name, ..] if name.ends_with(".conf") => {
                let path = format!("/etc/kubernetes/{name}");
                let conf = kubeconfig(&authority, &content(&machine, &path));
                put(shell, &path, &conf, 0o600);
            }
            ["certs", "renew", name, ..] => {
                put(shell, &format!("{SSL}/{name}.crt"), &signed, 0o600);
                put(shell, &format!("{SSL}/{name}.key"), &signed, 0o600);
                if *name == "apiserver" {
                    let mut state = self.state();
                    if let Some(stranger) = state.arrives.take() {
                        let machine = state.machines["m4"].clone();
                        state.nodes.insert(stranger, machine);
                    }
                    // From now on it is the cluster's.
                    if let Some(last) = state.authorities.last_mut() {
                        *last = authority;
                    }
                }
            }
            _ => return crate::cluster::unknown(shell, "kubeadm", words),
        }
        Ok(0)
    }
}

/// A kubeconfig that leads where another one does. kubeadm writes the authority that signs alone.
pub(crate) fn kubeconfig(authority: &Authority, former: &str) -> String {
    let client = base64(authority.server().as_bytes());
    authority.kubeconfig(told(former, "server:").trim_start_matches("https://"))
        + &format!("users:\n- user:\n    client-certificate-data: {client}\n")
}

/// What kubectl says of what the cluster hands out; `None` for what is something else.
pub(crate) fn answer(state: &mut State, words: &[&str]) -> Option<String> {
    look_around(state);
    let plane = state.nodes.values().find(|node| !content(node, PROXY_CA).is_empty())?.clone();
    match words {
        ["get", "namespaces", "--field-selector", "status.phase=Active", ..] => Some("default".to_owned()),
        ["get", "configmaps", "-A", "--field-selector", "metadata.name=kube-root-ca.crt", ..] => {
            Some(format!("namespace default\n{}", content(&plane, CA)))
        }
        // Nobody has workloads here.
        ["get", "deployments,daemonsets,statefulsets", "-A", ..] => Some(String::new()),
        ["-n", "kube-system", "get", "configmap", "extension-apiserver-authentication", ..] => {
            let all: String = state.running.values().map(|running| running.api_server.as_str()).collect();
            Some(format!("requestheader-client-ca-file {}{all}", state.once_trusted))
        }
        ["-n", "kube-system", "delete", "configmap", "extension-apiserver-authentication"] => {
            state.once_trusted.clear();
            Some(String::new())
        }
        _ => None,
    }
}

/// `awk` with the texts of a rotation; `None` for others.
pub(crate) async fn awk(shell: &mut Shell, words: &[&str]) -> Option<Done> {
    let value = |name: &str| {
        let mut values = words.iter().filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        values.next().unwrap_or_default().to_owned()
    };
    let program = words.last()?;
    if program.contains(r#"index(all, " " $1 " ")"#) {
        // Whatever was told to end has ended.
        return Some(Ok(1));
    }
    if program.contains("would go with what is in it of") {
        // Each set has namespaces of its own here.
        return Some(shell.read(0).await.map(|_| 0));
    }
    if !program.contains("namespaces have the new authority") {
        return None;
    }
    let text = match shell.read(0).await {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(stop) => return Some(Err(stop)),
    };
    let has = |line: String| !line.is_empty() && text.lines().any(|known| known == line);
    Some(Ok(i32::from(!has(value("new")) || has(value("old")))))
}

/// `sed` with the texts of a rotation, which name a file; `None` for others.
pub(crate) fn sed(shell: &Shell, words: &[&str]) -> Option<String> {
    match words {
        ["-n", "/BEGIN CERTIFICATE/,/END CERTIFICATE/p", path] => {
            let text = content(&shell.machine, path);
            let mut inside = false;
            let lines = text.lines().filter(|line| {
                let shown = inside || line.contains("BEGIN CERTIFICATE");
                inside = shown && !line.contains("END CERTIFICATE");
                shown
            });
            Some(lines.map(|line| format!("{line}\n")).collect())
        }
        [program, path] => {
            let text = content(&shell.machine, path);
            // Base64 may end with `=`.
            let (key, separator) = if program.contains("--cluster-signing-cert-file=") {
                ("--cluster-signing-cert-file=", '=')
            } else if program.contains("certificate-authority-data:") {
                ("certificate-authority-data: ", ' ')
            } else {
                return None;
            };
            let value = program.trim_end_matches('|').rsplit(separator).next()?;
            let line = |line: &str| match line.split_once(key) {
                Some((before, _)) => format!("{before}{key}{value}\n"),
                None => format!("{line}\n"),
            };
            Some(text.lines().map(line).collect())
        }
        _ => None,
    }
}

impl World {
    /// A cluster that has all that kubeadm makes of certificates, and is watched from now on: whoever would be turned away by
    /// another one is noted.
    pub(crate) async fn with_certificates() -> Self {
        let world = after(GROUPS, |_| ()).await;
        let front_proxy = Authority::new();
        for machine in &world.machines[..IN_USE] {
            let Some(own) = authority(machine, CA) else { continue };
            let confs = KUBECONFIGS.map(|name| {
                let path = format!("/etc/kubernetes/{name}.conf");
                let former = content(machine, "/etc/kubernetes/controller-manager.conf");
                let former = if name == "admin" { content(machine, &path) } else { former };
                (path, kubeconfig(&own, &former))
            });
            let manifest = format!("spec:\n  containers:\n  - command:\n{SIGNS_WITH}{CA}\n");
            let files = [
                (PROXY_CA.to_owned(), front_proxy.certificate.clone()),
                (PROXY_CA.replace(".crt", ".key"), front_proxy.key.clone()),
                (format!("{SSL}/front-proxy-client.crt"), front_proxy.server()),
                (format!("{SSL}/apiserver-kubelet-client.crt"), own.server()),
                (format!("{SSL}/sa.key"), "a key for tokens\n".to_owned()),
                ("/etc/kubernetes/manifests/kube-controller-manager.yaml".to_owned(), manifest),
            ];
            for (path, content) in confs.into_iter().chain(files) {
                write(&mut machine.state().kept.disk, &path, &content, 0o600);
            }
        }
        // muster takes note of these manifests.
        let wrong = world.calm(6).await.2;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        for machine in &world.machines[..IN_USE] {
            let mut running = Running { etcd: content(machine, ETCD_CA), ..Running::default() };
            if authority(machine, CA).is_some() {
                running.api_server_starts(machine);
            }
            running.kubelet_starts(machine);
            world.cluster.state().running.insert(machine.name.clone(), running);
        }
        let mut state = world.cluster.state();
        state.once_trusted = content(&world.machines[0], CA) + &front_proxy.certificate;
        look_around(&mut state);
        drop(state);
        world
    }

    /// The same, which is to get new authorities.
    async fn before_rotation() -> Self {
        let world = Self::with_certificates().await;
        world.inventory(&hosts(IN_USE), GROUPS, KEYS);
        let wrong = world.calm(7).await.2;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        world.rotates();
        world
    }

    /// From now on runs do what `muster certs renew --ca` does.
    fn rotates(&self) {
        self.does(&rotation::plays(), rotation::roles());
    }

    /// The authorities on a machine, the running programs' among them.
    fn authorities(&self, machine: usize) -> Vec<String> {
        let state = self.cluster.state();
        let name = &self.machines[machine].name;
        let files = [CA, PROXY_CA, ETCD_CA].map(|path| content(&self.machines[machine], path));
        let Running { etcd, api_server, etcd_of_api_server, kubelet } = &state.running[name];
        let running = [etcd, api_server, etcd_of_api_server, kubelet].map(Clone::clone);
        files.into_iter().chain(running).filter(|text| !text.is_empty()).collect()
    }

    /// What is not as it should be when a rotation is over.
    fn unrotated(&self, before: &[Vec<String>]) -> Vec<String> {
        let mut wrong = Vec::new();
        for (number, before) in before.iter().enumerate() {
            let now = self.authorities(number);
            if now.len() != before.len()
                || now.iter().zip(before).any(|(now, before)| now == before || certificates(now).len() != 1)
            {
                wrong.push(format!("m{number} does not trust the new authorities alone"));
            }
            let machine = &self.machines[number];
            let left = ["/var/lib/muster/rotation", "/etc/kubernetes/ssl/ca-signer.crt"];
            let left = left.iter().filter(|path| machine.state().kept.disk.exists(path));
            wrong.extend(left.map(|path| format!("m{number}: {path} is left")));
            let manifest = content(machine, "/etc/kubernetes/manifests/kube-controller-manager.yaml");
            if !manifest.is_empty() && !manifest.contains(&format!("{SIGNS_WITH}{CA}\n")) {
                wrong.push(format!("m{number}: the controller manager signs with {manifest}"));
            }
        }
        let mut state = self.cluster.state();
        look_around(&mut state);
        wrong.append(&mut state.wrong);
        wrong
    }

    /// What stays through a rotation: etcd's cluster and its members, the objects, the nodes, and the key of tokens.
    fn stays(&self) -> String {
        let members = self.cluster.member_names();
        let state = self.cluster.state();
        let keys: Vec<_> = self.machines[..IN_USE]
            .iter()
            .map(|machine| content(machine, &format!("{SSL}/sa.key")))
            .collect();
        let (etcd, clusters) = (state.etcd_began, state.authorities.len());
        format!("{etcd} {clusters} {members:?} {} {:?} {keys:?}", state.objects.seen(), state.nodes.keys())
    }
}

#[test]
fn a_rotation_that_was_cut_off_anywhere_is_finished_by_the_same_command() {
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = World::before_rotation().await;
            world.cluster.state().must_have_quorum = true;
            let stays = world.stays();
            let before: Vec<_> = (0..IN_USE).map(|number| world.authorities(number)).collect();
            let (exchanges, mut wrong) = world.disturbed(kill).await;
            if kill.is_some() {
                wrong.extend(world.calm(3).await.2);
            }
            wrong.extend(world.unrotated(&before));
            if world.stays() != stays {
                wrong.push(format!("it is {}, and was {stays}", world.stays()));
            }
            // Nothing is left to do for a set-up, which knows the machines as this cluster's.
            world.sets_up();
            let (_, ran, more) = world.calm(4).await;
            wrong.extend(more);
            if !ran.changes.is_empty() {
                wrong.push(format!("the set-up after it changes something: {:?}", ran.changes));
            }
            (exchanges, wrong)
        })
    };
    let kills = killed_everywhere("a rotation of the authorities", At::Seldom, play);
    held(
        "controller killed",
        "on one side of each third exchange of a rotation of the authorities, on three model machines",
        kills,
        "the same command finishes; everybody trusted whom they met at each moment; the same cluster, with the same key for tokens",
    );
}

#[test]
fn no_authority_is_dropped_while_a_node_does_not_take_part() {
    simulated(async {
        let world = World::before_rotation().await;
        let before: Vec<_> = (0..IN_USE).map(|number| world.authorities(number)).collect();
        // It joins when the machines were looked at, and the new authorities sign.
        world.cluster.state().arrives = Some("stranger".to_owned());
        let refused = world.refused().await;
        assert!(
            refused.iter().any(|said| said.contains("the node stranger is in the cluster")),
            "{refused:?}"
        );
        for (number, before) in before.iter().enumerate() {
            let trusts = world.authorities(number);
            let both = trusts.iter().zip(before).all(|(now, before)| now.contains(before.as_str()));
            assert!(both, "m{number} has dropped an authority");
        }
        // So it is as long as it is there, and a set-up does nothing meanwhile.
        let changes = world.changes();
        assert!(world.refused().await.iter().any(|said| said.contains("the node stranger")));
        world.sets_up();
        assert!(world.refused().await.iter().any(|said| said.contains("has not come to its end")));
        assert_eq!(world.changes(), changes);
        world.rotates();
        world.cluster.state().nodes.remove("stranger");
        let wrong = world.calm(5).await.2;
        assert!(
            wrong.is_empty() && world.unrotated(&before).is_empty(),
            "{wrong:?} {:?}",
            world.unrotated(&before)
        );
    });
}

#[test]
fn strangers_keep_a_rotation_from_beginning() {
    simulated(async {
        let world = World::before_rotation().await;
        let changes = world.changes();
        let machine = world.machines[4].clone();
        world.cluster.state().nodes.insert("stranger".to_owned(), machine.clone());
        assert!(
            world.refused().await.iter().any(|said| said.contains("the node stranger is in the cluster"))
        );
        world.cluster.state().nodes.remove("stranger");
        // A machine of another cluster, in the inventory.
        for (path, content) in
            node_files(&Authority::of_another_cluster(), "m3", "192.0.2.13", "198.51.100.1:6443")
        {
            write(&mut world.machines[3].state().kept.disk, path, &content, 0o600);
        }
        world.inventory(&hosts(4), &GROUPS.replace("[kube_node]\nm[0:2]", "[kube_node]\nm[0:3]"), KEYS);
        let refused = world.refused().await;
        assert!(refused.iter().any(|said| said.contains("m3 belongs to another cluster")), "{refused:?}");
        assert_eq!(world.changes(), changes);
        // And one that is off, also of the cluster's own.
        world.inventory(&hosts(IN_USE), GROUPS, KEYS);
        world.cluster.switch_off("m2");
        let ran = world.run(&Controller::new(2, MACHINES, None)).await.unwrap();
        assert!(ran.changes.is_empty() && world.changes() == changes, "{:?}", ran.changes);
    });
}
