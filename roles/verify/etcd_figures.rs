//! How well etcd does: who leads, how large the database is, how quickly writes reach the disk and members answer each other, and
//! whether leaders change. All of it is in the metrics of the members (etcd's "Metrics" guide), which one control plane reads in
//! one exchange. They count since a member started, which may be months ago, and a disk that has become slow is not seen in the sum: so
//! they are read when the cluster is looked at and again when it was tested, and the writes in between count, where they are enough.

use std::collections::BTreeMap;

use muster_engine::prelude::*;
use serde::Deserialize;

use crate::cluster;
use crate::etcd;

/// Above this, in seconds, heartbeats may come too late while a write waits for the disk (etcd's "Hardware recommendations": the
/// 99th percentile should be less than 10 ms).
const SLOW: f64 = 0.010;

/// So many writes say how quick a disk is; fewer may be the bad luck of one of them.
const ENOUGH: f64 = 50.0;

#[derive(Deserialize)]
pub(super) struct Vars {
    etcd_cert_dir: String,
    /// In milliseconds.
    etcd_heartbeat_interval: u32,
}

/// How much took at most so many seconds, by that time: a histogram of Prometheus.
type Histogram = Vec<(f64, f64)>;

/// What a member tells of itself.
#[derive(Debug, Clone, Default, PartialEq)]
struct Figures {
    member: String,
    answers: bool,
    leads: bool,
    /// The size of its database in bytes.
    size: f64,
    /// How often another member became the leader, since it started.
    changes: f64,
    /// When it started, in seconds since 1970.
    started: f64,
    /// Its writes to its log since then.
    fsync: Histogram,
    /// Those of the last seconds, and of how many; where they are enough.
    lately: Option<(f64, Histogram)>,
    /// Its round trips to each other member, by the identity of that one.
    round_trips: BTreeMap<String, Histogram>,
}

/// What the members tell of themselves at one time, which is in seconds since 1970.
pub(super) struct Look {
    now: f64,
    members: Vec<Figures>,
}

/// Reads the members' metrics on a control plane.
pub(super) async fn look(plane: &Host) -> Result<Look> {
    let Vars { etcd_cert_dir, .. } = plane.vars()?;
    let mut arguments = vec![etcd_cert_dir];
    for (member, url) in etcd::client_url_of_each(plane)? {
        arguments.extend([member, url]);
    }
    let answer = plane.query(sh(include_str!("etcd-figures.sh"), arguments)).await?;
    Ok(parse(&answer.output))
}

/// Tells how etcd is, and warns of what is not good; asks from a control plane. `before`: what it told some time ago.
pub(super) async fn tell(host: &Host, plane: &Host, before: &Look) -> Result<()> {
    let Vars { etcd_heartbeat_interval, .. } = plane.vars()?;
    let heartbeat = f64::from(etcd_heartbeat_interval) / 1000.0;
    let look = look(plane).await?.since(before);
    let known = cluster::known(host).await?;
    for warning in look.warnings(heartbeat, |member| !known.answered(member), known.voters()) {
        host.warn(warning);
    }
    if let Some(said) = look.in_words() {
        host.tested(said);
    }
    Ok(())
}

/// The time, and what each member said.
fn parse(answer: &str) -> Look {
    let (mut now, mut all) = (0.0, Vec::<Figures>::new());
    for line in answer.lines() {
        let Some((key, value)) = line.rsplit_once(' ') else { continue };
        let number = || value.parse::<f64>().unwrap_or(0.0);
        match (key, all.last_mut()) {
            ("now", _) => now = number(),
            ("member", _) => all.push(Figures { member: value.to_owned(), ..Figures::default() }),
            (key, Some(figures)) => figures.take(key, number()),
            _ => {}
        }
    }
    Look { now, members: all }
}

impl Look {
    /// With what members have written since an earlier look.
    fn since(mut self, before: &Self) -> Self {
        for figures in &mut self.members {
            let same =
                |earlier: &&Figures| earlier.member == figures.member && earlier.started == figures.started;
            let Some(earlier) = before.members.iter().find(same) else { continue };
            let less = |bound: f64| {
                earlier.fsync.iter().find(|(own, _)| *own == bound).map_or(0.0, |(_, count)| *count)
            };
            let since: Histogram =
                figures.fsync.iter().map(|(bound, count)| (*bound, count - less(*bound))).collect();
            let is_enough = since.last().is_some_and(|(_, count)| *count >= ENOUGH);
            figures.lately = is_enough.then_some((self.now - before.now, since));
        }
        self
    }
}

