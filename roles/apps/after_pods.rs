//! An application whose pods have brought something onto machines is removed in three parts: its pods end, then what they have left on
//! each machine goes, and then the other objects, with what is written down of them. So a run that was cut off is seen by the next one,
//! and where a machine could not be reached its traces are not forgotten.

use muster_engine::prelude::*;

use super::{App, OnHost, forgotten, no_objects, optional_sets};
use crate::cluster;
use crate::kubectl::needs_a_control_plane;
use crate::objects;

/// Nothing of it is left. `of`: whose variables say which objects it has.
pub(super) async fn remove(host: &Host, of: &Host, app: &App, from_machine: OnHost) -> Result<()> {
    let is_plane = host.in_group("kube_control_plane");
    if is_plane {
        cluster::may_set_up(host).await?;
        for set in (app.sets)(of)? {
            // All of them, because who asks later in the run takes the answer for one about all.
            set.ended().looking_for(optional_sets()).ensure(host).await?;
        }
    }
    needs_a_control_plane(host, &objects::pods_end(app.name)).await?;
    // What pods of somebody else's have brought is theirs.
    if objects::is_there(host, app.name) != Some(true) {
        return Ok(());
    }
    cluster::may_set_up(host).await?;
    from_machine(host).await?;
    host.reached(&forgotten(app));
    if !is_plane {
        return Ok(());
    }
    let mut remains = Vec::new();
    for node in host.cluster().group("k8s_cluster") {
        let is_clear = host.cluster().in_run(&node) && host.needs(&node, &forgotten(app)).await.is_ok();
        if !is_clear {
            remains.push(node);
        }
    }
    if remains.is_empty() {
        return no_objects(host, app).await;
    }
    let told = || async {
        let nodes = remains.join(", ");
        host.warn(format!(
            "{name} is not removed from {nodes}, where its rules may still be in force: run setup-cluster with all machines, or take \
             those that are gone for good out of the cluster (muster remove-node)",
            name = app.name
        ));
        Ok(())
    };
    host.cluster().once(&format!("{} remains", app.name), told).await.map(drop)
}
