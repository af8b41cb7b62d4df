//! Rules about several values of a Container Linux Config.

use crate::rules::Rules;
use crate::shape::Item;
use crate::texts;

/// File systems that Ignition knows without being told.
const BUILT_IN: [&str; 2] = ["root", "oem"];

/// Finds every mistake.
pub(super) fn check(whole: &Item, rules: &mut Rules) {
    rules.common(whole);
    let filesystems = whole.list(&["storage", "filesystems"]);
    for filesystem in filesystems {
        let (mount, path) = (filesystem.get("mount"), filesystem.get("path"));
        if mount.is_some() == path.is_some() {
            let wrong = "a file system has either its mount (what is to be mounted) or its path (where it is mounted already)";
            rules.tell(&filesystem.origin, wrong);
        }
        mount.into_iter().for_each(|mount| rules.filesystem_label(mount));
    }
    for list in ["files", "directories", "links"] {
        for item in whole.list(&["storage", list]) {
            let Some(name) = item.get("filesystem") else { continue };
            let Some(text) = name.as_text() else { continue };
            let known = BUILT_IN.contains(&text)
                || filesystems.iter().any(|filesystem| filesystem.text("name") == Some(text));
            if !known {
                rules.tell(
                    &name.origin,
                    format!("there is no file system \"{text}\"; the one of the system itself is root"),
                );
            }
        }
    }
    let references = whole.list(&["ignition", "config", "append"]).iter();
    references
        .chain(whole.at(&["ignition", "config", "replace"]))
        .for_each(|reference| hash(reference, rules));
    for file in whole.list(&["storage", "files"]) {
        file.at(&["contents", "remote"]).into_iter().for_each(|remote| hash(remote, rules));
        if let Some(append) = file.get("append").filter(|_| file.is("append") && file.is("overwrite")) {
            rules.tell(&append.origin, "a file is appended to, or overwritten, and not both");
        }
        let given: Vec<&Item> =
            ["inline", "local", "remote"].into_iter().filter_map(|key| file.at(&["contents", key])).collect();
        if let [_, second, ..] = given.as_slice() {
            rules.tell(
                &second.origin,
                "inline, local and remote are ways to give one content; leave all but one out",
            );
        }
    }
}

/// A hash has the length that its kind has.
fn hash(of: &Item, rules: &mut Rules) {
    let Some(hash) = of.at(&["verification", "hash"]) else { return };
    if let (Some(kind), Some(sum)) = (hash.text("function"), hash.text("sum"))
        && let Err(wrong) = texts::hash(&format!("{kind}-{sum}"))
    {
        rules.tell(&hash.origin, wrong);
    }
}
