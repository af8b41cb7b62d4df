//! Root writes into a folder of somebody else, who puts other things into the place of what root has just seen there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::*;
use crate::script::tests::shells;

/// Whom the folder belongs to: nobody.
const OTHER: u32 = 65534;

/// `theirs`, the folder of somebody else; `ours`, root's, with a file `new` that nobody else can read; `bin`, programs.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for name in ["theirs", "ours", "bin"] {
            fs::create_dir(place.at(name)).unwrap();
        }
        mode(place.0.path(), 0o755);
        chown(place.at("theirs"), Some(OTHER), Some(OTHER)).unwrap();
        fs::write(place.at("ours/new"), "ours").unwrap();
        mode(&place.at("ours/new"), 0o600);
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().to_owned()
    }

    /// When `moment`, a program, has ended, the other one types this in their folder.
    fn then(&self, moment: &str, typed: &str) {
        let typed = typed.replace("OURS", &self.text("ours"));
        let other = format!("setpriv --reuid {OTHER} --clear-groups sh -c '{typed}'");
        let path = self.at("bin").join(moment);
        let program = format!(
            "#!/bin/sh\nPATH=${{PATH#*:}}\n{moment} \"$@\" || exit\n(cd {} && {other})\n",
            self.text("theirs")
        );
        fs::write(&path, program).unwrap();
        mode(&path, 0o755);
    }

    /// A change that is planned for what is there, in a shell.
    fn run(&self, shell: &[&str], resource: &impl Resource, seen: &Seen) -> Output {
        let script = resource.plan(seen).unwrap().script.unwrap().text();
        let path = format!("{}:{}", self.text("bin"), std::env::var("PATH").unwrap());
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).args(["-euc", &script]).env("PATH", path).output().unwrap()
    }

    /// What is root's is as it was.
    fn is_untouched(&self, about: &str) {
        let ours = fs::metadata(self.at("ours/new")).unwrap();
        assert_eq!((ours.uid(), ours.mode() & 0o777), (0, 0o600), "{about}");
        assert_eq!(fs::read_to_string(self.at("ours/new")).unwrap(), "ours", "{about}");
        assert_eq!(fs::read_dir(self.at("ours")).unwrap().count(), 1, "{about}");
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn is_refused(ran: &Output, about: &str) {
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && said.contains("not what it was a moment ago"), "{about}: {ran:?}");
}

#[test]
fn a_link_in_the_place_of_what_is_being_made_leads_nowhere() {
    let swap = "for f in .muster.*; do mv $f away; ln -s OURS $f; done";
    for (shell, moment) in shells().iter().flat_map(|shell| ["mktemp", "chmod"].map(|moment| (shell, moment)))
    {
        let (place, about) = (Place::new(), format!("{shell:?} {moment}"));
        place.then(moment, swap);
        let wanted = file(place.text("theirs/text")).content("text").mode(0o644);
        let ran = place.run(shell, &wanted, &Seen::default());
        assert!(place.at("theirs/away").exists(), "{about}: nothing was put in its place; {ran:?}");
        place.is_untouched(&about);
        match moment {
            "mktemp" => is_refused(&ran, &about),
            _ => assert_eq!(fs::read_to_string(place.at("theirs/text")).unwrap(), "text", "{about}"),
        }
    }
}

#[test]
fn a_folder_of_roots_that_others_can_write_to_is_not_taken_for_the_one_that_was_made() {
    for (shell, open) in shells().iter().flat_map(|shell| [0o777, 0o700].map(|open| (shell, open))) {
        let (place, about) = (Place::new(), format!("{shell:?} {open:o}"));
        fs::create_dir(place.at("theirs/open")).unwrap();
        symlink(place.at("ours/new"), place.at("theirs/open/new")).unwrap();
        mode(&place.at("theirs/open"), open);
        place.then("mktemp", "for f in .muster.*; do mv $f away; mv open $f; done");
        let wanted = file(place.text("theirs/text")).content("text").mode(0o644);
        is_refused(&place.run(shell, &wanted, &Seen::default()), &about);
        place.is_untouched(&about);
    }
}

#[test]
fn a_link_on_the_way_is_followed_only_where_root_alone_can_have_put_it() {
    for shell in shells() {
        let (place, about) = (Place::new(), format!("{shell:?}"));
        symlink(place.at("ours"), place.at("theirs/lead")).unwrap();
        let wanted = file(place.text("theirs/lead/more")).content("text");
        is_refused(&place.run(&shell, &wanted, &Seen::default()), &about);
        place.is_untouched(&about);

        symlink(place.at("theirs"), place.at("root's")).unwrap();
        let wanted = file(place.text("root's/a/b/text")).content("text");
        let ran = place.run(&shell, &wanted, &Seen::default());
        assert!(ran.status.success(), "{about}: {ran:?}");
        assert_eq!(fs::read_to_string(place.at("theirs/a/b/text")).unwrap(), "text", "{about}");
    }
}

