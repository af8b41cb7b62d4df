//! Which cluster of which project a declaration is about.

use crate::mark::Mark;

/// Where a cluster's machines are: a project of a cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The cloud's identity service.
    pub auth_url: String,
    /// The region, where one is named.
    pub region: Option<String>,
    /// The project's id.
    pub project: String,
}

/// Who a cluster is. It is made at random when a cluster's first machines are made, before the first request that makes anything,
/// and kept beside the declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The folder's name when it was made: a folder that was copied is another cluster.
    pub name: String,
    /// 32 random hexadecimal digits.
    pub id: String,
    /// Where its machines are.
    pub place: Place,
}

impl Identity {
    /// A new one.
    pub fn new(name: &str, place: Place) -> Self {
        let id = format!("{:032x}", rand::random::<u128>());
        Self { name: name.to_owned(), id, place }
    }

    /// What its objects carry.
    pub fn mark(&self) -> Mark {
        Mark::new(&self.id)
    }
}
