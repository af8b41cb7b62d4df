//! What is known of why machines and pods do not become well: by which words it is known, how it is said, and what to do.

use std::collections::BTreeSet;

/// Something that was found, and the machine where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clue {
    /// The inventory's name of the machine; `None` where it is of none.
    pub(super) host: Option<String>,
    pub(super) text: String,
}

impl Clue {
    /// `on node2: `, or nothing.
    pub(super) fn place(&self) -> String {
        self.host.as_ref().map(|host| format!("on {host}: ")).unwrap_or_default()
    }
}

/// Why something is not well.
#[derive(Debug)]
pub(super) struct Cause {
    pub(super) hosts: Vec<String>,
    pub(super) said: String,
    pub(super) remedy: String,
}

impl Cause {
    /// `on node2, node3: `, or nothing.
    pub(super) fn place(&self) -> String {
        if self.hosts.is_empty() { String::new() } else { format!("on {}: ", self.hosts.join(", ")) }
    }
}

/// A cause by the words by which it is known.
struct Known {
    /// One of these is in what was found.
    words: &'static [&'static str],
    /// How it is said. `{it}` is what stands in quotation marks behind the word, or what was found where nothing does, `{why}` all
    /// that stands behind the word, and `{image}` the image that what was found names; so it is in the remedy, where `{host}` is the
    /// machine, and `{namespace}` and `{pod}` are those of the pod.
    said: &'static str,
    remedy: &'static str,
}

