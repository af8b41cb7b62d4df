//! The machines that a declaration asks for.

use crate::declaration::{Declaration, Pool};
use crate::rules::Group;

/// One machine of a pool.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    /// Its name within the cluster: `cp-1`.
    pub(crate) part: String,
    pub(crate) pool: &'a Pool,
}

impl Wanted<'_> {
    /// Its hostname, which tells it from machines of other clusters, too.
    pub(crate) fn name(&self, cluster: &str) -> String {
        format!("{cluster}-{}", self.part)
    }

    /// The security groups that it is in.
    pub(crate) fn groups(&self) -> &'static [Group] {
        if self.pool.is_control_plane() { &Group::ALL } else { &[Group::Machines] }
    }
}

/// All machines, pool by pool.
pub(crate) fn wanted(declaration: &Declaration) -> Vec<Wanted<'_>> {
    let mut machines = Vec::new();
    for pool in &declaration.pools {
        machines
            .extend((1..=pool.count).map(|number| Wanted { part: format!("{}-{number}", pool.name), pool }));
    }
    machines
}
