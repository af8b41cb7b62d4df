//! What a machine has of the authorities, as its files tell it, and what follows from that.

use std::collections::{BTreeMap, BTreeSet};

use super::authorities::{Authorities, Phase, Reached, Succession, blocks};
use crate::cluster::decoded;

/// What `look.sh` has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Machine {
    note: String,
    /// Certificates in PEM, by their files.
    files: BTreeMap<String, Vec<String>>,
    /// Kubeconfigs by their files: the authorities in each, and the certificate of its user.
    kubeconfigs: BTreeMap<String, Kubeconfig>,
    /// Keys of authorities that are there.
    keys: BTreeSet<String>,
    /// The certificate with which the controller manager signs.
    signs_with: Option<String>,
    /// Whether it is in the groups of control planes and of members of etcd.
    in_planes: bool,
    in_etcd: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Kubeconfig {
    trusted: Vec<String>,
    client: Vec<String>,
}

/// The folders of certificates.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    pub cluster: String,
    pub etcd: String,
}

impl Folders {
    /// Where the certificate stands with which the controller manager signs while `ca.crt` holds two: it takes no file of several
    /// (pkg/controller/certificates/signer/ca_provider.go).
    pub(super) fn signer(&self) -> String {
        format!("{}/ca-signer.crt", self.cluster)
    }

    pub(super) fn ca(&self) -> String {
        format!("{}/ca.crt", self.cluster)
    }

    /// The files of the authorities, each with the one that it holds.
    fn authorities<'a>(&self, all: &'a Authorities) -> [(String, &'a Succession); 3] {
        [
            (self.ca(), &all.cluster),
            (format!("{}/front-proxy-ca.crt", self.cluster), &all.front_proxy),
            (format!("{}/ca.pem", self.etcd), &all.etcd),
        ]
    }
}

