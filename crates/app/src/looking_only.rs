//! What a run that only looks at machines needs on this computer.

use crate::environment::Environment;
use crate::error::Error;
use crate::flow::BundleUse;
use crate::job::Scope;
use crate::run_bundle::{self, Lack};

impl Scope {
    /// Whether [`Scope::complete`] is to fetch something: what would be installed is compared by its hash with what machines have, so
    /// it has to be here even if nothing is installed.
    ///
    /// # Errors
    /// The bundle cannot be read, or a version is not in the catalogue.
    pub fn will_fetch(&self, environment: &Environment) -> Result<bool, Error> {
        let Self { job, world, outline, .. } = self;
        if job.flow.bundle != BundleUse::Installs || job.options.offline {
            return Ok(false);
        }
        let versions = match job.flow.keeps.get() {
            Some(kept) => vec![kept.clone()],
            None => run_bundle::versions(world, &outline.hosts)?,
        };
        run_bundle::is_incomplete(&job.options, environment, world, &versions, Lack::Any)
    }
}