/// What comes first explains what comes later: a kubelet that does not run has no opinion on its pods.
const KNOWN: &[Known] = &[
    Known {
        words: &["the machine does not answer"],
        said: "{it}",
        remedy: "switch the machine on, or see why it cannot be reached: muster ping {host}",
    },
    Known {
        words: &[
            "failed to load kubelet config",
            "failed to load Kubelet config",
            "failed to validate kubelet config",
            "unrecognized feature gate",
            "failed to parse kubelet flag",
            "unknown flag",
        ],
        said: "the kubelet does not take its configuration: {it}",
        remedy: "correct the variable that this is about, and run again; or, where somebody has changed \
                 /var/lib/kubelet/config.yaml, /var/lib/kubelet/kubeadm-flags.env, /etc/default/kubelet or the kubelet's unit on {host} \
                 by hand, take that back, then: systemctl restart kubelet",
    },
    Known {
        words: &["containerd does not run", "container runtime is down", "containerd.sock"],
        said: "the container engine does not run",
        remedy: "setup-cluster starts it; if it fails itself, see on {host}: journalctl -u containerd",
    },
    // An older muster put an older etcd back where an upgrade had ended after etcd (etcd: server/etcdserver/api/membership).
    Known {
        words: &["is lower than determined cluster version"],
        said: "etcd is older than its data, which a newer one has written: an upgrade did not come to its end",
        remedy: "put the newer version of etcd in its place on {host} (the journal says which: journalctl -u etcd) and start it: systemctl \
                 restart etcd; then finish the upgrade: muster verify says with which command",
    },
    Known {
        words: &["etcd does not run"],
        said: "etcd does not run",
        remedy: "see on {host} why: journalctl -u etcd",
    },
    Known {
        words: &["kubelet does not run"],
        said: "the kubelet does not run",
        remedy: "setup-cluster starts it; if it ends by itself, see on {host}: journalctl -u kubelet",
    },
    Known {
        words: &[
            "has DiskPressure",
            "DiskPressure",
            "low on resource: ephemeral-storage",
            "low on resource: inodes",
        ],
        said: "the disk is fuller than the kubelet accepts, so it evicts pods and takes no new ones",
        remedy: "make room on {host} (df -h /var/lib); how much must stay free is said by eviction_hard",
    },
    Known {
        words: &["has MemoryPressure", "low on resource: memory"],
        said: "memory is short, so the kubelet evicts pods and takes no new ones",
        remedy: "see on {host} what uses it (ps aux --sort=-rss), or give the machine more; the limit is said by eviction_hard",
    },
    Known {
        words: &["has PIDPressure"],
        said: "there are too many processes, so the kubelet takes no new pods",
        remedy: "see on {host} whose they are: ps aux",
    },
    Known {
        words: &["failed to find plugin"],
        said: "there is no network plugin {it}, which a file in /etc/cni/net.d asks for",
        remedy: "on {host}, move away what is in /etc/cni/net.d besides 10-flannel.conflist: what comes first by its name counts; if \
                 nothing else is there: setup-cluster --limit {host}",
    },
    Known {
        words: &["already has an IP address different"],
        said: "the bridge of a former pod network is in the way",
        remedy: "on {host}: ip link delete cni0, which is made anew with the right address",
    },
    Known {
        words: &["subnet.env: no such file"],
        said: "flannel has given the machine no addresses for pods",
        remedy: "see what its pod there says: muster kubectl -n kube-flannel logs -l app=flannel --prefix",
    },
    Known {
        words: &["has no podCIDR", "pod cidr not assigned"],
        said: "the cluster has no range of addresses for the pods of this node",
        remedy: "kube_pods_subnet must have room for all nodes, kube_network_node_prefix says how much each takes; if it has, see: \
                 muster kubectl -n kube-system logs -l component=kube-controller-manager",
    },
    Known {
        words: &[
            "ImagePullBackOff",
            "ErrImagePull",
            "ErrImageNeverPull",
            "failed to pull image",
            "Failed to pull image",
        ],
        said: "{image} is not there, and cannot be pulled",
        remedy: "images of the bundle are imported again by: setup-cluster --limit {host}; any other one must be reachable from {host}",
    },
    // What a kubelet says where a program of an image is not in it, is none, or is one for another processor.
    Known {
        words: &["StartError", "RunContainerError", "no command specified"],
        said: "{image} cannot be run: {why}",
        remedy: "see whether the image is what its name says (muster bundle check), then: setup-cluster --limit {host}",
    },
    Known {
        words: &["OOMKilled"],
        said: "a container was ended because it needed more memory than it may use: {it}",
        remedy: "see which, and its limits: muster kubectl get pods -A -o wide --field-selector spec.nodeName={host}",
    },
    Known {
        words: &["kubelet: ", "the node is not Ready: KubeletNotReady"],
        said: "{it}",
        remedy: "see on {host}: journalctl -u kubelet",
    },
    Known {
        words: &["NodeStatusUnknown", "stopped posting node status"],
        said: "the kubelet has not been heard of for a while",
        remedy: "see on {host} whether it runs and reaches the API: journalctl -u kubelet",
    },
    Known {
        words: &["FailedScheduling", "Unschedulable"],
        said: "{it}",
        remedy: "see which nodes take pods: muster kubectl describe nodes; one that was cordoned: muster kubectl uncordon NODE",
    },
    Known {
        words: &["CrashLoopBackOff", "ended, and wrote last: "],
        said: "{it}",
        remedy: "read on: muster kubectl -n {namespace} logs --previous {pod}",
    },
    Known {
        words: &["FailedCreatePodSandBox", "FailedMount", "Failed: ", "BackOff: "],
        said: "{it}",
        remedy: "see: muster kubectl get events -A --field-selector type=Warning",
    },
];

/// How long a text from a machine may be in a message.
const LONGEST: usize = 240;

/// Where in [`KNOWN`] a kubelet stands that does not take its configuration.
const CONFIGURATION: usize = 1;

/// Whether it is what the kubelet said of pods, which may have been mended since: how things are now counts more.
fn is_past(clue: &Clue) -> bool {
    clue.text.starts_with("kubelet: ") && rank(clue) != Some(CONFIGURATION)
}

/// The place of what was found among what is known.
fn rank(clue: &Clue) -> Option<usize> {
    KNOWN.iter().position(|known| known.words.iter().any(|word| clue.text.contains(word)))
}

