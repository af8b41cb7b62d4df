//! Machines that are made in a cloud.

use std::cell::Cell;

use muster_openstack::{Clouds, Creation, Deletion, Identity, Listed, Machines, Place, Session, Source};

use crate::clusters::cluster::{Cluster, surroundings};
use crate::clusters::maker::Maker;
use crate::environment::Environment;
use crate::error::CommandError;
use crate::output::{print, text};

/// A login to the cloud of a cluster's machines.
pub(crate) struct Cloud<'c> {
    cluster: &'c Cluster,
    session: Session,
    identity: Identity,
    /// Whether the identity is that of machines that may be there: one that was made just now is written down before the first of them.
    is_kept: Cell<bool>,
}

fn tell(line: &str) {
    print::note(&format!("  {}", text::harmless(line)));
}

impl<'c> Cloud<'c> {
    /// Logs in.
    ///
    /// # Errors
    /// The cloud cannot be found or does not accept the login; the cluster is in another project; or its machines exist.
    pub(crate) fn open(cluster: &'c Cluster, environment: &Environment) -> Result<Self, CommandError> {
        let Source::Cloud(side) = &cluster.declaration.machines else {
            let (file, name) = (cluster.folder.declaration_shown(), cluster.folder.name());
            let error =
                CommandError::written(format!("{file} is of machines that exist: none are made or deleted"));
            return Err(error.hint(format!("to make them a cluster: muster cluster apply {name}")));
        };
        let cloud = Clouds::read(surroundings(environment)?)?.choose(side.name.as_deref())?;
        let (auth_url, region) = (cloud.auth_url.clone(), cloud.region.clone());
        let session = Session::open(cloud)?;
        let place = Place { auth_url, region, project: session.project() };
        let kept = cluster.folder.identity(&place)?;
        let is_kept = Cell::new(kept.is_some());
        let identity = kept.unwrap_or_else(|| Identity::new(cluster.folder.name(), place));
        Ok(Self { cluster, session, identity, is_kept })
    }

    /// Whether anything was ever made.
    pub(crate) fn is_begun(&self) -> bool {
        self.is_kept.get()
    }

    /// The machines of the cluster.
    pub(crate) fn machines(&self) -> Machines<'_> {
        Machines::new(&self.session, self.identity.mark(), self.cluster.folder.name(), &tell)
    }

    /// Does something with machines, before which the identity is written down.
    ///
    /// # Errors
    /// As of [`Creation`].
    pub(crate) fn create(&self, parts: Option<&[String]>) -> Result<Vec<Listed>, CommandError> {
        let machines = self.machines();
        let creation = Creation::prepare(&machines, &self.cluster.declaration)?;
        let creation = match parts {
            Some(parts) => creation.of(parts),
            None => creation,
        };
        if !self.is_kept.get() {
            self.cluster.folder.keep(&self.identity)?;
            self.is_kept.set(true);
        }
        Ok(creation.perform()?)
    }
}

impl Maker for Cloud<'_> {
    fn look(&self) -> Result<Vec<Listed>, CommandError> {
        let machines = self.machines();
        Ok(Creation::prepare(&machines, &self.cluster.declaration)?.machines())
    }

    fn make(&self, parts: &[String]) -> Result<Vec<Listed>, CommandError> {
        let made = self.create(Some(parts))?;
        Ok(made.into_iter().filter(|machine| machine.is_wanted).collect())
    }

    fn remove(&self, part: &str) -> Result<(), CommandError> {
        let machines = self.machines();
        Ok(Deletion::of(&machines, &[part.to_owned()])?.perform()?)
    }
}