impl Figures {
    fn take(&mut self, key: &str, value: f64) {
        self.answers = true;
        match key {
            "etcd_server_is_leader" => self.leads = value == 1.0,
            "etcd_server_leader_changes_seen_total" => self.changes = value,
            "etcd_mvcc_db_total_size_in_bytes" => self.size = value,
            "process_start_time_seconds" => self.started = value,
            _ => {
                let label = |name: &str| key.split_once(name)?.1.split('"').next();
                let histogram = match label("To=\"") {
                    Some(other) => self.round_trips.entry(other.to_owned()).or_default(),
                    None => &mut self.fsync,
                };
                // What took longer than all bounds is `+Inf`, which is a number, too.
                let bound = label("le=\"").and_then(|bound| bound.parse().ok());
                histogram.extend(bound.map(|bound: f64| (bound, value)));
            }
        }
    }

    /// In how many seconds 99 of 100 writes to its log are on the disk; `None` where nothing was written.
    fn write(&self) -> Option<f64> {
        p99(self.lately.as_ref().map_or(&self.fsync, |(_, lately)| lately))
    }

    /// Which writes these are.
    fn since(&self, now: f64) -> String {
        match &self.lately {
            Some((seconds, _)) => format!("of the last {seconds:.0} s"),
            None if now - self.started < 7200.0 => {
                format!("of the {:.0} min since it started", (now - self.started) / 60.0)
            }
            None if now - self.started < 172_800.0 => {
                format!("of the {:.0} h since it started", (now - self.started) / 3600.0)
            }
            None => format!("of the {:.0} days since it started", (now - self.started) / 86400.0),
        }
    }

    /// In how many seconds 99 of 100 messages to the farthest other member are answered; `None` where there is no other one.
    fn round_trip(&self) -> Option<f64> {
        self.round_trips.values().filter_map(|trips| p99(trips)).reduce(f64::max)
    }

    fn warnings(&self, now: f64, heartbeat: f64) -> Vec<String> {
        let member = &self.member;
        if !self.answers {
            return vec![format!(
                "etcd on {member} does not tell how it is: journalctl -u etcd says there why"
            )];
        }
        let mut warnings = Vec::new();
        if let Some(write) = self.write().filter(|write| *write > SLOW) {
            warnings.push(format!(
                "the disk of etcd on {member} is slow: 1 of 100 writes {} took longer than {:.0} ms, and more than {:.0} ms make leaders \
                 change; give etcd_data_dir a faster disk, or one of its own",
                self.since(now),
                write * 1000.0,
                SLOW * 1000.0
            ));
        }
        if let Some(trip) = self.round_trip().filter(|trip| *trip > heartbeat) {
            warnings.push(format!(
                "the network between etcd on {member} and another member is slow: 1 of 100 messages is answered after more than {:.0} ms, \
                 and heartbeats come each {:.0} ms, so leaders may change; set etcd_heartbeat_interval to that time at least, and \
                 etcd_election_timeout to ten times as much",
                trip * 1000.0,
                heartbeat * 1000.0
            ));
        }
        let hours = (now - self.started) / 3600.0;
        // The first leader that a member sees counts as a change, and so does each restart of the one that leads.
        if self.changes > 3.0 && self.changes > hours / 8.0 {
            warnings.push(format!(
                "etcd on {member} has seen {} changes of the leader in {hours:.1} hours: its disk, its network or its processor was too \
                 slow for heartbeats, or members were restarted",
                self.changes
            ));
        }
        warnings
    }
}

