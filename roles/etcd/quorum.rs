//! Which members may leave etcd, and in which order: functions of what a member says of all of them.

use muster_engine::prelude::Problem;
use muster_inventory::some_names;

/// A member, as another one sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// In hexadecimal digits, as etcdctl writes it.
    pub(crate) id: String,
    /// Empty where it never started.
    pub(crate) name: String,
    pub(crate) peer_url: String,
    /// Whether it has no vote.
    pub(crate) learner: bool,
    /// Whether it answered, and can write.
    pub(crate) healthy: bool,
    /// The host of the inventory that has it, where that is known.
    pub(crate) host: Option<String>,
}

/// The members in the answers of `member list` and `endpoint health --cluster`.
pub(super) fn parse(said: &str) -> Vec<Member> {
    let healthy: Vec<&str> =
        said.lines().filter_map(|line| Some(line.split_once(" is healthy: ")?.0.trim())).collect();
    let members =
        said.lines().map(|line| line.split(", ").collect::<Vec<_>>()).filter(|line| line.len() == 6);
    members
        .map(|line| Member {
            id: line[0].to_owned(),
            name: line[2].to_owned(),
            peer_url: line[3].to_owned(),
            learner: line[5].trim() == "true",
            healthy: line[4].split(',').any(|url| healthy.contains(&url)),
            host: None,
        })
        .collect()
}

/// The members that leave, in the order in which there is a majority at each moment: first those that do not answer.
///
/// # Errors
/// There would be no majority at some moment, or no member with a vote is left.
pub(super) fn order(members: &[Member], leaves: impl Fn(&Member) -> bool) -> Result<Vec<&Member>, Problem> {
    let (mut leaving, staying): (Vec<_>, Vec<_>) = members.iter().partition(|member| leaves(member));
    let votes = |member: &&Member| !member.learner;
    if !leaving.is_empty() && !staying.iter().any(votes) {
        return Err(Problem {
            check: "etcd".into(),
            found: format!("{} would be the last to leave etcd", told(&leaving)),
            needed: "a member that stays: the cluster is what etcd holds".into(),
            remedy: "to remove the whole cluster: muster reset-cluster".into(),
        });
    }
    leaving.sort_by_key(|member| member.healthy);
    let (mut voters, mut healthy) =
        (members.iter().filter(votes).count(), members.iter().filter(votes).filter(|m| m.healthy).count());
    for (at, member) in leaving.iter().enumerate().filter(|(_, member)| votes(member)) {
        voters -= 1;
        healthy -= usize::from(member.healthy);
        if 2 * healthy > voters {
            continue;
        }
        let silent: Vec<_> = staying.iter().filter(|m| votes(m) && !m.healthy).copied().collect();
        return Err(Problem {
            check: "etcd".into(),
            found: format!(
                "without {} etcd has {voters} members, of which {healthy} answer: {} not",
                told(&leaving[..=at]),
                if silent.is_empty() { "the others are".into() } else { format!("{} does", told(&silent)) },
            ),
            needed: format!("a majority that answers at each moment: {} of {voters}", voters / 2 + 1),
            remedy: format!(
                "bring back {0}; or, if it is gone for good, remove {0} first, and then {1}",
                told(&silent),
                told(&leaving[at..=at])
            ),
        });
    }
    Ok(leaving)
}

/// That the others could not do without a member for as long as its machine restarts: where one of them does not answer already, and
/// too few would be left. A cluster of which all members answer may lose one for a moment, whatever their number is.
pub(super) fn cannot_be_away(members: &[Member], away: impl Fn(&Member) -> bool) -> Option<Problem> {
    let voters = members.iter().filter(|member| !member.learner);
    let others: Vec<&Member> = voters.clone().filter(|member| !away(member)).collect();
    let (well, silent): (Vec<&Member>, Vec<&Member>) = others.iter().partition(|member| member.healthy);
    let voters = voters.count();
    (!silent.is_empty() && 2 * well.len() <= voters).then(|| Problem {
        check: "etcd".into(),
        found: format!("{} does not answer, and without one more member etcd has no majority", told(&silent)),
        needed: format!("{} of {voters} members while the machine restarts", voters / 2 + 1),
        remedy: format!("bring back {0}; or, if it is gone for good, remove {0}", told(&silent)),
    })
}

/// That etcd stops with the next loss, in words: so many of its members with a vote answer. `None` where none is away, where one more
/// may be lost, and where they are too few already.
#[must_use]
pub fn stops_with_one_more(answering: usize, voters: usize) -> Option<String> {
    let is_majority = |count: usize| 2 * count > voters;
    (answering < voters && is_majority(answering) && !is_majority(answering - 1))
        .then(|| format!("etcd has {answering} of {voters} members: it stops when one more is lost"))
}

