//! csi-driver-nfs: volumes that are folders of an NFS server.

use super::{App, of_template, volumes_of};

const NAME: &str = "nfs-csi";

/// The application. Whoever uses a volume of it could not be ended without it.
pub(crate) const APP: App = App {
    in_use: Some(|| volumes_of("nfs.csi.k8s.io")),
    ..App::of(NAME, |of| of_template(of, NAME, include_str!("objects.yaml.j2")))
};