impl Look {
    /// What is not good with the members, and with how many of those answer that have a vote. `is_off`: whether a member's machine could
    /// not be asked; `voters`: how many there are, and on which hosts, as far as the inventory has them.
    fn warnings(
        &self,
        heartbeat: f64,
        is_off: impl Fn(&str) -> bool,
        (voters, hosts): (usize, Vec<&str>),
    ) -> Vec<String> {
        let of = |figures: &Figures| match figures.answers || !is_off(&figures.member) {
            true => figures.warnings(self.now, heartbeat),
            false => vec![format!(
                "etcd on {} does not answer: its machine is off, or could not be asked",
                figures.member
            )],
        };
        let answering = self.members.iter().filter(|figures| figures.answers);
        let answering = answering.filter(|figures| hosts.contains(&figures.member.as_str())).count();
        let of_all = etcd::stops_with_one_more(answering, voters);
        self.members.iter().flat_map(of).chain(of_all).collect()
    }

    /// What is told where all is well; `None` where no member answers.
    fn in_words(&self) -> Option<String> {
        let all = &self.members;
        let size = all.iter().map(|figures| figures.size).fold(0.0, f64::max) / 1e6;
        let written = all.iter().filter_map(|figures| Some((figures.write()?, figures)));
        let slowest = written.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(write, figures)| {
            format!(
                "; 99 of 100 writes {} are on the disk in {:.0} ms on {}",
                figures.since(self.now),
                write * 1000.0,
                figures.member
            )
        });
        let trip = all.iter().filter_map(Figures::round_trip).reduce(f64::max);
        let trip = trip.map(|trip| {
            format!("; 99 of 100 messages between members are answered in {:.0} ms", trip * 1000.0)
        });
        let leader = all.iter().find(|figures| figures.leads).map(|figures| figures.member.as_str());
        all.iter().any(|figures| figures.answers).then(|| {
            format!(
                "etcd: {}, its database has {size:.1} MB{}{}",
                leader.map_or("no member leads".to_owned(), |leader| format!("{leader} leads")),
                slowest.unwrap_or_default(),
                trip.unwrap_or_default()
            )
        })
    }
}