impl Machine {
    /// What the program has printed; `None` where it did not come to its end.
    pub(super) fn parse(answer: &str) -> Option<Self> {
        let mut machine = Self::default();
        let mut path = String::new();
        for line in answer.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "note" => machine.note = value.to_owned(),
                "file" => path = value.to_owned(),
                "kubeconfig" => {
                    path = value.to_owned();
                    machine.kubeconfigs.entry(path.clone()).or_default();
                }
                "certificate-authority-data:" => {
                    machine.kubeconfigs.entry(path.clone()).or_default().trusted = embedded(value);
                }
                "client-certificate-data:" => {
                    machine.kubeconfigs.entry(path.clone()).or_default().client = embedded(value);
                }
                "key" => drop(machine.keys.insert(value.to_owned())),
                "signs-with" => machine.signs_with = Some(value.to_owned()),
                "whole" => {
                    let files = machine.files.values_mut();
                    files.for_each(|lines| *lines = blocks(&lines.join("\n")));
                    return Some(machine);
                }
                _ => machine.files.entry(path.clone()).or_default().push(line.to_owned()),
            }
        }
        None
    }

    /// The same, of a machine that the inventory has among the control planes, and the members of etcd.
    pub(super) fn of_groups(self, in_planes: bool, in_etcd: bool) -> Self {
        Self { in_planes, in_etcd, ..self }
    }

    /// The certificates in a file; none where it is not there.
    pub(super) fn certificates(&self, path: &str) -> &[String] {
        self.files.get(path).map_or(&[], Vec::as_slice)
    }

    /// Whether the machine is in the cluster, or is a member of etcd.
    pub(super) fn takes_part(&self, folders: &Folders) -> bool {
        self.is_node() || !self.certificates(&format!("{}/ca.pem", folders.etcd)).is_empty()
    }

    /// Whether a kubelet has joined on it.
    pub(super) fn is_node(&self) -> bool {
        self.kubeconfigs.contains_key("/etc/kubernetes/kubelet.conf")
    }

    /// Whether it has the key of the cluster's authority.
    pub(super) fn is_plane(&self, folders: &Folders) -> bool {
        self.keys.contains(&format!("{}/ca.key", folders.cluster))
    }

    /// The kubeconfigs of a control plane that are there, as `kubeadm certs renew` calls them.
    pub(super) fn renewed_kubeconfigs(&self) -> impl Iterator<Item = &str> {
        let names = self.kubeconfigs.keys().filter_map(|path| path.rsplit('/').next());
        names.filter(|name| *name != "kubelet.conf")
    }

    /// How far it is. Where the note is gone already, as at the end, its files tell.
    pub(super) fn reached(&self, all: &Authorities, folders: &Folders) -> Reached {
        let noted = all.noted(&self.note);
        if noted == Reached::Nothing && self.takes_part(folders) && self.trusts(all, folders, Phase::Drop) {
            return Reached::Done(Phase::Drop);
        }
        noted
    }

    /// Whether nothing of a phase is left to do on it. The note says what runs with the files, and the files say the rest.
    pub(super) fn is_through(&self, all: &Authorities, folders: &Folders, phase: Phase) -> bool {
        let reached = self.reached(all, folders);
        reached.is_beyond(phase)
            || reached == Reached::Done(phase)
                && self.trusts(all, folders, phase)
                && (phase == Phase::Trust || self.unsigned(all, folders).is_empty())
    }

    /// Whether every file of authorities, and every kubeconfig, has those of a phase.
    fn trusts(&self, all: &Authorities, folders: &Folders, phase: Phase) -> bool {
        let there = folders
            .authorities(all)
            .into_iter()
            .filter_map(|(path, one)| Some((self.files.get(&path)?, one)));
        let mut files = there.map(|(has, one)| has.concat() == one.trusted(phase));
        let mut kubeconfigs = self.kubeconfigs.values();
        // A kubeconfig may name the file instead.
        let is_told = |conf: &Kubeconfig| {
            conf.trusted.is_empty() || conf.trusted.concat() == all.cluster.trusted(phase)
        };
        files.all(|same| same) && kubeconfigs.all(is_told)
    }

    /// The files whose certificates the new authorities have not signed.
    pub(super) fn unsigned(&self, all: &Authorities, folders: &Folders) -> Vec<&str> {
        let authorities = folders.authorities(all).map(|(path, _)| path);
        let by = |path: &str| {
            if path.starts_with(&format!("{}/", folders.etcd)) {
                &all.etcd
            } else if path.ends_with("/front-proxy-client.crt") {
                &all.front_proxy
            } else {
                &all.cluster
            }
        };
        let files = self.files.iter().filter(|(path, _)| !authorities.contains(path));
        let is_own = |path: &str| self.signs_for(path, folders);
        let files = files.filter(|(path, _)| is_own(path));
        let files = files.filter(|(path, has)| !has.first().is_some_and(|first| by(path).has_signed(first)));
        let confs = self.kubeconfigs.iter().filter(|(path, _)| is_own(path));
        // A kubelet's names a file.
        let confs = confs
            .filter(|(_, conf)| conf.client.first().is_some_and(|client| !all.cluster.has_signed(client)));
        files.map(|(path, _)| path.as_str()).chain(confs.map(|(path, _)| path.as_str())).collect()
    }

    /// Whether what a file holds is signed anew on this machine: what its kubelet has, and what belongs to its groups. Anything else
    /// was copied there, or is left of what the machine was before.
    fn signs_for(&self, path: &str, folders: &Folders) -> bool {
        match path.rsplit('/').next() {
            Some("kubelet.conf" | "kubelet-client-current.pem") => true,
            Some("member.pem") => self.in_etcd,
            Some("client.pem") => self.in_planes,
            _ => self.is_plane(folders),
        }
    }

    /// Kubeconfigs of a control plane on a machine that is none.
    pub(super) fn copies(&self, folders: &Folders) -> Vec<&str> {
        let paths = self.kubeconfigs.keys().map(String::as_str);
        paths.filter(|path| !self.signs_for(path, folders)).collect()
    }

    /// That the machine is a control plane, and not in the group of them, in which each has its turn.
    pub(super) fn misplaced(&self, folders: &Folders) -> Option<[String; 3]> {
        (self.is_plane(folders) && !self.in_planes).then(|| {
            [
                format!("{}/ca.key is there, and the machine is not in [kube_control_plane] of the inventory", folders.cluster),
                "every machine that has the key of the cluster's authority in that group: they take their turns one by one".into(),
                "put it into that group; or, to make it a worker, take it out of the cluster (muster remove-node) and add it anew".into(),
            ]
        })
    }

    /// Why the authorities of a machine cannot be followed by others: what was found, what is needed, what to do.
    pub(super) fn refused(&self, folders: &Folders) -> Vec<[String; 3]> {
        let mut problems = Vec::new();
        let (ca, proxy) = (self.is_node(), self.signs_with.is_some());
        let wanted = [
            (ca, folders.ca(), proxy.then(|| format!("{}/ca.key", folders.cluster))),
            (
                proxy,
                format!("{}/front-proxy-ca.crt", folders.cluster),
                Some(format!("{}/front-proxy-ca.key", folders.cluster)),
            ),
            (
                !self.certificates(&format!("{}/ca.pem", folders.etcd)).is_empty(),
                format!("{}/ca.pem", folders.etcd),
                None,
            ),
        ];
        for (_, path, key) in wanted.into_iter().filter(|(is_wanted, ..)| *is_wanted) {
            let count = self.certificates(&path).len();
            if count != 1 {
                problems.push([
                    format!("{path} holds {count} certificates"),
                    "one certificate, of an authority that signs for the cluster by itself".into(),
                    "authorities that others have signed, or that are trusted beside another one, are not rotated by muster: do it by \
                     hand, see Kubernetes' page \"Manual Rotation of CA Certificates\""
                        .into(),
                ]);
            }
            if let Some(key) = key.filter(|key| !self.keys.contains(key)) {
                problems.push([
                    format!("{key} is missing: the authority is kept elsewhere"),
                    "the keys of the authorities on each control plane".into(),
                    "put the key back from a backup; whoever keeps it elsewhere rotates the authority there, see Kubernetes' page \
                     \"Manual Rotation of CA Certificates\""
                        .into(),
                ]);
            }
        }
        if let Some(other) = self.signs_with.as_ref().filter(|path| **path != folders.ca()) {
            problems.push([
                format!("the controller manager signs with {other}"),
                format!("--cluster-signing-cert-file={}, as kubeadm sets it", folders.ca()),
                "take cluster-signing-cert-file out of the variables of the controller manager, then: setup-cluster".into(),
            ]);
        }
        problems
    }
}

