//! Rules about several values of a Butane configuration.

use crate::rules::Rules;
use crate::shape::{Edition, Item};

/// Finds every mistake.
pub(super) fn check(whole: &Item, edition: Edition, rules: &mut Rules) {
    rules.common(whole);
    for merged in whole.list(&["ignition", "config", "merge"]) {
        resource(merged, Needs::Content("a configuration to merge"), rules);
    }
    if let Some(replaced) = whole.at(&["ignition", "config", "replace"]) {
        resource(replaced, Needs::Content("a configuration that replaces this one"), rules);
    }
    for authority in whole.list(&["ignition", "security", "tls", "certificate_authorities"]) {
        resource(authority, Needs::Content("a certificate authority"), rules);
    }
    for file in whole.list(&["storage", "files"]) {
        if let Some(contents) = file.get("contents") {
            resource(contents, Needs::Nothing, rules);
        }
        file.list(&["append"]).iter().for_each(|appended| resource(appended, Needs::Nothing, rules));
        let content = file.get("contents").is_some_and(has_content);
        if let Some(overwrite) = file.get("overwrite").filter(|_| file.is("overwrite") && !content) {
            rules.tell(
                &overwrite.origin,
                "with overwrite a file needs contents, or nothing would be left of the old one",
            );
        }
    }
    for list in ["files", "directories"] {
        for item in whole.list(&["storage", list]) {
            special_bits(item, edition, rules);
        }
    }
    for volume in whole.list(&["storage", "luks"]) {
        if let Some(key) = volume.get("key_file") {
            resource(key, Needs::Nothing, rules);
        }
        if let Some(label) =
            volume.get("label").filter(|label| label.as_text().is_some_and(|text| text.len() > 47))
        {
            rules.tell(&label.origin, "a label of LUKS has at most 47 characters");
        }
    }
    whole.list(&["storage", "filesystems"]).iter().for_each(|filesystem| self::filesystem(filesystem, rules));
    for unit in whole.list(&["systemd", "units"]) {
        for item in std::iter::once(unit).chain(unit.list(&["dropins"])) {
            if let (Some(_), Some(local)) = (item.get("contents"), item.get("contents_local")) {
                rules.tell(
                    &local.origin,
                    "contents and contents_local are two ways to give one text; leave one of them out",
                );
            }
        }
    }
}

/// What a content must be.
enum Needs {
    /// It may be empty.
    Nothing,
    /// It is of no use without one.
    Content(&'static str),
}

fn has_content(resource: &Item) -> bool {
    ["source", "inline", "local"].iter().any(|key| resource.get(key).is_some())
}

fn resource(resource: &Item, needs: Needs, rules: &mut Rules) {
    let given: Vec<&str> =
        ["source", "inline", "local"].into_iter().filter(|key| resource.get(key).is_some()).collect();
    if let [first, second, ..] = given.as_slice() {
        let place = resource.get(second).unwrap_or(resource);
        rules.tell(
            &place.origin,
            format!("{first} and {second} are two ways to give one content; leave one of them out"),
        );
    }
    if let Needs::Content(what) = needs
        && given.is_empty()
    {
        rules.tell(&resource.origin, format!("{what} needs a source, inline or local"));
    }
    if let Some(hash) = resource.get("verification").filter(|_| given.is_empty()) {
        rules.tell(&hash.origin, "there is nothing that could be verified: no source, inline or local");
    }
    if let Some(headers) = resource.get("http_headers")
        && !resource
            .text("source")
            .is_some_and(|source| source.starts_with("http://") || source.starts_with("https://"))
    {
        rules.tell(&headers.origin, "headers of HTTP belong to a source of http: or https:");
    }
}

/// Ignition drops the special bits of a mode before its specification 3.6, without a word.
fn special_bits(item: &Item, edition: Edition, rules: &mut Rules) {
    /// The generation that 3.6 is of.
    const FOLLOWED: u8 = 7;
    if let Some(mode) = item.get("mode").filter(|_| edition.generation < FOLLOWED)
        && item.whole("mode").is_some_and(|mode| mode & 0o7000 != 0)
    {
        let message = format!(
            "Ignition drops the setuid, setgid and sticky bits of a mode in configurations of {}; have a unit of systemd set them",
            edition.name
        );
        rules.tell(&mode.origin, message);
    }
}

fn filesystem(filesystem: &Item, rules: &mut Rules) {
    rules.filesystem_label(filesystem);
    let others = ["path", "label", "uuid", "wipe_filesystem", "options", "mount_options", "with_mount_unit"];
    if filesystem.text("format").is_none()
        && let Some(other) = others.iter().find_map(|key| filesystem.get(key))
    {
        rules.tell(&other.origin, "this needs the format of the file system, such as format: ext4");
    }
    if let Some(unit) = filesystem.get("with_mount_unit").filter(|_| filesystem.is("with_mount_unit"))
        && filesystem.text("format").is_some_and(|format| format != "swap")
        && filesystem.text("path").is_none()
    {
        rules.tell(&unit.origin, "a unit that mounts needs the place to mount at: path");
    }
}
