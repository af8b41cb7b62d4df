//! Why a cluster does not begin, or a machine is left alone, where that follows from the cluster as a whole: in words, with what to
//! do.

use muster_engine::prelude::Problem;

use super::identity::Identity;
use super::standing::Standing;

/// A problem of a machine's place in the cluster.
pub(super) fn problem(
    found: impl Into<String>,
    needed: impl Into<String>,
    remedy: impl Into<String>,
) -> Problem {
    Problem { check: "cluster".into(), found: found.into(), needed: needed.into(), remedy: remedy.into() }
}

/// A control plane that runs, and has not what muster leaves on those that it has set up.
pub(super) fn unmarked(name: &str, seen: &Identity) -> Problem {
    if seen.settled {
        return problem(
            format!("{name} is a control plane, and has no /etc/kubernetes/admin.conf"),
            "the administrator's kubeconfig, with which muster asks the cluster",
            format!(
                "make it anew, on {name}: kubeadm init phase kubeconfig admin --config /etc/kubernetes/kubeadm-config.yaml"
            ),
        );
    }
    problem(
        format!("a control plane runs on {name} of which there is no sign that muster has set it up"),
        "a cluster that muster has set up, or machines that are in none",
        format!(
            "if another tool made this cluster, see whether it can be taken over: muster adopt; if it was muster, and \
             /var/lib/muster was lost, say so on {name}: mkdir -p /var/lib/muster/stamps && echo lost >/var/lib/muster/stamps/kubeadm-init; \
             if it may go: reset-cluster --foreign --limit {name}"
        ),
    )
}

/// A control plane whose authority is not where the variables say.
pub(super) fn elsewhere(name: &str) -> Problem {
    problem(
        format!("{name} is a control plane, and its CA's key is not in kube_cert_dir"),
        "the folder of certificates that the cluster was begun with",
        "set kube_cert_dir to it (kubespray's is /etc/kubernetes/ssl, kubeadm's own /etc/kubernetes/pki), or put ca.crt and ca.key back \
         from a backup",
    )
}

/// A control plane that does not stand has the authority of one cluster, and etcd holds another one.
pub(super) fn not_of_this_etcd(name: &str, seen: &Identity, member: &str) -> Problem {
    let authority = seen.authority().map(|own| format!(" (CA {own})")).unwrap_or_default();
    problem(
        format!(
            "{name} has the authority of a cluster{authority} that is not the one whose etcd is on {member}, as far as can be told"
        ),
        "a control plane of the cluster in etcd, or one that has nothing of any cluster",
        format!(
            "see whether the addresses of {name} and {member} in the inventory are right; if {name} may lose what it has of its former \
             cluster: reset-cluster --foreign --limit {name}; to go on with the cluster in etcd, then put ca.crt, ca.key, sa.key, sa.pub \
             and front-proxy-ca.* of a backup of that one into its kube_cert_dir"
        ),
    )
}

/// The objects of a cluster are gone, and what its control plane had from kubeadm as well.
pub(crate) fn emptied(plane: &str) -> Problem {
    problem(
        format!(
            "{plane} was a control plane of a cluster, and etcd holds none of its objects (kubeadm reset empties /var/lib/etcd)"
        ),
        "the objects of that cluster, or machines that are in none",
        "to bring them back: muster etcd restore FILE, once a new cluster stands, with a snapshot; to begin a new cluster, first take \
         away what is left of this one: muster reset-cluster",
    )
}

impl Standing {
    /// A machine could not be looked at.
    pub(super) fn unseen(&self, name: &str) -> Option<Problem> {
        let why = self.machines.get(name)?.as_ref().err()?;
        Some(problem(
            format!("which cluster {name} is in is not known ({why})"),
            "a look at the machine before it is changed",
            "mend what keeps it from being looked at, and run again",
        ))
    }

    /// A machine that is given up is not one of this cluster's. `node`: the name of its node.
    pub(super) fn not_to_be_fenced(&self, name: &str, node: &str) -> Option<Problem> {
        let anothers = || {
            Some(problem(
                self.is_anothers(name, node)?,
                "a machine of this cluster, which is stopped because the cluster goes on without it",
                format!(
                    "see whether the address of {name} in the inventory is right; if the machine has left this cluster, take it out of the \
                     inventory"
                ),
            ))
        };
        self.unseen(name).or_else(anothers)
    }

    /// The authority of the objects in etcd is on no control plane.
    pub(crate) fn objects_without_authority(&self) -> Problem {
        let members: Vec<&str> = self.members_with_data().collect();
        problem(
            format!(
                "etcd ({}) holds the objects of a cluster whose CA no control plane of the inventory has",
                members.join(", ")
            ),
            "the CA of that cluster, or an etcd without objects",
            format!(
                "if an address in the inventory is a mistaken one, correct that; to keep the cluster, put ca.crt, ca.key, sa.key, sa.pub \
                 and front-proxy-ca.* of a backup into kube_cert_dir of {}; to give it up, stop etcd on all its members and move their \
                 etcd_data_dir away",
                self.planes.join(" or ")
            ),
        )
    }
}

/// A member of etcd that does not say what it holds was set up by another tool.
pub(crate) fn not_ours(member: &str) -> Problem {
    problem(
        format!(
            "etcd has data on {member}, does not say whose, and has no certificate of muster's (member.pem)"
        ),
        "members of etcd that are new, or that muster has set up",
        format!(
            "see whether the address of {member} in the inventory is right; to give up what it holds, stop etcd there and move its \
             etcd_data_dir away"
        ),
    )
}
