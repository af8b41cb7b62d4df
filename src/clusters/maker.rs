//! Whoever brings machines about: a cloud makes them, machines that exist are taken.

use muster_openstack::Listed;

use crate::error::CommandError;

/// Makes machines, and removes them.
pub(crate) trait Maker {
    /// The machines that are there, be they wanted or not; and whether they are as declared.
    ///
    /// # Errors
    /// They cannot be looked at, or what the declaration names is not there.
    fn look(&self) -> Result<Vec<Listed>, CommandError>;

    /// Makes those of these machines that are not there, by their names within the cluster, and returns all of these.
    ///
    /// # Errors
    /// One could not be made. What was made is found by the next look.
    fn make(&self, parts: &[String]) -> Result<Vec<Listed>, CommandError>;

    /// Removes a machine that has left the cluster, and all that only it needed.
    ///
    /// # Errors
    /// It could not be removed; the same call may be tried again.
    fn remove(&self, part: &str) -> Result<(), CommandError>;
}
