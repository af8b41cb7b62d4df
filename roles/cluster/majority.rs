//! Whether etcd has the majority of its members without which nothing can be set up: it is asked for before anything is changed, because
//! a step that waits for members which do not come would be in the way of `muster recover`.

use std::collections::BTreeSet;

use muster_engine::prelude::Problem;
use muster_inventory::some_names;

use super::identity::Identity;
use super::standing::Standing;

impl Standing {
    /// Whether so many members of the inventory are off, without data or outside of the run that etcd has to be asked for its majority,
    /// or API servers ask more members than the inventory names, or fewer: some of those that it names may have no vote then. Else nobody
    /// is asked: a run of some of them costs no exchange more.
    pub(super) fn may_lack_majority(&self) -> bool {
        let have_data = self.with_data().count();
        let in_run = self.with_data().filter(|(name, _)| self.takes_part(name)).count();
        let too_few = have_data < self.members.len() && 2 * in_run <= self.members.len();
        let mut asked = self.known_of(&self.planes).filter(|(_, seen)| seen.stands());
        let are_others =
            |seen: &Identity| !seen.etcd_servers.is_empty() && seen.etcd_servers.len() != self.members.len();
        have_data > 0 && (too_few || asked.any(|(_, seen)| are_others(seen)))
    }

    /// That etcd has no majority, and that this run cannot bring it back: as members that run say of their cluster, whatever the
    /// inventory names. A member counts that runs, or that has its data on a machine of the run, which may start it. Where none runs
    /// nothing is known of the cluster, and they are started.
    pub(crate) fn lost_majority(&self) -> Option<Problem> {
        if self.lists.values().any(|list| list.has_majority) {
            return None;
        }
        let voters = self.listed_voters()?;
        let may_vote = self.may_vote(Some(voters));
        let counting = self.with_data().map(|(name, _)| name);
        let counting: BTreeSet<&str> = counting
            .filter(|name| (self.takes_part(name) || self.lists.contains_key(*name)) && may_vote(name))
            .collect();
        if 2 * counting.len() > voters.len() {
            return None;
        }
        let is_missing = |name: &&String| !counting.contains(name.as_str()) && may_vote(name);
        let missing: Vec<&String> = self.members.iter().filter(is_missing).collect();
        let missing = match missing.as_slice() {
            [] => String::new(),
            missing => format!("; not {}", some_names(missing)),
        };
        Some(Problem {
            check: "etcd".into(),
            found: format!(
                "etcd has lost its majority: {} of {} members {}{missing}",
                counting.len(),
                voters.len(),
                if counting.len() == 1 { "answers" } else { "answer" },
            ),
            needed: format!("{} members that answer, or that this run can start", voters.len() / 2 + 1),
            remedy: "bring the others back with their data, and run again with them; if they are lost for good, go on with what is left: \
                     muster recover"
                .into(),
        })
    }

    /// How many members of etcd have a vote, and which hosts of the inventory may be one of them: as members say that were asked
    /// ([`Standing::lists`]); else all hosts of [etcd] but those that are known to hold no data.
    pub(crate) fn voters(&self) -> (usize, Vec<&str>) {
        let listed = self.listed_voters();
        let may_vote = self.may_vote(listed);
        let has_data = |name: &str| self.known(name).is_none_or(|seen| !seen.etcd.data.is_empty());
        let hosts = self.members.iter().map(String::as_str);
        let hosts: Vec<&str> = hosts.filter(|name| has_data(name) && may_vote(name)).collect();
        (listed.map_or(hosts.len(), <[String]>::len), hosts)
    }

    /// The URLs of the members that vote, as the one says that knows of most.
    fn listed_voters(&self) -> Option<&[String]> {
        self.lists.values().map(|list| list.voters.as_slice()).max_by_key(|voters| voters.len())
    }

    /// Whether a host may have one of these votes: nobody knows the URL of its member, or it is among them.
    fn may_vote(&self, voters: Option<&[String]>) -> impl Fn(&str) -> bool {
        move |name| {
            let url = self.known(name).and_then(|seen| seen.etcd.peer_url.as_ref());
            url.zip(voters).is_none_or(|(url, voters)| voters.contains(url))
        }
    }