/// In how many seconds 99 of 100 were done, as Prometheus' `histogram_quantile` reckons; `None` where nothing was.
fn p99(histogram: &[(f64, f64)]) -> Option<f64> {
    let rank = histogram.last()?.1 * 0.99;
    let at = histogram.iter().position(|(_, count)| *count >= rank).filter(|_| rank > 0.0)?;
    let (below, before) = at.checked_sub(1).map_or((0.0, 0.0), |before| histogram[before]);
    let (bound, count) = histogram[at];
    Some(if bound.is_infinite() {
        below
    } else {
        below + (bound - below) * (rank - before) / (count - before)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
now 100000
member node1
etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} 10
etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.002\"} 90
etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.004\"} 100
etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 100
etcd_mvcc_db_total_size_in_bytes 1.6777216e+07
etcd_server_is_leader 1
etcd_server_leader_changes_seen_total 1
process_start_time_seconds 9.9e+04
member node2
silent
";

    #[test]
    fn figures_are_read_and_told() {
        let Look { now, members: all } = parse(SAID);
        assert_eq!((now, all.len()), (100_000.0, 2));
        assert!((all[0].write().unwrap() - 0.0038).abs() < 1e-9, "{:?}", all[0].write());
        assert_eq!(all[0].warnings(now, 0.25), Vec::<String>::new());
        assert!(all[1].warnings(now, 0.25)[0].starts_with("etcd on node2 does not tell"));
        assert_eq!(Look { now, members: all[1..].to_vec() }.in_words(), None);
        assert_eq!(
            Look { now, members: all }.in_words().unwrap(),
            "etcd: node1 leads, its database has 16.8 MB; 99 of 100 writes of the 17 min since it started are on the disk in 4 ms on node1"
        );
    }

    #[test]
    fn a_member_whose_machine_is_off_is_told_with_what_the_next_loss_does() {
        let three = format!("{SAID}{}", SAID.replace("node1", "node3").replace("node2", "node4"));
        let three = three.replace("member node4\nsilent\n", "");
        let told_of = |is_off: bool, voters: &[&'static str]| {
            let voters = (voters.len(), voters.to_vec());
            parse(&three).warnings(0.25, |member| is_off && member == "node2", voters)
        };
        let told = |is_off: bool| told_of(is_off, &["node1", "node2", "node3"]);
        let one_more = "etcd has 2 of 3 members: it stops when one more is lost";
        let off = "etcd on node2 does not answer: its machine is off, or could not be asked";
        assert_eq!(told(true), [off, one_more]);
        assert_eq!(
            told(false),
            ["etcd on node2 does not tell how it is: journalctl -u etcd says there why", one_more]
        );
        // It never joined, and nothing is lost with it.
        assert_eq!(told_of(true, &["node1", "node3"]), [off]);
    }

    #[test]
    fn slow_disks_and_leaders_that_change_are_warned_of() {
        let slow =
            SAID.replace("\"0.004\"} 100", "\"0.004\"} 95").replace("+Inf", "0.016\"} 100\nx{le=\"+Inf");
        let Look { now, members: all } = parse(&slow);
        let warnings = all[0].warnings(now, 0.25);
        assert!(warnings.len() == 1 && warnings[0].contains("longer than 14 ms"), "{warnings:?}");
        let Look { now, members: all } = parse(&SAID.replace("seen_total 1", "seen_total 9"));
        let warnings = all[0].warnings(now, 0.25);
        assert!(
            warnings.len() == 1 && warnings[0].contains("9 changes of the leader in 0.3 hours"),
            "{warnings:?}"
        );
        // Of a month ago.
        let Look { members: all, .. } =
            parse(&SAID.replace("seen_total 1", "seen_total 9").replace("9.9e+04", "0"));
        assert_eq!(all[0].warnings(30.0 * 86400.0, 0.25), Vec::<String>::new());
    }

    #[test]
    fn a_disk_that_has_become_slow_is_seen_after_months() {
        let said = |slow: u32, now: u32| {
            let bucket = |bound: &str, count: u32| {
                format!("etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"{bound}\"}} {count}\n")
            };
            format!(
                "now {now}\nmember node1\n{}{}{}process_start_time_seconds 0\n",
                bucket("0.002", 1_000_000),
                bucket("0.064", 1_000_000 + slow),
                bucket("+Inf", 1_000_000 + slow)
            )
        };
        let told = |slow: u32| {
            let look = parse(&said(slow, 8_640_020)).since(&parse(&said(0, 8_640_000)));
            (look.members[0].warnings(look.now, 0.25), look.in_words().unwrap())
        };
        let (warnings, words) = told(60);
        assert!(
            warnings.len() == 1
                && warnings[0].contains("is slow: 1 of 100 writes of the last 20 s took longer than 63 ms"),
            "{warnings:?}"
        );
        assert!(words.contains("; 99 of 100 writes of the last 20 s are on the disk in 63 ms"), "{words}");
        // Too few to say anything.
        let (warnings, words) = told(9);
        assert_eq!(warnings, Vec::<String>::new());
        assert!(words.contains("; 99 of 100 writes of the 100 days since it started are"), "{words}");
        // One that has started since counts from then.
        let began =
            said(60, 8_640_020).replace("process_start_time_seconds 0", "process_start_time_seconds 8640001");
        assert_eq!(parse(&began).since(&parse(&said(0, 8_640_000))).members[0].lately, None);
    }

    #[test]
    fn members_that_answer_each_other_slowly_are_warned_of() {
        let trips = |to: &str, slow: u32| {
            format!(
                "etcd_network_peer_round_trip_time_seconds_bucket{{To=\"{to}\",le=\"0.2048\"}} {}\n\
                 etcd_network_peer_round_trip_time_seconds_bucket{{To=\"{to}\",le=\"0.4096\"}} 100\n\
                 etcd_network_peer_round_trip_time_seconds_bucket{{To=\"{to}\",le=\"+Inf\"}} 100\n",
                100 - slow
            )
        };
        let said =
            |slow: u32| SAID.replace("member node2", &(trips("a1", 0) + &trips("b2", slow) + "member node2"));
        let Look { now, members: all } = parse(&said(0));
        assert_eq!(all[0].warnings(now, 0.25), Vec::<String>::new());
        assert!(
            parse(&said(0))
                .in_words()
                .unwrap()
                .ends_with("; 99 of 100 messages between members are answered in 203 ms")
        );
        // The farthest one counts.
        let Look { now, members: all } = parse(&said(2));
        let warnings = all[0].warnings(now, 0.25);
        assert!(
            warnings.len() == 1
                && warnings[0].contains("after more than 307 ms, and heartbeats come each 250 ms"),
            "{warnings:?}"
        );
    }
}
