//! The container engine that a machine had before ours: a package's, or somebody's own. It is noted when ours takes its place, and
//! comes back with a reset.

use muster_engine::prelude::*;

use super::{CONFIG, UNIT, programs};
use crate::common::bin_dir;

/// What a machine notes of it.
const EARLIER: &str = "/var/lib/muster/stamps/containerd-before";
/// Says that a reset has taken ours from a machine, but for its programs and images. What is set up there from then on is somebody's.
const KEPT: &str = "/var/lib/muster/stamps/containerd-kept";
/// Says that ours was started on a machine.
const STARTED: &str = "/var/lib/muster/stamps/containerd.service";

/// What the machine has of a container engine is noted before ours takes its place, so that a reset can bring it back.
pub(super) fn is_noted(host: &Host, storage: &str) -> Result<Command> {
    let arguments =
        [EARLIER, storage, CONFIG, UNIT, KEPT].map(str::to_owned).into_iter().chain(programs(host)?);
    Ok(command(
        "the container engine of before is noted",
        sh(concat!(include_str!("which_engine.sh"), include_str!("keep_earlier.sh")), arguments),
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
    /// That one is started from where ours had its programs: with them, or with what is there in their place.
    pub(crate) has_our_programs: bool,
}

impl Earlier {
    /// Asks the machine.
    pub(crate) async fn of(host: &Host) -> Result<Earlier> {
        let look = concat!(
            include_str!("which_engine.sh"),
            r#"for note in "$1" "$1-is-back"; do
  [ ! -e "$note/images" ] || echo images
  [ ! -e "$note/active" ] || echo ran
  [ ! -e "$note/unit" ] && [ ! -e "$note/unit-link" ] || echo unit
done
[ -d "$1" ] || [ ! -d "$1-is-back" ] || echo back
for mark in "$1" "$2" "$3"; do [ ! -e "$mark" ] || echo ours; done
[ ! -e "$4" ] || ! is_anothers "$4" "$5" || {
  echo anothers
  case $(systemctl cat containerd 2>/dev/null) in *"$6/"*) echo our-programs ;; esac
}"#
        );
        let bin = bin_dir(host)?;
        let program = format!("/var/lib/muster/stamps/file{bin}/containerd");
        let answer = host.query(sh(look, [EARLIER, STARTED, &program, KEPT, CONFIG, &bin])).await?.output;
        let has = |word: &str| answer.lines().any(|line| line == word);
        Ok(Earlier {
            has_ours: has("ours") && !has("anothers"),
            is_anothers: has("anothers"),
            has_our_programs: has("our-programs"),
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
        sh(concat!(include_str!("which_engine.sh"), include_str!("keep.sh")), [KEPT, CONFIG]),
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
    removal("images of Kubernetes", sh(program, ["remove"]), sh(program, ["look"]))
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn what_somebody_has_put_there_since_is_not_replaced_by_what_was_before() {
        for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
            let root = tempfile::tempdir().unwrap();
            let path = |name: &str| root.path().join(name).display().to_string();
            let write = |name: &str, text: &str| {
                fs::create_dir_all(root.path().join(name).parent().unwrap()).unwrap();
                fs::write(root.path().join(name), text).unwrap();
            };
            for name in ["programs/containerd", "programs/ctr", "config.toml"] {
                write(&format!("note/{name}"), "before");
            }
            write("bin/containerd", "since");
            let program = format!("systemctl() {{ :; }}\n{}", include_str!("bring_back.sh"));
            let words = ["note", "config.toml", "unit", "bin/containerd", "bin/ctr"].map(path);
            let mut command = std::process::Command::new(shell[0]);
            command.args(&shell[1..]).args(["-euc", &program, "sh"]).args(words);
            assert!(command.status().unwrap().success(), "{shell:?}");
            let texts = ["bin/containerd", "bin/ctr", "config.toml"]
                .map(|name| fs::read_to_string(path(name)).unwrap());
            assert_eq!(texts, ["since", "before", "before"], "{shell:?}");
        }
    }

    #[test]
    fn a_package_s_engine_is_not_taken_for_one_that_came_after_a_reset_that_kept_images() {
        for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
            let root = tempfile::tempdir().unwrap();
            let path = |name: &str| root.path().join(name).display().to_string();
            let run = |program: &str, words: &[String]| {
                let systemctl = "systemctl() { [ $1 = cat ] && cat \"$UNIT\"; }\nsync() { :; }\n";
                let text = format!("{systemctl}{}{program}", include_str!("which_engine.sh"));
                let mut command = std::process::Command::new(shell[0]);
                command
                    .args(&shell[1..])
                    .args(["-euc", &text, "sh"])
                    .args(words)
                    .env("UNIT", path("unit-of-package"));
                command.status().unwrap().success()
            };
            let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
            write("unit-of-package", "[Service]");
            fs::create_dir_all(path("note/programs")).unwrap();
            write("note/active", "");
            write("note/config.toml", "theirs");
            let storage = root.path().join("storage/io.containerd.metadata.v1.bolt");
            fs::create_dir_all(&storage).unwrap();
            fs::write(storage.join("meta.db"), "kept images of ours").unwrap();
            let keep = [path("kept"), path("config.toml")];
            let note = ["note", "storage", "config.toml", "unit", "kept"].map(path);
            let text = |name: &str| fs::read_to_string(path(name)).unwrap();
            assert!(run(include_str!("keep.sh").replace("systemctl daemon-reload", ":").as_str(), &keep));
            assert!(!run("is_anothers \"$@\"", &keep), "{shell:?}");
            assert!(run(include_str!("keep_earlier.sh"), &note), "{shell:?}");
            assert!(text("note/config.toml") == "theirs" && !root.path().join("note/images").exists());
            assert!(!root.path().join("kept").exists());
            assert!(run(include_str!("keep.sh").replace("systemctl daemon-reload", ":").as_str(), &keep));
            write("config.toml", "somebody's");
            assert!(run("is_anothers \"$@\"", &keep) && run(include_str!("keep_earlier.sh"), &note));
            assert_eq!(text("note/config.toml"), "somebody's", "{shell:?}");
            // The package was taken away since: nobody has one.
            assert!(run(include_str!("keep.sh").replace("systemctl daemon-reload", ":").as_str(), &keep));
            fs::remove_file(path("unit-of-package")).unwrap();
            assert!(!run("is_anothers \"$@\"", &keep), "{shell:?}");
        }
    }
}