/// The certificates in a kubeconfig: PEM in base64.
fn embedded(base64: &str) -> Vec<String> {
    decoded(base64).map_or_else(Vec::new, |bytes| blocks(&String::from_utf8_lossy(&bytes)))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::super::authorities::tests::authorities;
    use super::*;

    fn folders() -> Folders {
        Folders { cluster: "/ssl".into(), etcd: "/etcd".into() }
    }

    /// A control plane that has these authorities, and certificates of its user in admin.conf.
    fn plane(all: &Authorities, phase: Phase, note: Reached, client: &str) -> String {
        let note = all.note(note);
        let note = if note.is_empty() { note } else { format!("note {note}") };
        format!(
            "{note}file /ssl/ca.crt\n{}file /ssl/front-proxy-ca.crt\n{}file /etcd/ca.pem\n{}kubeconfig /etc/kubernetes/kubelet.conf\n\
             kubeconfig /etc/kubernetes/admin.conf\ncertificate-authority-data: {}\nclient-certificate-data: {}\n\
             key /ssl/ca.key\nkey /ssl/front-proxy-ca.key\nkey /etcd/ca-key.pem\nsigns-with /ssl/ca.crt\nwhole\n",
            all.cluster.trusted(phase),
            all.front_proxy.trusted(phase),
            all.etcd.trusted(phase),
            STANDARD.encode(all.cluster.trusted(phase)),
            STANDARD.encode(client),
        )
    }

    fn seen(text: &str) -> Machine {
        Machine::parse(text).unwrap().of_groups(true, true)
    }

    fn through(all: &Authorities, has: Phase, note: Reached, client: &str, phase: Phase) -> bool {
        seen(&plane(all, has, note, client)).is_through(all, &folders(), phase)
    }

    #[test]
    fn a_machine_is_through_when_its_note_and_its_files_say_so() {
        let all = authorities();
        let (old, new) = (all.cluster.old.as_str(), all.cluster.new.as_str());
        let (trusted, signed) = (Reached::Done(Phase::Trust), Reached::Done(Phase::Sign));
        assert!(through(&all, Phase::Trust, trusted, old, Phase::Trust));
        assert!(
            !through(&all, Phase::Trust, Reached::Begun(Phase::Trust), old, Phase::Trust),
            "nothing started anew"
        );
        assert!(!through(&all, Phase::Trust, Reached::Nothing, old, Phase::Trust), "no note");
        assert!(!through(&all, Phase::Drop, trusted, old, Phase::Trust), "somebody has changed the files");
        // Whoever has begun to sign must not go back: the key is the new one.
        assert!(through(&all, Phase::Sign, Reached::Begun(Phase::Sign), old, Phase::Trust));
        assert!(!through(&all, Phase::Sign, Reached::Begun(Phase::Sign), old, Phase::Sign));
        assert!(!through(&all, Phase::Sign, signed, old, Phase::Sign), "not signed by the new one");
        assert!(through(&all, Phase::Sign, signed, new, Phase::Sign));
        assert!(!through(&all, Phase::Sign, signed, new, Phase::Drop));
        // At the end the notes go, one machine after the other.
        assert!(through(&all, Phase::Drop, Reached::Nothing, new, Phase::Drop));
        assert!(through(&all, Phase::Drop, Reached::Nothing, new, Phase::Trust));
        assert_eq!(Machine::parse("file /ssl/ca.crt\n"), None, "a look that ended early says nothing");
    }

    #[test]
    fn only_what_the_machine_itself_uses_has_to_be_signed_anew() {
        let all = authorities();
        let (old, new) = (&all.cluster.old, &all.cluster.new);
        let etcd = |name: &str| format!("file /etcd/{name}.pem\n{}", all.etcd.old);
        let mine = plane(&all, Phase::Sign, Reached::Done(Phase::Sign), old);
        let text =
            format!("{}{}file /kubelet-client-current.pem\n{old}{mine}", etcd("client"), etcd("member"));
        let admin = "/etc/kubernetes/admin.conf";
        let of = |text: &str, in_planes, in_etcd| {
            let machine = Machine::parse(text).unwrap().of_groups(in_planes, in_etcd);
            let strings = |paths: Vec<&str>| paths.into_iter().map(str::to_owned).collect::<Vec<_>>();
            (strings(machine.unsigned(&all, &folders())), strings(machine.copies(&folders())))
        };
        let everything = ["/etcd/client.pem", "/etcd/member.pem", "/kubelet-client-current.pem", admin];
        assert_eq!(of(&text, true, true), (everything.map(str::to_owned).into(), vec![]));
        // A worker to which somebody has copied admin.conf, and which was a member of etcd.
        let worker = text.replace("key /ssl/ca.key\n", "");
        let unsigned = vec!["/kubelet-client-current.pem".to_owned()];
        assert_eq!(of(&worker, false, false), (unsigned, vec![admin.to_owned()]));
        let signed = worker.replace(
            &format!("file /kubelet-client-current.pem\n{old}"),
            &format!("file /kubelet-client-current.pem\n{new}"),
        );
        assert_eq!(of(&signed, false, false), (vec![], vec![admin.to_owned()]));
        // A control plane that is out of its group has no turn.
        assert_eq!(seen(&text).misplaced(&folders()), None);
        assert_eq!(seen(&worker).of_groups(false, false).misplaced(&folders()), None);
        let [found, ..] = seen(&text).of_groups(false, true).misplaced(&folders()).unwrap();
        assert!(found.starts_with("/ssl/ca.key is there"), "{found}");
    }

    #[test]
    fn what_cannot_be_rotated_is_refused() {
        let all = authorities();
        let text = plane(&all, Phase::Drop, Reached::Nothing, &all.cluster.new);
        let refused = |text: &str| {
            let machine = Machine::parse(text).unwrap();
            machine.refused(&folders()).into_iter().map(|[found, ..]| found).collect::<Vec<_>>()
        };
        assert_eq!(refused(&text), Vec::<String>::new());
        assert_eq!(
            refused(&text.replace("key /ssl/ca.key\n", "")),
            ["/ssl/ca.key is missing: the authority is kept elsewhere"]
        );
        assert_eq!(
            refused(&text.replace("signs-with /ssl/ca.crt", "signs-with /other.crt")),
            ["the controller manager signs with /other.crt"]
        );
        let chain = format!("file /ssl/ca.crt\n{}", all.cluster.old);
        assert_eq!(
            refused(&text.replace("file /ssl/ca.crt\n", &chain)),
            ["/ssl/ca.crt holds 2 certificates"]
        );
        let nobody = Machine::parse("whole\n").unwrap();
        assert!(nobody.refused(&folders()).is_empty() && !nobody.takes_part(&folders()));
    }
}
