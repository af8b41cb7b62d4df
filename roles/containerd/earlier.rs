//! The container engine that a machine had before ours: a package's, or somebody's own. It is noted when ours takes its place, and
//! comes back with a reset.

use muster_engine::prelude::*;

use super::{CONFIG, UNIT};

/// What a machine notes of it.
const EARLIER: &str = "/var/lib/muster/stamps/containerd-before";
/// Says that ours was started on a machine.
const STARTED: &str = "/var/lib/muster/stamps/containerd.service";

/// What the machine has of a container engine is noted before ours takes its place, so that a reset can bring it back.
pub(super) fn is_noted(storage: &str) -> Command {
    command(
        "the container engine of before is noted",
        sh(include_str!("keep_earlier.sh"), [EARLIER, storage, CONFIG, UNIT]),
        // What an older muster has started is ours.
        sh(r#"[ -d "$1" ] || [ -e "$2" ]"#, [EARLIER, STARTED]),
    )
}

/// The container engine that a machine had before ours.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Earlier {
    /// It had images, which are others' and stay.
    pub(crate) has_images: bool,
    /// It had a unit where ours is.
    pub(crate) has_unit: bool,
    /// It took the place of ours again.
    pub(crate) is_back: bool,
}

impl Earlier {
    /// Asks the machine.
    pub(crate) async fn of(host: &Host) -> Result<Earlier> {
        let look = r#"for note in "$1" "$1-is-back"; do
  [ ! -e "$note/images" ] || echo images
  [ ! -e "$note/unit" ] || echo unit
done
[ -d "$1" ] || [ ! -d "$1-is-back" ] || echo back"#;
        let answer = host.query(sh(look, [EARLIER])).await?.output;
        let has = |word: &str| answer.lines().any(|line| line == word);
        Ok(Earlier { has_images: has("images"), has_unit: has("unit"), is_back: has("back") })
    }
}

/// The container engine of before has its settings and its unit again, and runs if it ran.
pub(crate) fn is_back() -> Command {
    command(
        "the container engine of before",
        sh(include_str!("bring_back.sh"), [EARLIER, CONFIG, UNIT]),
        sh(r#"[ ! -d "$1" ]"#, [EARLIER]),
    )
}

/// No image of Kubernetes is in an engine that others had used before.
pub(crate) fn no_images_of_pods() -> Command {
    let program = include_str!("no_images_of_pods.sh");
    command("no images of Kubernetes", sh(program, ["remove"]), sh(program, ["look"]))
}
