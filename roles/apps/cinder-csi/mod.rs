//! Cinder's driver of volumes (cloud-provider-openstack): claims get volumes of OpenStack.

use muster_engine::prelude::*;

use super::openstack::{Told, begin_anew};
use super::{App, cannot_be_told, objects_of_template, volumes_of};
use crate::objects::ObjectSet;

const NAME: &str = "cinder-csi";

/// The application. Whoever uses a volume of it could not be ended without it.
pub(crate) const APP: App =
    App { in_use: Some(|| volumes_of("cinder.csi.openstack.org")), ..App::of(NAME, sets) };

/// What it is told.
pub(crate) const TOLD: Told = Told {
    prefix: "cinder_",
    sections: &[(
        "BlockStorage",
        &[
            ("bs-version", "cinder_blockstorage_version"),
            ("ignore-volume-az", "cinder_csi_ignore_volume_az"),
            ("node-volume-attach-limit", "node_volume_attach_limit"),
            ("rescan-on-resize", "cinder_csi_rescan_on_resize"),
        ],
    )],
};

fn sets(of: &Host) -> Result<Vec<ObjectSet>> {
    let told = TOLD.secret("cinder-csi-cloud-config", of.all_vars());
    let (secret, digest) = told.map_err(cannot_be_told)?;
    let mut objects = objects_of_template(of, NAME, include_str!("objects.yaml.j2"))?;
    begin_anew(&mut objects, &digest);
    objects.insert(0, secret);
    Ok(vec![ObjectSet::of(NAME, objects)?])
}
