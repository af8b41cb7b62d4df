//! Which certificates are to be renewed, and what has to start anew for it.

use time::OffsetDateTime;

use crate::cluster::Identity;

/// What of a machine is to be renewed. etcd's certificates are not in it: muster makes them itself ([`crate::etcd::pki`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// What `kubeadm certs renew` calls them.
    pub(super) kubeadm: Vec<&'static str>,
    /// The certificate by which the API server knows the kubelet.
    pub(super) kubelet: bool,
    /// The one with which the kubelet serves: it makes itself another one, or asks the cluster for it.
    pub(super) serving: bool,
    /// The files, for messages.
    pub(super) files: Vec<String>,
}

/// What kubeadm renews, by file.
const KUBEADM: [(&str, &str); 7] = [
    ("apiserver.crt", "apiserver"),
    ("apiserver-kubelet-client.crt", "apiserver-kubelet-client"),
    ("front-proxy-client.crt", "front-proxy-client"),
    ("admin.conf", "admin.conf"),
    ("super-admin.conf", "super-admin.conf"),
    ("controller-manager.conf", "controller-manager.conf"),
    ("scheduler.conf", "scheduler.conf"),
];

impl Due {
    /// Those of a machine's certificates that have fewer days left than this, or cannot be read; and all that kubeadm makes where a
    /// renewal was cut off: one of them may not be its key's.
    pub(super) fn of(seen: &Identity, below: i64, now: OffsetDateTime) -> Self {
        let mut due = Self::default();
        for certificate in &seen.certificates {
            let may_be_mixed = seen.renews && KUBEADM.iter().any(|(name, _)| *name == certificate.file());
            let is_good = !may_be_mixed && certificate.days_left(now).is_some_and(|left| left >= below);
            if certificate.is_authority || is_good {
                continue;
            }
            match certificate.file() {
                "kubelet-client-current.pem" => due.kubelet = true,
                "kubelet.crt" | "kubelet-server-current.pem" => due.serving = true,
                file => match KUBEADM.iter().find(|(name, _)| *name == file) {
                    Some((_, name)) => due.kubeadm.push(*name),
                    None => continue,
                },
            }
            due.files.push(certificate.path.clone());
        }
        due
    }

    /// The parts of the control plane that read a renewed certificate only when they start.
    pub(super) fn components(&self) -> Vec<&'static str> {
        let has = |names: &[&str]| self.kubeadm.iter().any(|name| names.contains(name));
        let all = [
            ("kube-apiserver", has(&["apiserver", "apiserver-kubelet-client", "front-proxy-client"])),
            ("kube-controller-manager", has(&["controller-manager.conf"])),
            ("kube-scheduler", has(&["scheduler.conf"])),
        ];
        all.into_iter().filter(|(_, starts)| *starts).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Certificate;

    fn of(certificates: &[Certificate], below: i64, now: OffsetDateTime) -> Due {
        Due::of(&Identity { certificates: certificates.to_vec(), ..Identity::default() }, below, now)
    }

    #[test]
    fn what_ends_soon_is_renewed_and_what_reads_it_starts_anew() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let certificate = |path: &str, days: Option<i64>| Certificate {
            path: path.to_owned(),
            name: "a".into(),
            is_authority: path.ends_with("ca.crt"),
            ends: days.map(|days| now.unix_timestamp() + days * 24 * 3600 + 60),
        };
        let all = [
            certificate("/etc/kubernetes/ssl/ca.crt", Some(1)),
            certificate("/etc/kubernetes/ssl/apiserver.crt", Some(30)),
            certificate("/etc/kubernetes/ssl/front-proxy-client.crt", Some(29)),
            certificate("/etc/kubernetes/admin.conf", Some(-3)),
            certificate("/etc/kubernetes/scheduler.conf", None),
            certificate("/etc/ssl/etcd/ssl/member.pem", Some(2)),
            certificate("/var/lib/kubelet/pki/kubelet.crt", Some(2)),
            certificate("/var/lib/kubelet/pki/kubelet-client-current.pem", Some(200)),
        ];
        let due = of(&all, 30, now);
        assert_eq!(due.kubeadm, ["front-proxy-client", "admin.conf", "scheduler.conf"]);
        assert_eq!((due.kubelet, due.serving, due.files.len()), (false, true, 4));
        assert_eq!(due.components(), ["kube-apiserver", "kube-scheduler"]);
        assert_eq!(all[3].days_left(now), Some(-3));
        let all_due = of(&all, 400, now);
        assert!(all_due.kubelet && all_due.kubeadm.contains(&"apiserver"));
        assert_eq!(of(&all[..2], 30, now), Due::default(), "an authority is not renewed");
        let cut_off = Identity { certificates: all.to_vec(), renews: true, ..Identity::default() };
        let due = Due::of(&cut_off, 30, now);
        assert_eq!(due.kubeadm, ["apiserver", "front-proxy-client", "admin.conf", "scheduler.conf"]);
        assert!(!due.kubelet, "kubeadm does not make it");
    }
}