/// Members as a user knows them: by host, or by name, or by URL.
fn told(members: &[&Member]) -> String {
    let name = |member: &&Member| {
        if let Some(host) = &member.host {
            return host.clone();
        }
        let host =
            member.peer_url.trim_start_matches("https://").rsplit_once(':').map_or("", |(host, _)| host);
        if member.name.is_empty() { host.to_owned() } else { format!("{} ({host})", member.name) }
    };
    some_names(&members.iter().map(name).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members by the words `well`, `off` and `learner`.
    fn members(states: &[&str]) -> Vec<Member> {
        let member = |(number, state): (usize, &&str)| Member {
            id: format!("{number}f"),
            name: format!("etcd{number}"),
            peer_url: format!("https://192.0.2.{number}:2380"),
            learner: *state == "learner",
            healthy: *state == "well",
            host: None,
        };
        states.iter().enumerate().map(member).collect()
    }

    fn removed(states: &[&str], leaving: &[usize]) -> Result<Vec<String>, String> {
        let members = members(states);
        let leaves = |member: &Member| leaving.iter().any(|number| member.name == format!("etcd{number}"));
        let names =
            order(&members, leaves).map(|order| order.iter().map(|member| member.name.clone()).collect());
        names.map_err(|problem| format!("{} {}", problem.found, problem.remedy))
    }

    #[test]
    fn members_that_do_not_answer_leave_first_and_a_majority_stays_at_each_moment() {
        let ok = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(removed(&["well", "well", "well"], &[1]), ok(&["etcd1"]));
        assert_eq!(removed(&["well", "well", "well"], &[0, 1]), ok(&["etcd0", "etcd1"]));
        assert_eq!(removed(&["well", "off", "well"], &[0, 1]), ok(&["etcd1", "etcd0"]));
        assert_eq!(removed(&["well", "well", "learner"], &[2]), ok(&["etcd2"]));
        assert_eq!(removed(&["well", "well"], &[]), ok(&[]));
        // Five, of which two are off: one that is well may go only when one that is off has gone.
        assert_eq!(removed(&["well", "well", "well", "off", "off"], &[0, 3]), ok(&["etcd3", "etcd0"]));
    }

    #[test]
    fn a_member_may_be_away_while_a_majority_is_left_or_all_are_well() {
        let may = |states: &[&str], away: usize| {
            cannot_be_away(&members(states), |member| member.name == format!("etcd{away}")).is_none()
        };
        assert!(may(&["well"], 0) && may(&["well", "well"], 1) && may(&["well", "well", "well"], 1));
        assert!(may(&["well", "well", "well", "well", "off"], 0), "three of five are left");
        assert!(may(&["off", "well", "well"], 0), "it is away already");
        assert!(may(&["well", "well", "learner"], 0));
        assert!(!may(&["well", "off", "well"], 0) && !may(&["off", "well"], 1));
        assert!(!may(&["well", "well", "off", "off", "well"], 0));
    }

    #[test]
    fn the_loss_that_stops_etcd_is_told_before_it_comes() {
        let told = |answering, voters| stops_with_one_more(answering, voters).is_some();
        assert!(told(2, 3) && told(3, 5) && told(3, 4));
        assert!(
            !told(1, 1) && !told(2, 2) && !told(3, 3) && !told(4, 5),
            "none is away, or one more may be lost"
        );
        assert!(!told(1, 3) && !told(1, 2) && !told(0, 1) && !told(0, 0), "it has stopped");
    }

    #[test]
    fn what_leaves_no_majority_is_refused_with_the_order_that_keeps_it() {
        let refused = removed(&["well", "off", "well"], &[2]).unwrap_err();
        assert!(
            refused.starts_with("without etcd2 (192.0.2.2) etcd has 2 members, of which 1 answer"),
            "{refused}"
        );
        assert!(refused.ends_with("remove etcd1 (192.0.2.1) first, and then etcd2 (192.0.2.2)"), "{refused}");
        assert!(removed(&["well", "off", "off", "well", "well"], &[0]).is_err());
        // Nobody can be removed where there is no majority.
        assert!(removed(&["well", "off", "off"], &[1]).is_err());
    }

    #[test]
    fn the_last_member_with_a_vote_stays() {
        for (states, leaving) in
            [(&["well"][..], &[0][..]), (&["well", "well"], &[0, 1]), (&["well", "learner"], &[0])]
        {
            let refused = removed(states, leaving).unwrap_err();
            assert!(refused.contains("would be the last to leave etcd"), "{refused}");
        }
    }

    #[test]
    fn members_and_their_health_are_read() {
        let said = "1f, started, etcd1, https://192.0.2.4:2380, https://192.0.2.4:2379, false\n\
                    2e, started, etcd2, https://192.0.2.5:2380, https://192.0.2.5:2379, false\n\
                    3d, unstarted, , https://192.0.2.6:2380, , true\n\
                    https://192.0.2.4:2379 is healthy: successfully committed proposal: took = 2ms\n\
                    https://192.0.2.5:2379 is unhealthy: failed to commit proposal: context deadline exceeded\n\
                    Error: unhealthy cluster\n";
        let states: Vec<_> = parse(said).iter().map(|m| (m.id.clone(), m.healthy, m.learner)).collect();
        let expected = [("1f", true, false), ("2e", false, false), ("3d", false, true)];
        assert_eq!(states, expected.map(|(id, healthy, learner)| (id.to_owned(), healthy, learner)));
    }
}