/// The cause that explains most, on all machines that have it for the same reason.
pub(super) fn foremost(clues: &[Clue]) -> Option<Cause> {
    let first = in_order(clues).into_iter().next()?;
    let known = &KNOWN[rank(first)?];
    let said = filled(known.said, known, first);
    let same = |clue: &&Clue| rank(clue) == rank(first) && filled(known.said, known, clue) == said;
    let mut hosts: Vec<String> = clues.iter().filter(same).filter_map(|clue| clue.host.clone()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    Some(Cause { remedy: filled(known.remedy, known, first), said, hosts })
}

/// What was found, what explains most first; of what is known to be the same on a machine the first one.
pub(super) fn in_order(clues: &[Clue]) -> Vec<&Clue> {
    let mut ordered: Vec<&Clue> = clues.iter().collect();
    ordered.sort_by_key(|clue| (is_past(clue), rank(clue).unwrap_or(KNOWN.len())));
    let mut told = BTreeSet::new();
    ordered.retain(|clue| rank(clue).is_none_or(|rank| told.insert((rank, clue.host.clone()))));
    ordered
}

fn filled(text: &str, known: &Known, clue: &Clue) -> String {
    let host = clue.host.as_deref().unwrap_or("the machine");
    let (namespace, pod) = pod(&clue.text).unwrap_or(("NAMESPACE", "POD"));
    text.replace("{host}", host)
        .replace("{image}", &image(&clue.text))
        .replace("{namespace}", namespace)
        .replace("{pod}", pod)
        .replace("{why}", &why(known, &clue.text))
        .replace("{it}", &quoted_or_all(known, &clue.text))
}

/// The first of the words that is there, and what stands behind it.
fn word_and_rest<'t>(known: &Known, text: &'t str) -> Option<(&'static str, &'t str)> {
    known.words.iter().find_map(|word| text.split_once(*word).map(|(_, rest)| (*word, rest)))
}

/// What stands behind the first of the words that is there; that word where nothing does.
fn why(known: &Known, text: &str) -> String {
    let (word, rest) = word_and_rest(known, text).unwrap_or(("", text));
    match rest.trim_start_matches([':', ' ']) {
        "" => word.to_owned(),
        rest => shortened(rest),
    }
}

/// The namespace and the name of the pod that a text is about: `pod NAMESPACE/NAME`, or as containerd's folder of logs has it.
fn pod(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix("pod ") {
        return rest.split([',', ':']).next()?.split_once('/');
    }
    let (_, folder) = text.strip_prefix("container ")?.split_once(" of ")?;
    let (namespace, rest) = folder.split_once('_')?;
    Some((namespace, rest.split_once('_')?.0))
}

/// The image that a text names.
fn image(text: &str) -> String {
    // Texts in texts have their quotation marks escaped.
    let plain = text.replace('\\', "");
    let name = plain.split_once("image \"").and_then(|(_, rest)| rest.split_once('"'));
    name.map_or_else(|| "an image".to_owned(), |(name, _)| format!("the image \"{name}\""))
}

/// What stands in quotation marks behind the first of the words that is there; else all of it, as far as it is not too long.
fn quoted_or_all(known: &Known, text: &str) -> String {
    let plain = word_and_rest(known, text).map_or(text, |(_, rest)| rest).replace('\\', "");
    let quoted = plain.split('"').nth(1).filter(|name| !name.is_empty() && !name.contains(' '));
    if let Some(name) = quoted {
        return format!("\"{name}\"");
    }
    shortened(text)
}