    fn takes_part(&self, name: &str) -> bool {
        self.in_run.iter().any(|host| host == name)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::identity::Identity;
    use super::super::restores::MemberList;
    use super::super::standing::Wanted;
    use super::super::tests::{member, plane, standing};
    use super::*;

    fn url(name: &str) -> String {
        format!("https://{name}:2380")
    }

    /// Members a, b and c, by the words `runs`, `stopped`, `empty` and `off`, of which these take part in the run.
    fn cluster(states: [&str; 3], in_run: &[&str], has_majority: bool) -> Standing {
        let mut machines = standing(&[]);
        machines.in_run = in_run.iter().map(|name| (*name).to_owned()).collect();
        for (name, state) in ["a", "b", "c"].into_iter().zip(states) {
            let seen = match state {
                "off" => Err("no answer".to_owned()),
                "empty" => Ok(Arc::new(Identity::default())),
                _ => {
                    let mut seen = member(1, &format!("etcd-{name}"));
                    seen.etcd.peer_url = Some(url(name));
                    Ok(Arc::new(seen))
                }
            };
            machines.machines.insert(name.into(), seen);
            if state == "runs" {
                let urls: Vec<String> = ["a", "b", "c"].map(url).into();
                let list = MemberList { voters: urls.clone(), urls, has_majority };
                machines.lists.insert(name.into(), list);
            }
        }
        machines
    }

    #[test]
    fn a_run_that_cannot_bring_the_majority_back_is_refused_with_what_can() {
        let lost = cluster(["runs", "off", "off"], &["a"], false);
        assert!(lost.may_lack_majority());
        let problem = lost.lost_majority().unwrap();
        assert_eq!(problem.found, "etcd has lost its majority: 1 of 3 members answers; not b, c");
        assert!(problem.remedy.ends_with("muster recover"), "{}", problem.remedy);
        // Whatever the machine is of which that is asked, unless an adoption goes on there.
        let told = |adopts: bool| {
            let wanted = Wanted { adopts, ..Wanted::default() };
            let problems = lost.problems_of_set_up("w", &wanted);
            problems.iter().filter(|problem| problem.found.contains("lost its majority")).count()
        };
        assert_eq!((told(false), told(true)), (1, 0));
        for (states, in_run) in [
            (["runs", "off", "off"], &["a", "b", "c"][..]),
            (["runs", "empty", "empty"], &["a", "b", "c"]),
            (["runs", "stopped", "off"], &["a"]),
            (["runs", "off", "off"], &[]),
        ] {
            assert!(cluster(states, in_run, false).lost_majority().is_some(), "{states:?} {in_run:?}");
        }
    }

    #[test]
    fn a_cluster_whose_members_come_back_in_this_run_is_started() {
        let all = &["a", "b", "c"][..];
        for (states, in_run) in [
            (["stopped", "stopped", "stopped"], all),
            (["runs", "stopped", "stopped"], all),
            (["runs", "stopped", "off"], all),
            // An election is under way.
            (["runs", "runs", "off"], &["a"]),
            // Nothing is known of a cluster of which nobody runs.
            (["stopped", "off", "off"], &["a"]),
        ] {
            assert!(cluster(states, in_run, false).lost_majority().is_none(), "{states:?} {in_run:?}");
        }
        // It went on without the others, or they join only now.
        assert!(cluster(["runs", "off", "off"], all, true).lost_majority().is_none());
    }

    #[test]
    fn who_has_no_vote_is_not_counted() {
        let voters = |all: &Standing| {
            let (count, hosts) = all.voters();
            (count, hosts.join(" "))
        };
        // Nobody was asked: c never joined.
        assert_eq!(voters(&cluster(["stopped", "off", "empty"], &["a"], false)), (2, "a b".into()));
        let mut asked = cluster(["runs", "off", "runs"], &["a", "c"], true);
        assert_eq!(voters(&asked), (3, "a b c".into()));
        asked.lists.values_mut().for_each(|list| list.voters = ["a", "d"].map(url).into());
        // The inventory does not have d; which member b has been is not known.
        assert_eq!(voters(&asked), (2, "a b".into()));
    }

    #[test]
    fn etcd_is_asked_only_where_members_of_the_inventory_are_missing() {
        let asked = |states, in_run: &[&str]| cluster(states, in_run, true).may_lack_majority();
        assert!(!asked(["runs", "runs", "runs"], &["a"]) && !asked(["runs", "runs", "runs"], &[]));
        assert!(!asked(["empty", "empty", "empty"], &["a", "b", "c"]), "a cluster begins");
        assert!(!asked(["runs", "runs", "off"], &["a", "b"]));
        assert!(asked(["runs", "runs", "off"], &["a"]));
        // API servers ask other members than the inventory names: c has no vote any more.
        let with_plane = |asks: &[&str]| {
            let mut all = cluster(["runs", "off", "runs"], &["a", "c"], false);
            all.lists.values_mut().for_each(|list| list.voters = ["a", "b"].map(url).into());
            let plane = Identity { etcd_servers: asks.iter().copied().map(url).collect(), ..plane(1) };
            all.machines.insert("p".into(), Ok(Arc::new(plane)));
            all.planes = vec!["p".into()];
            all
        };
        assert!(!with_plane(&["a", "b", "c"]).may_lack_majority());
        let lost = with_plane(&["a", "b"]);
        assert!(lost.may_lack_majority());
        assert_eq!(
            lost.lost_majority().unwrap().found,
            "etcd has lost its majority: 1 of 2 members answers; not b",
            "whoever has no vote brings nothing back"
        );
    }
}
