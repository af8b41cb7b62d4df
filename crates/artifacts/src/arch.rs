//! Processor architectures, under the names that container images and Go use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A processor architecture that artifacts are published for.
///
/// The names are those of Go's `GOARCH`, which image indexes and upstream's URLs use too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64; `uname -m` says `x86_64`.
    Amd64,
    /// 64-bit ARM; `uname -m` says `aarch64`.
    Arm64,
}

impl Arch {
    /// Every architecture, in the order of the listing.
    pub const ALL: [Arch; 2] = [Arch::Amd64, Arch::Arm64];

    /// The name in image indexes and URLs.
    pub fn name(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
        }
    }

    /// The name that `uname -m` has for it, which is in some of upstream's URLs.
    pub fn machine(self) -> &'static str {
        match self {
            Arch::Amd64 => "x86_64",
            Arch::Arm64 => "aarch64",
        }
    }

    /// The architecture of a machine, from what `uname -m` says there; `None` for one that nothing is published for.
    pub fn of_machine(uname_m: &str) -> Option<Arch> {
        match uname_m {
            "x86_64" | "amd64" => Some(Arch::Amd64),
            "aarch64" | "arm64" => Some(Arch::Arm64),
            _ => None,
        }
    }

    /// The architecture this program was compiled for; `None` for one that nothing is published for.
    pub fn host() -> Option<Arch> {
        Arch::of_machine(std::env::consts::ARCH)
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Arch {
    type Err = String;

    fn from_str(text: &str) -> Result<Arch, String> {
        Arch::ALL
            .into_iter()
            .find(|arch| arch.name() == text)
            .ok_or_else(|| format!("unknown architecture {text:?}: give amd64 or arm64"))
    }
}