#[test]
fn what_a_write_left_that_was_killed_is_removed_after_a_day_and_nothing_else() {
    for shell in shells() {
        let (place, about) = (Place::new(), format!("{shell:?}"));
        for (name, holds, age) in [
            ("killed", Some("new"), "2 days ago"),
            ("empty0", None, "2 days ago"),
            ("recent", Some("new"), "1 hour ago"),
            ("foreig", Some("other"), "2 days ago"),
            ("theirs", Some("new"), "2 days ago"),
        ] {
            let folder = place.at(&format!("theirs/.muster.{name}"));
            fs::create_dir(&folder).unwrap();
            mode(&folder, 0o700);
            holds.iter().for_each(|file| fs::write(folder.join(file), "").unwrap());
            if name == "theirs" {
                chown(&folder, Some(OTHER), None).unwrap();
            }
            let aged = Command::new("touch").args(["-d", age]).arg(&folder).status().unwrap();
            assert!(aged.success());
        }
        symlink(place.at("ours"), place.at("theirs/.muster.linked")).unwrap();
        let ran = place.run(&shell, &file(place.text("theirs/text")).content("text"), &Seen::default());
        assert!(ran.status.success(), "{about}: {ran:?}");
        let mut left: Vec<String> = fs::read_dir(place.at("theirs"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let expected = [".muster.foreig", ".muster.linked", ".muster.recent", ".muster.theirs", "text"];
        assert_eq!(left, expected, "{about}");
        place.is_untouched(&about);
    }
}

#[test]
fn another_mode_is_given_to_the_file_that_was_seen_and_to_no_other() {
    for shell in shells() {
        let (place, about) = (Place::new(), format!("{shell:?}"));
        let there = place.at("theirs/data");
        fs::write(&there, "data").unwrap();
        let wanted = local_file(place.text("theirs/data"), &there).unwrap().mode(0o640);
        let state = PathState {
            kind: PathKind::File,
            mode: 0o600,
            owner: "root".into(),
            group: "root".into(),
            sha256: Some(super::file::sha256(b"data")),
            size: 4,
            mtime: 0,
            inode: 0,
            target: None,
            content: None,
        };
        let paths = Arc::new([(there.to_str().unwrap().to_owned(), state)].into());
        let seen = Seen { paths, answer: None };
        let ran = place.run(&shell, &wanted, &seen);
        assert!(ran.status.success(), "{about}: {ran:?}");
        assert_eq!(fs::metadata(&there).unwrap().mode() & 0o777, 0o640, "{about}");

        for typed in ["rm data; ln -s OURS/new data", "rm data; echo other >data"] {
            place.then("mktemp", typed);
            is_refused(&place.run(&shell, &wanted, &seen), &about);
            place.is_untouched(&about);
        }
    }
}

#[test]
fn what_a_program_does_not_take_is_not_written() {
    for shell in shells() {
        let place = Place::new();
        let path = place.text("ours/new");
        let wanted = |text: &str| {
            let check =
                "read -r first\nif [ \"$first\" != good ]; then echo \"not good: $first\" >&2; exit 3; fi";
            file(&path).content(text).taken_by(check)
        };
        let refused = place.run(&shell, &wanted("bad\n"), &Seen::default());
        assert_eq!(refused.status.code(), Some(3), "{shell:?} {refused:?}");
        assert_eq!(String::from_utf8_lossy(&refused.stderr), "not good: bad\n");
        place.is_untouched(&format!("{shell:?}"));
        assert!(place.run(&shell, &wanted("good\n"), &Seen::default()).status.success());
        assert_eq!(fs::read_to_string(&path).unwrap(), "good\n");
    }
}

#[test]
fn what_only_its_owner_could_read_is_not_shown_when_it_is_replaced() {
    let shown = |mode: u32, wanted: File| {
        let state = PathState {
            kind: PathKind::File,
            mode,
            owner: "root".into(),
            group: "root".into(),
            size: 8,
            mtime: 0,
            inode: 1,
            sha256: Some("other".into()),
            content: Some(b"password".to_vec()),
            target: None,
        };
        let paths = BTreeMap::from([("/etc/a".to_owned(), state)]);
        let seen = Seen { paths: Arc::new(paths), answer: None };
        let plan = wanted.content("none").plan(&seen).unwrap();
        plan.changes[0].diff.clone().unwrap_or_default()
    };
    let of = |mode| shown(mode, file("/etc/a"));
    assert!(of(0o644).contains("-password") && of(0o600).is_empty());
    // Unless it is known to be none.
    assert!(shown(0o600, file("/etc/a").mode(0o600).shown()).contains("-password"));
}
