//! The container engine that a machine had before ours: a package's, or somebody's own. It is noted when ours takes its place, and
//! comes back with a reset.

use muster_engine::prelude::*;

use super::{CNI_PLUGINS, CONFIG, PROGRAMS, UNIT};
use crate::common::bin_dir;

/// What a machine notes of it.
const EARLIER: &str = "/var/lib/muster/stamps/containerd-before";
/// Says that a reset has taken ours from a machine, but for its programs and images. What is set up there from then on is somebody's.
const KEPT: &str = "/var/lib/muster/stamps/containerd-kept";
/// Says that ours was started on a machine.
const STARTED: &str = "/var/lib/muster/stamps/containerd.service";

/// Where ours puts programs, and another engine may have its own.
fn programs(host: &Host) -> Result<Vec<String>> {
    let bin = bin_dir(host)?;
    let own = PROGRAMS.into_iter().chain(["runc"]).map(|name| format!("{bin}/{name}"));
    Ok(own.chain(CNI_PLUGINS.into_iter().map(|name| format!("/opt/cni/bin/{name}"))).collect())
}

/// What the machine has of a container engine is noted before ours takes its place, so that a reset can bring it back.
pub(super) fn is_noted(host: &Host, storage: &str) -> Result<Command> {
    let arguments =
        [EARLIER, storage, CONFIG, UNIT, KEPT].map(str::to_owned).into_iter().chain(programs(host)?);
    Ok(command(
        "the container engine of before is noted",
        sh(include_str!("keep_earlier.sh"), arguments),
        // What an older muster has started is ours.
        sh(r#"[ ! -e "$3" ] && { [ -d "$1" ] || [ -e "$2" ]; }"#, [EARLIER, STARTED, KEPT]),
    ))
}

/// The container engine that a machine had before ours.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Earlier {
    /// Ours is on the machine, or what is left of it. Otherwise whatever is there is somebody else's.
    pub(crate) has_ours: bool,
    /// It had images, which are others' and stay.
    pub(crate) has_images: bool,
    /// It ran, and runs again at the end of a reset: what it makes in its folder then is not ours.
    pub(crate) ran: bool,
    /// It had a unit where ours is.
    pub(crate) has_unit: bool,
    /// It took the place of ours again.
    pub(crate) is_back: bool,
    /// Ours was taken away, but for its programs and images; and there is one that somebody has set up.
    pub(crate) is_anothers: bool,
}

impl Earlier {
    /// Asks the machine.
    pub(crate) async fn of(host: &Host) -> Result<Earlier> {
        let look = r#"for note in "$1" "$1-is-back"; do
  [ ! -e "$note/images" ] || echo images
  [ ! -e "$note/active" ] || echo ran
  [ ! -e "$note/unit" ] && [ ! -e "$note/unit-link" ] || echo unit
done
[ -d "$1" ] || [ ! -d "$1-is-back" ] || echo back
for mark in "$1" "$2" "$3"; do [ ! -e "$mark" ] || echo ours; done
[ ! -e "$4" ] || ! systemctl cat containerd >/dev/null 2>&1 || echo anothers"#;
        let program = format!("/var/lib/muster/stamps/file{}/containerd", bin_dir(host)?);
        let answer = host.query(sh(look, [EARLIER, STARTED, &program, KEPT])).await?.output;
        let has = |word: &str| answer.lines().any(|line| line == word);
        Ok(Earlier {
            has_ours: has("ours") && !has("anothers"),
            is_anothers: has("anothers"),
            has_images: has("images"),
            ran: has("ran"),
            has_unit: has("unit"),
            is_back: has("back"),
        })
    }

    /// Whether what is there of an engine goes with a reset.
    pub(crate) fn goes(self) -> bool {
        self.has_ours && !self.is_back
    }
}

/// The container engine of before has its programs, its settings and its unit again, and runs if it ran.
pub(crate) fn is_back(host: &Host) -> Result<Command> {
    let arguments = [EARLIER, CONFIG, UNIT].map(str::to_owned).into_iter().chain(programs(host)?);
    Ok(command(
        "the container engine of before",
        sh(include_str!("bring_back.sh"), arguments),
        sh(r#"[ ! -d "$1" ]"#, [EARLIER]),
    ))
}

/// Programs and images of ours stay, and nothing else of it.
pub(crate) fn is_kept() -> Command {
    command(
        "what is kept is noted",
        sh(r#"mkdir -p "${1%/*}"; : >"$1""#, [KEPT]),
        sh(r#"[ -e "$1" ]"#, [KEPT]),
    )
}

/// Tells if an engine that ran before does not run again.
pub(crate) async fn tell(host: &Host) -> Result<()> {
    let look = r#"[ ! -e "$1-is-back/active" ] || systemctl is-active -q containerd >/dev/null || echo down"#;
    if !host.query(sh(look, [EARLIER])).await?.output.trim().is_empty() {
        host.warn(format!(
            "the containerd that {} had before the cluster does not run again: systemctl status containerd",
            host.name()
        ));
    }
    Ok(())
}

/// No image of Kubernetes is in an engine that others had used before.
pub(crate) fn no_images_of_pods() -> Command {
    let program = include_str!("no_images_of_pods.sh");
    command("no images of Kubernetes", sh(program, ["remove"]), sh(program, ["look"]))
}
