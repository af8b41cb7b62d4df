//! `--tags` and `--skip-tags`: which roles of a playbook are run.

use muster_engine::play::Play;

use crate::error::CommandError;

/// The tag that every role has.
const ALL: &str = "all";

/// The plays with only those roles that have one of `tags` (all if there are none) and none of `skip`. A role has its own
/// name and the tags of its play. `-` and `_` mean the same, as in the names of groups.
///
/// # Errors
/// No role has one of the tags; or none is left.
pub(crate) fn select(plays: &[Play], tags: &[String], skip: &[String]) -> Result<Vec<Play>, CommandError> {
    let (tags, skip) = (normal_all(tags), normal_all(skip));
    for tag in tags.iter().chain(&skip) {
        known(plays, tag)?;
    }
    let mut selected = Vec::new();
    for play in plays {
        let mut play = play.clone();
        let its_tags = normal_all(&play.tags);
        play.roles.retain(|role| {
            let has = |tag: &String| *tag == ALL || *tag == normal(role) || its_tags.contains(tag);
            (tags.is_empty() || tags.iter().any(has)) && !skip.iter().any(has)
        });
        if !play.roles.is_empty() {
            selected.push(play);
        }
    }
    if selected.is_empty() {
        return Err(CommandError::usage("the tags leave no role to run").hint("see --list-tags"));
    }
    Ok(selected)
}

/// All tags of some plays, each once, in the order of the plays: roles' names and plays' tags.
pub(crate) fn tags_of(plays: &[Play]) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in plays.iter().flat_map(|play| play.roles.iter().chain(&play.tags)) {
        if !tags.iter().any(|known| normal(known) == normal(tag)) {
            tags.push(tag.clone());
        }
    }
    tags
}

fn known(plays: &[Play], tag: &str) -> Result<(), CommandError> {
    let tags = tags_of(plays);
    if tag == ALL || tags.iter().any(|known| normal(known) == tag) {
        return Ok(());
    }
    let error = CommandError::usage(format!("no role has the tag {tag:?}"));
    Err(match muster_inventory::closest(tag, tags.iter().map(String::as_str)) {
        Some(known) => error.hint(format!("did you mean {known:?}?")),
        None => error.hint(format!("the tags there are: {}", tags.join(", "))),
    })
}

fn normal(tag: &str) -> String {
    tag.trim().replace('_', "-")
}

fn normal_all(tags: &[String]) -> Vec<String> {
    tags.iter().map(|tag| normal(tag)).filter(|tag| !tag.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plays() -> Vec<Play> {
        let play = |name: &str, roles: &[&str], tags: &[&str]| Play {
            name: name.into(),
            hosts: "all".into(),
            roles: roles.iter().map(ToString::to_string).collect(),
            tags: tags.iter().map(ToString::to_string).collect(),
            serial: None,
            any_errors_fatal: false,
            wait_for_all: false,
        };
        vec![
            play("prepare", &["bootstrap-os"], &["preinstall"]),
            play("install", &["containerd", "kubelet"], &["container-engine", "node"]),
        ]
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn check(tags: &[&str], skip: &[&str], expected: &[&str]) {
        let selected = select(&plays(), &strings(tags), &strings(skip)).unwrap();
        let roles: Vec<String> = selected.into_iter().flat_map(|play| play.roles).collect();
        assert_eq!(roles, expected, "--tags {tags:?} --skip-tags {skip:?}");
    }

    #[test]
    fn roles_are_selected_by_their_name_and_by_the_tags_of_their_play() {
        check(&[], &[], &["bootstrap-os", "containerd", "kubelet"]);
        check(&["kubelet"], &[], &["kubelet"]);
        check(&["node"], &[], &["containerd", "kubelet"]);
        check(&["bootstrap_os", "kubelet"], &[], &["bootstrap-os", "kubelet"]);
        check(&["container_engine"], &["kubelet"], &["containerd"]);
        check(&["all"], &["preinstall"], &["containerd", "kubelet"]);
    }

    #[test]
    fn an_unknown_tag_is_an_error_with_a_suggestion() {
        let error = |tag: &str| select(&plays(), &strings(&[tag]), &[]).unwrap_err().to_string();
        assert_eq!(error("kubelt"), "error: no role has the tag \"kubelt\"\nhint: did you mean \"kubelet\"?");
        assert_eq!(
            error("unrelated-thing"),
            "error: no role has the tag \"unrelated-thing\"\nhint: the tags there are: bootstrap-os, preinstall, \
             containerd, kubelet, container-engine, node"
        );
        let nothing = select(&plays(), &[], &strings(&["all"])).unwrap_err();
        assert_eq!(nothing.message, "the tags leave no role to run");
    }
}
