//! Which roles of a playbook are run, by their tags and from one on; and on how many hosts at once.

use muster_engine::play::{Play, Share};

use crate::error::Error;
use crate::options::Selection;

/// The tag that every role has.
const ALL: &str = "all";

/// The tag of a play whose roles run whatever else is selected, unless it is skipped (Ansible, "Special tags").
const ALWAYS: &str = "always";

/// The plays with only those roles that the user selected.
///
/// # Errors
/// No role has one of the tags or is the one to start at; or none is left.
pub(crate) fn select(plays: &[Play], selection: &Selection) -> Result<Vec<Play>, Error> {
    let tagged = tagged(plays, &selection.tags, &selection.skip_tags)?;
    match &selection.start_at {
        Some(role) => start_at(plays, tagged, role),
        None => Ok(tagged),
    }
}

/// The plays without the roles in front of the first one of a name.
fn start_at(all: &[Play], mut plays: Vec<Play>, role: &str) -> Result<Vec<Play>, Error> {
    let is_it = |name: &String| normal(name) == normal(role);
    let Some(first) = plays.iter().position(|play| play.roles.iter().any(is_it)) else {
        let roles = || all.iter().flat_map(|play| &play.roles).map(String::as_str);
        if roles().any(|name| is_it(&name.to_owned())) {
            return Err(Error::usage(format!("the tags leave out the role to start at, {role}"))
                .hint("see --list-tags"));
        }
        let error = Error::usage(format!("there is no role {role:?} to start at"));
        return Err(match muster_inventory::closest(role, roles()) {
            Some(known) => error.hint(format!("did you mean {known:?}?")),
            None => error.hint("see --list-roles"),
        });
    };
    plays.drain(..first);
    if let Some(play) = plays.first_mut() {
        let place = play.roles.iter().position(is_it).unwrap_or(0);
        play.roles.drain(..place);
    }
    Ok(plays)
}

/// Has only so many hosts at once in plays that change something, and one such play begin after the other, as Ansible does:
/// otherwise some hosts would be at the next play while others are changed by this one. Plays in which hosts look at each
/// other stay as they are, and so does what only one host at a time may do.
pub(crate) fn one_batch_after_the_other(plays: &mut [Play], serial: Share) {
    let may_change = |play: &&mut Play| {
        !play.any_errors_fatal && !play.wait_for_all && play.serial != Some(Share::Hosts(1))
    };
    for play in plays.iter_mut().filter(may_change) {
        play.serial = Some(serial);
        play.wait_for_all = true;
    }
}

/// The plays with only those roles that have one of `tags` (all if there are none) and none of `skip`. A role has its own
/// name and the tags of its play; those of a play with the tag `always` go along with any others. `-` and `_` mean the same, as in
/// the names of groups.
///
/// # Errors
/// No role has one of the tags; or none is left.
fn tagged(plays: &[Play], tags: &[String], skip: &[String]) -> Result<Vec<Play>, Error> {
    let (tags, skip) = (normal_all(tags), normal_all(skip));
    for tag in tags.iter().chain(&skip) {
        known(plays, tag)?;
    }
    let (mut selected, mut is_meant) = (Vec::new(), false);
    for play in plays {
        let mut play = play.clone();
        let its_tags = normal_all(&play.tags);
        play.roles.retain(|role| {
            let has = |tag: &String| *tag == ALL || *tag == normal(role) || its_tags.contains(tag);
            let goes_along = its_tags.iter().any(|tag| tag == ALWAYS);
            let meant = tags.is_empty() || tags.iter().any(has);
            is_meant |= meant && !skip.iter().any(has);
            (meant || goes_along) && !skip.iter().any(has)
        });
        if !play.roles.is_empty() {
            selected.push(play);
        }
    }
    if !is_meant {
        return Err(Error::usage("the tags leave no role to run").hint("see --list-tags"));
    }
    Ok(selected)
}

/// All tags of some plays, each once, in the order of the plays: roles' names and plays' tags.
pub fn tags_of(plays: &[Play]) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in plays.iter().flat_map(|play| play.roles.iter().chain(&play.tags)) {
        if !tags.iter().any(|known| normal(known) == normal(tag)) {
            tags.push(tag.clone());
        }
    }
    tags
}