/// A text from a machine, as long as it may be in a message.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clue(host: &str, text: &str) -> Clue {
        Clue { host: Some(host.into()), text: text.into() }
    }

    #[test]
    fn what_explains_most_is_said_of_all_machines_that_have_it() {
        let sandbox = "pod kube-system/coredns-1: FailedCreatePodSandBox: Failed to create pod sandbox: rpc error: code = Unknown desc = \
                       failed to setup network for sandbox \"0b5e\": plugin type=\"calico\" failed (add): failed to find plugin \
                       \"calico\" in path [/opt/cni/bin]";
        let escaped = "kubelet: \"Error syncing pod, skipping\" err=\"failed to \\\"CreatePodSandbox\\\" for \\\"coredns\\\": failed to find \
                       plugin \\\"calico\\\" in path [/opt/cni/bin]\"";
        let clues = [clue("a", "pod x: CrashLoopBackOff: again"), clue("c", sandbox), clue("b", escaped)];
        let cause = foremost(&clues).unwrap();
        assert_eq!(cause.place(), "on b, c: ");
        assert!(cause.said.starts_with("there is no network plugin \"calico\""), "{cause:?}");
        let image = "pod x, container x with the image \"example.org/x:1\": ErrImagePull: no such host";
        let mended = [clue("b", escaped), clue("b", image)];
        assert!(foremost(&mended).unwrap().said.starts_with("the image \"example.org/x:1\""));
        let twice = [clue("b", sandbox), clue("b", escaped), clue("b", "something"), clue("b", "else")];
        assert_eq!(in_order(&twice), [&twice[0], &twice[2], &twice[3]]);
    }

    #[test]
    fn every_known_cause_is_said_with_its_remedy() {
        for (text, said, remedy) in [
            (
                "the machine does not answer: no route",
                "the machine does not answer: no route",
                "muster ping n",
            ),
            (
                "etcd: {\"level\":\"fatal\",\"msg\":\"invalid downgrade; server version is lower than determined cluster version\"}",
                "etcd is older than its data",
                "restart etcd; then finish the upgrade",
            ),
            ("kubelet does not run (inactive)", "the kubelet does not run", "setup-cluster starts it"),
            (
                "containerd does not run (failed)",
                "the container engine does not run",
                "journalctl -u containerd",
            ),
            ("the node has DiskPressure", "the disk is fuller", "make room on n"),
            ("the node has no podCIDR", "the cluster has no range", "kube_pods_subnet"),
            (
                "pod kube-system/x: Failed: Failed to pull image \"example.org/x:1\": not found",
                "the image \"example.org/x:1\" is not there",
                "setup-cluster --limit n",
            ),
            (
                "kubelet: \"Error syncing pod, skipping\" err=\"failed to \\\"StartContainer\\\" for \\\"x\\\" with ImagePullBackOff: \
                 \\\"Back-off pulling image \\\\\\\"example.org/x:1\\\\\\\": ErrImagePull",
                "the image \"example.org/x:1\" is not there",
                "setup-cluster --limit n",
            ),
            (
                "pod kube-system/x, container y with the image \"example.org/x:1\": RunContainerError: exec: \"/y\": permission denied",
                "the image \"example.org/x:1\" cannot be run: exec: \"/y\": permission denied",
                "muster bundle check",
            ),
            (
                "pod kube-system/x, container y with the image \"example.org/x:1\": CreateContainerError: no command specified",
                "the image \"example.org/x:1\" cannot be run: no command specified",
                "setup-cluster --limit n",
            ),
            (
                "pod kube-system/x, container y with the image \"example.org/x:1\": CrashLoopBackOff: back-off 10s",
                "container y with the image \"example.org/x:1\": CrashLoopBackOff: back-off 10s",
                "muster kubectl -n kube-system logs --previous x",
            ),
            (
                "container web of shop_web-1_ab-cd ended, and wrote last: no database",
                "no database",
                "muster kubectl -n shop logs --previous web-1",
            ),
            (
                "kubelet: failed to load kubelet config file, path: /var/lib/kubelet/config.yaml",
                "the kubelet does not take its configuration",
                "/var/lib/kubelet/config.yaml",
            ),
            (
                "the node is not Ready: NodeStatusUnknown: Kubelet stopped posting node status.",
                "the kubelet has not been heard of",
                "journalctl -u kubelet",
            ),
        ] {
            let cause = foremost(&[clue("n", text)]).unwrap();
            assert!(cause.said.contains(said) && cause.remedy.contains(remedy), "{text}: {cause:?}");
        }
        assert!(foremost(&[clue("n", "something that nobody knows")]).is_none());
        assert!(foremost(&[]).is_none());
    }
}
