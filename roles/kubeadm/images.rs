//! Images come from the bundle, each in an archive of its own, only to the machines that run it.

use std::io::Read;
use std::sync::Arc;

use muster_artifacts::ImageEntry;
use muster_engine::event::Change;
use muster_engine::prelude::*;
use muster_engine::transport::blocking_input;

use crate::balancer;
use crate::catalogue::{missing, release};
use crate::common::ClusterVars;
use crate::vip;

/// Images every node runs, and those of a machine with or without an API server: by their names in the catalogue. Pods of coredns go anywhere.
const EVERYWHERE: [&str; 16] = [
    "pause",
    "kube-proxy",
    "flannel",
    "calico-node",
    "calico-cni",
    "calico-kube-controllers",
    "calico-typha",
    "cilium",
    "cilium-operator",
    "cilium-envoy",
    "cilium-certgen",
    "hubble-relay",
    "hubble-ui",
    "hubble-ui-backend",
    "coredns",
    "agnhost",
];
const WORKER: [&str; 1] = [balancer::IMAGE];
const CONTROL_PLANE: [&str; 4] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", vip::IMAGE];

/// Images in containerd's namespace of Kubernetes.
pub(crate) struct Images {
    bundle: Arc<muster_artifacts::Bundle>,
    wanted: Vec<ImageEntry>,
}

/// The images of the cluster itself that this machine runs are imported.
pub(super) fn imported(host: &Host, cluster: &ClusterVars) -> Result<Images> {
    let own: &[&str] = if host.in_group("kube_control_plane") { &CONTROL_PLANE } else { &WORKER };
    named(host, cluster, EVERYWHERE.iter().chain(own).copied())
}

/// The images of these names in the catalogue are imported, as far as the machine's variables ask for them.
pub(crate) fn named<'n>(
    host: &Host,
    cluster: &ClusterVars,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<Images> {
    let release = release(host, &cluster.kube_version)?;
    let bundle = host.bundle().clone();
    let mut wanted = Vec::new();
    for name in names {
        let Some(image) = release.image(name) else { continue };
        wanted.push(bundle.image(&image.reference.to_string(), release.arch).map_err(missing)?.clone());
    }
    Ok(Images { bundle, wanted })
}

impl Images {
    /// An image as a file that `ctr` can import.
    fn archive(&self, image: ImageEntry) -> Upload {
        let bundle = self.bundle.clone();
        let reference = image.reference.to_string();
        let (name, size) = (format!("image {reference}"), image.size);
        let bytes = Bytes::Named(format!("{name} {:?} {}", image.arch, image.manifest_digest));
        let open = move |from| {
            let mut archive =
                bundle.image_archive(&[&reference], image.arch).map_err(std::io::Error::other)?;
            std::io::copy(&mut (&mut archive).take(from), &mut std::io::sink())?;
            Ok(blocking_input(archive))
        };
        Upload { name, bytes, size, open: Arc::new(open) }
    }
}

impl Resource for Images {
    fn label(&self) -> String {
        "images".into()
    }

    fn probe(&self) -> Probe {
        // Lines of `images ls`: reference, type, digest, ... It adds up the layers of what it lists, so it is asked for these only.
        let names = self.wanted.iter().map(|image| format!("name=={}", image.reference));
        Probe::script(sh(r#"ctr -n k8s.io images ls "$@""#, names))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let output = seen.answer().output;
        let is_there = |image: &&ImageEntry| {
            let (reference, digest) = (image.reference.to_string(), image.manifest_digest.oci());
            output.lines().any(|line| {
                let mut words = line.split_whitespace();
                words.next() == Some(&reference) && words.nth(1) == Some(&digest)
            })
        };
        let missing: Vec<_> = self.wanted.iter().filter(|image| !is_there(image)).cloned().collect();
        if missing.is_empty() {
            return Ok(Plan::nothing());
        }
        let changes = missing
            .iter()
            .map(|image| Change {
                resource: self.label(),
                what: format!("{} imported", image.reference),
                diff: None,
                momentary: false,
            })
            .collect();
        let uploads: Vec<_> = missing.into_iter().map(|image| self.archive(image)).collect();
        // One import works on one layer at a time, which is one processor's work: to unpack it.
        // What ctr says of one image, last that it is done, says nothing of the others.
        let import = r#"
echo "importing $# images"
printf '%s\n' "$@" | xargs -n 1 -P "$(nproc)" ctr -n k8s.io images import --local --all-platforms >/dev/null
rm -f "$@""#;
        let script = sh(import, uploads.iter().map(|upload| upload.bytes.path()));
        Ok(Plan { changes, script: Some(script), uploads })
    }

    fn desired(&self) -> String {
        self.wanted.iter().map(|image| format!("{} {}\n", image.reference, image.manifest_digest)).collect()
    }

    fn takes_long(&self) -> bool {
        true
    }
}