fn known(plays: &[Play], tag: &str) -> Result<(), Error> {
    let tags = tags_of(plays);
    if tag == ALL || tags.iter().any(|known| normal(known) == tag) {
        return Ok(());
    }
    let error = Error::usage(format!("no role has the tag {tag:?}"));
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
            ..Play::default()
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
        let selected = tagged(&plays(), &strings(tags), &strings(skip)).unwrap();
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
    fn what_always_goes_along_does_so_unless_it_is_skipped() {
        let mut plays = plays();
        plays[0].tags.push("always".into());
        let roles = |tags: &[&str], skip: &[&str]| {
            let selected = tagged(&plays, &strings(tags), &strings(skip)).map_err(|error| error.message)?;
            Ok::<_, String>(selected.into_iter().flat_map(|play| play.roles).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(roles(&["kubelet"], &[]).as_deref(), Ok("bootstrap-os kubelet"));
        assert_eq!(roles(&["kubelet"], &["always"]).as_deref(), Ok("kubelet"));
        assert_eq!(roles(&["always"], &[]).as_deref(), Ok("bootstrap-os"));
        assert_eq!(roles(&["kubelet"], &["kubelet"]), Err("the tags leave no role to run".to_owned()));
    }

    #[test]
    fn what_always_runs_stays_with_its_play_as_long_as_anything_of_it_runs() {
        let plays = plays()
            .into_iter()
            .map(|play| Play { always: strings(&["uncordon"]), ..play })
            .collect::<Vec<_>>();
        let always = |args: Selection| {
            let selected = select(&plays, &args).unwrap();
            selected.into_iter().map(|play| (play.name, play.always.join(" "))).collect::<Vec<_>>()
        };
        let install = [("install".to_owned(), "uncordon".to_owned())];
        assert_eq!(always(Selection { tags: strings(&["kubelet"]), ..Selection::default() }), install);
        assert_eq!(always(Selection { start_at: Some("kubelet".into()), ..Selection::default() }), install);
    }

    #[test]
    fn an_unknown_tag_is_an_error_with_a_suggestion() {
        let error = |tag: &str| tagged(&plays(), &strings(&[tag]), &[]).unwrap_err().in_full();
        assert_eq!(error("kubelt"), "error: no role has the tag \"kubelt\"\nhint: did you mean \"kubelet\"?");
        assert_eq!(
            error("unrelated-thing"),
            "error: no role has the tag \"unrelated-thing\"\nhint: the tags there are: bootstrap-os, preinstall, \
             containerd, kubelet, container-engine, node"
        );
        let nothing = tagged(&plays(), &[], &strings(&["all"])).unwrap_err();
        assert_eq!(nothing.message, "the tags leave no role to run");
    }

    #[test]
    fn a_run_starts_at_a_role_of_the_tagged_ones() {
        let started = |tags: &[&str], role: &str| {
            let selection =
                Selection { tags: strings(tags), start_at: Some(role.to_owned()), ..Selection::default() };
            let roles = |plays: Vec<Play>| plays.into_iter().flat_map(|play| play.roles).collect::<Vec<_>>();
            select(&plays(), &selection).map(roles).map_err(|error| error.in_full())
        };
        assert_eq!(started(&[], "bootstrap_os").unwrap(), ["bootstrap-os", "containerd", "kubelet"]);
        assert_eq!(started(&[], "kubelet").unwrap(), ["kubelet"]);
        assert_eq!(started(&["node"], "containerd").unwrap(), ["containerd", "kubelet"]);
        assert_eq!(
            started(&[], "kubelt").unwrap_err(),
            "error: there is no role \"kubelt\" to start at\nhint: did you mean \"kubelet\"?"
        );
        assert!(started(&["preinstall"], "kubelet").unwrap_err().contains("the tags leave out"));
    }

    #[test]
    fn a_typed_serial_holds_for_plays_that_change_something() {
        let mut plays = plays();
        plays[0].any_errors_fatal = true;
        one_batch_after_the_other(&mut plays, Share::Hosts(2));
        assert_eq!(plays[0].serial, None);
        assert_eq!((plays[1].serial, plays[1].wait_for_all), (Some(Share::Hosts(2)), true));
        // Members of etcd, for example, go one after the other whatever is typed.
        let one = Play { serial: Some(Share::Hosts(1)), ..plays[0].clone() };
        let mut plays = [Play { any_errors_fatal: false, ..one }];
        one_batch_after_the_other(&mut plays, Share::Hosts(2));
        assert_eq!(plays[0].serial, Some(Share::Hosts(1)));
    }
}
