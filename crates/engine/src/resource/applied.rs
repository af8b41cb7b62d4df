//! What came of resources that were ensured.

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Whether anything differed and was mended, or in check mode: would be.
    pub changed: bool,
    /// A hash of everything the step wants: services compare it with the one they were started with.
    pub fingerprint: String,
}
